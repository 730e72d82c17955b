"""The manifest on this machine: shared, never lost, kept when it is damaged."""

import json
import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from asynccache.catalog.local import LocalManifest, Manifest
from asynccache.errors import IntegrityError, LockTimeoutError
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from tests.catalog.manifests import reading
from tests.support.file_locks import site_without_file_locks, without_file_locks

ADD = """
import sys
from pathlib import Path
from asynccache.catalog.local import LocalManifest
from asynccache.model.alias import Alias
manifest = LocalManifest(Path(sys.argv[1]))
for number in range(5):
    ids = (f"{int(sys.argv[2]):040x}", f"{number:040x}")
    manifest.update(lambda m: m.assign(Alias("generic", f"env{sys.argv[2]}/v{number}"), ids))
"""


def environment(number: int, arch: str = "linux-64") -> ResolvedEnvironment:
    env_id = EnvID(f"{number:040x}", f"{number + 1:040x}", arch)
    package = EnvironmentPackage("conda", "a-1-0", "https://h/c/noarch/a-1-0.conda", ".conda", {".conda": "0" * 32})
    request = Request({"conda": ["a==1"]}, {"conda": ["c"]})
    return ResolvedEnvironment(env_id, request, (package,), datetime(2026, 1, 1), "me", (arch,), "conda-only")  # noqa: DTZ001


def test_what_is_added_is_found_by_id_default_and_name(tmp_path: Path) -> None:
    manifest, env = LocalManifest(tmp_path / "m" / "conda_v2.cnd"), environment(1)

    def change(content: Manifest) -> None:
        content.add(env, default=True)
        content.assign(Alias.parse("team/env:v1"), (env.id.req_id, env.id.full_id))

    manifest.update(change)
    content = reading(manifest.path)
    assert content.get(env.id) == env
    assert content.get(EnvID(env.id.req_id, "_default", "linux-64")) == env
    assert content.resolve(Alias.parse("team/env:v1")) == (env.id.req_id, env.id.full_id)
    assert content.resolve(Alias("full-id", env.id.full_id)) == (env.id.req_id, env.id.full_id)
    assert [s.id for s in content.summaries()] == [env.id]


def test_the_file_has_the_shape_that_other_programs_read(tmp_path: Path) -> None:
    path, env = tmp_path / "conda_v2.cnd", environment(1)
    LocalManifest(path).update(lambda m: m.add(env, default=True))
    document = json.loads(path.read_bytes())
    assert list(document) == ["version", "mappings", "mutable_aliases", "aliases", "environments"]
    assert document["version"] == 1
    known = document["environments"]["linux-64"][env.id.req_id]
    assert known == {env.id.full_id: env.as_document(), "_default": env.id.full_id}
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("locks", [True, False])
def test_sixteen_writers_at_once_lose_nothing(tmp_path: Path, locks: bool) -> None:
    path = tmp_path / "here" / "conda_v2.cnd"
    more = [] if locks else [str(site_without_file_locks(tmp_path / "site"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*more, *sys.path])}
    processes = [subprocess.Popen([sys.executable, "-c", ADD, str(path), str(n)], env=environment) for n in range(16)]
    assert [p.wait(60) for p in processes] == [0] * 16
    aliases = json.loads(path.read_bytes())["aliases"]
    assert len(aliases) == 80
    assert [p.name for p in path.parent.iterdir()] == ["conda_v2.cnd"]


def test_without_file_locks_a_lock_file_that_stays_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_file_locks(monkeypatch)
    (tmp_path / "conda_v2.cnd.lock").write_text("another-host 1\n")
    manifest = LocalManifest(tmp_path / "conda_v2.cnd", lock_timeout=0.1)
    with pytest.raises(LockTimeoutError, match=r"conda_v2\.cnd\.lock was held by another program .*remove the file"):
        manifest.update(lambda m: m.add(environment(1)))
    (tmp_path / "conda_v2.cnd.lock").unlink()
    manifest.update(lambda m: m.add(environment(1)))
    assert reading(manifest.path).get(environment(1).id) == environment(1)


def test_a_file_that_was_replaced_while_it_was_opened_is_not_the_one_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "conda_v2.cnd"
    manifest, real, late = LocalManifest(path), os.open, list[bool]()
    manifest.update(lambda m: m.add(environment(1)))

    def open_late(name: object, *words: int, **more: int) -> int:
        descriptor = real(name, *words, **more)  # type: ignore[arg-type]
        if str(name) == str(path) and not late:
            late.append(True)
            LocalManifest(path).update(lambda m: m.add(environment(3)))
        return descriptor

    monkeypatch.setattr(os, "open", open_late)
    seen = list[int]()

    def change(content: Manifest) -> None:
        seen.append(len(content.environments["linux-64"]))
        content.add(environment(5))

    manifest.update(change)
    assert late == [True]
    assert seen[0] == 2, "what another writer has just put there is what is changed"
    assert len(reading(path).summaries()) == 3


def test_an_update_that_a_careless_writer_overwrote_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    manifest, calls = LocalManifest(path), list[int]()
    manifest.update(lambda m: m.add(environment(1)))
    stale = path.read_bytes()
    replace = manifest._replace

    def overwritten(data: bytes) -> None:
        replace(data)
        if not calls:
            calls.append(1)
            replace(stale)

    manifest._replace = overwritten  # type: ignore[method-assign]
    manifest.update(lambda m: m.add(environment(2)))
    assert len(reading(path).summaries()) == 2


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"version": 2}', b'{"version": 1, "environments": []}', b"\xff"])
def test_a_damaged_file_is_kept_aside_started_anew_and_said(tmp_path: Path, data: bytes) -> None:
    path, said = tmp_path / "conda_v2.cnd", list[str]()
    path.write_bytes(data)
    manifest = LocalManifest(path, say=said.append)
    with pytest.raises(IntegrityError, match=str(path)):
        reading(path).summaries()
    manifest.update(lambda m: m.add(environment(1)))
    (kept,) = [p for p in tmp_path.iterdir() if p.is_file() and p != path]
    assert kept.read_bytes() == data
    assert str(kept) in said[0]
    assert [s.id for s in reading(path).summaries()] == [environment(1).id]


def test_an_empty_or_missing_file_is_an_empty_manifest(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    assert reading(path).summaries() == []
    path.write_bytes(b"")
    assert reading(path).summaries() == []


def test_the_version_may_be_text() -> None:
    assert Manifest.from_json(b'{"version": "1"}').environments == {}
