"""What the extension that shares the cache does wrong (contract, section 11.3), where it touches the catalog.

Each test is named after the defect; the bytes that the extension reads are not changed by any of the remedies.
"""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.local import LocalManifest
from asynccache.catalog.lookup import Lookup, RemotePolicy
from asynccache.config import Settings
from asynccache.errors import AliasTakenError, ConfigurationError, ObjectNotFoundError
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.ops.catalog import Catalog
from asynccache.store.memory import MemoryStore
from tests.catalog.manifests import reading
from tests.catalog.test_local import environment

V1 = Alias.parse("team/env:v1")
CARELESS = """
import fcntl, json, os, sys, time
path, name = sys.argv[1:]
with open(path, "a+") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    file.seek(0)
    content = json.loads(file.read() or '{"version": 1}')
    time.sleep(0.01)
    content.setdefault("aliases", {})[name] = ["0" * 40, "1" * 40]
    with open(f"{path}.{os.getpid()}", "w") as other:
        other.write(json.dumps(content))
    os.rename(f"{path}.{os.getpid()}", path)
"""


@pytest.mark.parametrize("policy", ["ben", "ann,ben", " ben , carl "])
async def test_01_user_lists_match(policy: str, tmp_path: Path) -> None:
    env = replace(environment(1), resolved_by="ben")
    store = MemoryStore()
    await EnvironmentDocuments(store).put(env)
    lookup = Lookup(
        reading(tmp_path / "conda_v2.cnd"), EnvironmentDocuments(store), policy=RemotePolicy.parse(policy, "me")
    )
    assert await lookup.by_request(env.id.req_id, "linux-64") == env


def test_01_a_wrong_value_is_refused_with_those_that_are_right(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"':none:', ':username:', ':any:'\] or to user names"):
        Settings(cache_dir=tmp_path, datastore_root=tmp_path, use_remote_latest=":all:")


async def test_11_what_was_cached_after_a_document_was_written_is_found_by_listing() -> None:
    """The document stays as it is; `tests/ops/test_warm.py` shows that packages are found without it."""
    first = environment(1)
    store = MemoryStore()
    documents = EnvironmentDocuments(store)
    await documents.put(first)
    key = f"packages/conda/h/c/noarch/a-1-0.conda/a-1-0.conda/{'0' * 32}/a-1-0.conda"
    package = first.packages[0].with_cached(".conda", key)
    stored = await documents.put(replace(first, packages=(package,)))
    assert stored == first
    assert (await store.get(f"envs/linux-64/{first.id.req_id}/{first.id.full_id}/env")) == first.to_json()


async def test_14_an_immutable_alias_is_not_overwritten_in_a_race() -> None:
    store = MemoryStore()
    results = await asyncio.gather(
        *(Aliases(store, user=f"u{n}").assign(V1, (f"{n:040x}", "0" * 40)) for n in range(50)), return_exceptions=True
    )
    assert results.count(True) == 1
    assert sum(isinstance(r, AliasTakenError) for r in results) == 49


def test_16_our_updates_of_the_manifest_survive_writers_that_lose_others(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    others = [subprocess.Popen([sys.executable, "-c", CARELESS, str(path), f"theirs/{n}"]) for n in range(6)]
    manifest = LocalManifest(path)
    for number in range(8):
        name = Alias("generic", f"ours/v{number}")
        manifest.update(lambda m, name=name: m.assign(name, ("2" * 40, "3" * 40)))  # type: ignore[misc]
    assert [process.wait(30) for process in others] == [0] * 6
    # a program that read before and writes after our look back may overwrite it still; the next update has it again
    for number in range(8):
        name = Alias("generic", f"ours/v{number}")
        manifest.update(lambda m, name=name: m.assign(name, ("2" * 40, "3" * 40)))  # type: ignore[misc]
    assert {f"ours/v{n}" for n in range(8)} <= set(json.loads(path.read_bytes())["aliases"])


async def test_25_an_alias_to_a_document_that_was_not_written_cannot_be_made(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path, datastore_root=tmp_path)
    catalog = Catalog(settings, MemoryStore())
    with pytest.raises(ObjectNotFoundError, match="no document is known"):
        await catalog.alias("a" * 40 + ":" + "b" * 40, ["team/env:v1"])
    assert await Aliases(catalog.store).get(V1) is None  # type: ignore[arg-type]


async def test_25_and_one_that_the_extension_made_is_told_apart_from_an_unknown_name(tmp_path: Path) -> None:
    store = MemoryStore()
    await store.put("envs/aliases/generic/team/env/v1", json.dumps(["a" * 40, "b" * 40]).encode())
    catalog = Catalog(Settings(cache_dir=tmp_path, datastore_root=tmp_path), store)
    with pytest.raises(ObjectNotFoundError, match="no document of it is known for any architecture"):
        await catalog.find("team/env:v1", "linux-64")


async def test_26_there_are_lists_of_environments(tmp_path: Path) -> None:
    store = MemoryStore()
    await EnvironmentDocuments(store).put(environment(1))
    catalog = Catalog(Settings(cache_dir=tmp_path, datastore_root=tmp_path), store)
    assert [row.summary.id for row in await catalog.listed()] == [environment(1).id]


def test_2_2_3_secrets_enter_neither_documents_nor_the_manifest(tmp_path: Path) -> None:
    package = EnvironmentPackage("pypi", "a-1-py3-none-any", "https://me:s3cret@h/a-1-py3-none-any.whl", ".whl")
    request = Request({"pypi": ["a"]}, {"pypi": ["https://me:s3cret@index.test/simple"]})
    env_id = EnvID(request.req_id, "0" * 40, "linux-64")
    secret = ResolvedEnvironment(env_id, request, (package,), datetime(2026, 1, 1), "me", ("linux-64",))  # noqa: DTZ001
    manifest = LocalManifest(tmp_path / "conda_v2.cnd")
    manifest.update(lambda m: m.add(secret))
    assert b"s3cret" not in manifest.path.read_bytes()
    assert b"s3cret" not in secret.to_json()
    assert secret.id.req_id == request.req_id


async def test_2_1_times_with_and_without_zone_are_sorted_together_and_kept_as_they_are() -> None:
    store = MemoryStore()
    req_id = environment(1).id.req_id
    for number, moment in enumerate(("2026-01-01T00:00:00", "2026-01-03T00:00:00+02:00", "2026-01-02T00:00:00Z")):
        document = {**environment(1).as_document(), "resolved_on": moment}
        await store.put(f"envs/linux-64/{req_id}/{number:040x}/env", json.dumps(document).encode())
    found, unreadable = await EnvironmentDocuments(store).of_request("linux-64", req_id)
    assert unreadable == {}
    assert [e.resolved_on.day for e in found] == [3, 2, 1]
    assert [e.as_document()["resolved_on"][19:] for e in found] == ["+02:00", "+00:00", ""]
