"""Whoever names an environment with its digest gets those bytes or a refusal, whatever lies in the store by then."""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from asynccache.api import Session, Settings
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.engine import Engine
from asynccache.errors import IntegrityError, ObjectNotFoundError
from asynccache.hydrate.pack import pack
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.platform import current_architecture
from asynccache.ops import installer
from asynccache.ops.catalog import Catalog
from asynccache.ops.import_environment import import_environment
from asynccache.ops.node_supplies import supply_nodes
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_known import default_of
from asynccache.store.base import Store
from asynccache.store.open import open_store
from asynccache.store.options import store_options
from tests.boot.conftest import Node
from tests.security.test_nodes import pin
from tests.store.conftest import use_credentials_of
from tests.support.hydration import packages_of
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.small_channel import write_small_channel

pytestmark = pytest.mark.xdist_group("object-servers")
ARCH = current_architecture()
KEYS = CatalogKeys()
NAME = "team/env:latest"


@dataclass(frozen=True)
class House:
    """A store in which somebody published an environment, and two machines.

    Attributes:
        root: Directory of the test.
        settings: Of the machine that published it.
        packages: Archives of the channel.
        digest: By which the environment is named.
        environment: As it was published.
    """

    root: Path
    settings: Settings
    packages: Sequence[Path]
    digest: str
    environment: ResolvedEnvironment

    @property
    def named(self) -> str:
        return f"{NAME}@sha256:{self.digest}"

    def machine(self, name: str, **more: Any) -> Settings:
        """Settings of a machine that has never seen the environment."""
        here = {"cache_dir": self.root / name / "cache", "datastore_root": self.root / name / "here", **more}
        return replace(self.settings, **here)

    def opened(self) -> Store:
        return open_store(self.settings.root, store_options(self.settings))

    def list_of(self, *numbers: int) -> Path:
        path = self.root / f"list-{'-'.join(map(str, numbers))}.txt"
        chosen = packages_of(self.packages[number] for number in numbers)
        path.write_text("@EXPLICIT\n" + "".join(f"{p.url}#{p.digests.md5}\n" for p in chosen))
        return path


@pytest.fixture(params=["local", "moto"])
async def house(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    more: dict[str, Any] = {"store": str(tmp_path / "store")}
    if request.param != "local":
        server: ObjectServer = request.getfixturevalue(request.param)
        use_credentials_of(server, monkeypatch)
        more = {"store": f"s3://{BUCKET}/{secrets.token_hex(6)}", "s3_endpoint_url": server.url}
    settings = Settings(
        cache_dir=tmp_path / "a/cache", datastore_root=tmp_path / "a/here", username="ann", pack="never", **more
    )
    channel = tmp_path / "channel"
    write_small_channel(channel)
    packages = sorted(channel.rglob("synthetic-*.conda"))[:4]
    empty = House(tmp_path, settings, packages, "", ResolvedEnvironment.__new__(ResolvedEnvironment))
    async with Session(settings, writing=True) as session:
        made = await session.import_environment(empty.list_of(0, 1), names=[NAME])
    return replace(empty, digest=made.digest, environment=made.environments[0])


def _files(prefix: Path) -> set[str]:
    return {path.name for path in (prefix / "conda-meta").glob("synthetic-*.json")}


async def test_the_digest_that_was_printed_makes_the_environment_on_another_machine(house: House) -> None:
    async with Session(house.machine("b")) as session:
        made = await session.create(house.named, prefix=house.root / "p")
        shown = await session.show(NAME)
    assert len(_files(made.prefix)) == 2
    assert shown.digest == house.digest == shown.as_document()["digest"]


async def test_a_document_that_was_changed_is_refused_by_who_has_the_digest(house: House) -> None:
    async with Session(house.machine("b"), writing=True) as session:
        other = (await session.import_environment(house.list_of(2, 3))).environments[0]
    async with house.opened() as store:
        await store.put(KEYS.document(house.environment.id), replace(other, id=house.environment.id).to_json())
    said: list[str] = []
    async with Session(house.machine("c"), say=said.append) as session:
        with pytest.raises(IntegrityError, match="its packages are others"):
            await session.create(house.named, prefix=house.root / "p")
        assert not (house.root / "p").exists()
        await session.create(NAME, prefix=house.root / "q")
    assert any("its packages amount to full_id" in sentence for sentence in said)


async def test_what_a_digest_stands_for_cannot_be_changed(house: House) -> None:
    key = KEYS.digest(house.environment.id, house.digest)
    async with house.opened() as store:
        text = await store.get(key)
        await store.put(key, text.replace(b"a", b"b"))
    async with Session(house.machine("b")) as session:
        with pytest.raises(IntegrityError, match="is not what its name says"):
            await session.find(house.named)


async def test_a_digest_that_an_environment_never_had_is_refused(house: House) -> None:
    async with Session(house.machine("b")) as session:
        with pytest.raises(IntegrityError, match=rf"never had the digest .* found sha256:{house.digest}"):
            await session.find(f"{NAME}@sha256:{'0' * 64}")
        with pytest.raises(ObjectNotFoundError):
            await session.find(f"team/none:v1@sha256:{house.digest}")


async def test_a_name_that_moved_means_what_had_the_digest(house: House) -> None:
    async with Session(house.machine("b"), writing=True) as session:
        other = await session.import_environment(house.list_of(2, 3), names=[NAME])
        assert (await session.find(NAME)).id == other.environments[0].id
        assert (await session.find(house.named)).id == house.environment.id


async def test_a_package_in_the_store_with_other_bytes_is_refused_by_sha256(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two archives of one md5, as an attacker makes them; here md5 is made to agree instead."""
    from asynccache.model import digest as digests

    package = house.environment.packages[0]
    async with house.opened() as store:
        data = await store.get(package.cached[".conda"])
        await store.put(package.cached[".conda"], data[:-1] + bytes([data[-1] ^ 1]))
    for path in house.packages:
        path.unlink()
    real = digests.Hasher.digests

    def blind(self: digests.Hasher) -> digests.Digests:
        return replace(real(self), md5=None)

    monkeypatch.setattr(digests.Hasher, "digests", blind)
    async with Session(house.machine("b")) as session:
        with pytest.raises(IntegrityError, match="its sha256 differs"):
            await session.create(house.named, prefix=house.root / "p")
    assert not (house.root / "p").exists()


async def test_no_pack_is_taken_but_the_one_that_the_digest_stands_for(house: House) -> None:
    packing = {"pack": "always"}
    async with Session(house.machine("a", **packing), writing=True) as session:
        await session.pack(house.environment)
        digest = (await session.show(NAME)).digest
        other = (await session.import_environment(house.list_of(2, 3))).environments[0]
    assert digest != house.digest
    async with Session(house.machine("b", **packing)) as session:
        made = await session.create(f"{NAME}@sha256:{digest}", prefix=house.root / "p")
    assert made.hydrated.packed
    async with Engine(house.machine("c", **packing)) as engine:
        await pack(engine.host, engine.sources, replace(other, id=house.environment.id), force=True, level=1)  # planted
    async with Session(house.machine("d", **packing)) as session:
        for number, named in enumerate((digest, house.digest)):
            made = await session.create(f"{NAME}@sha256:{named}", prefix=house.root / f"q{number}")
            assert not made.hydrated.packed
            assert _files(made.prefix) == _files(house.root / "p")


async def test_where_trust_requires_a_digest_nothing_else_is_installed(house: House) -> None:
    async with Session(house.machine("b", trust="require"), writing=True) as session:
        for attempt in (
            session.create(NAME, prefix=house.root / "p"),
            session.warm(NAME),
            session.pack(NAME),
            session.create(house.environment, prefix=house.root / "p"),
        ):
            with pytest.raises(IntegrityError, match="no digest vouches for"):
                await attempt
        made = await session.create(house.named, prefix=house.root / "p")
        assert made.created
        again = await session.create(NAME, prefix=house.root / "q")  # its digest was named before
        assert again.created
        own = (await session.import_environment(house.list_of(2))).environments[0]
        assert (await session.create(own, prefix=house.root / "r")).created


async def test_where_trust_requires_a_digest_a_request_means_nothing_that_others_resolved(house: House) -> None:
    for number, (trust, named, found) in enumerate(
        (("note", False, True), ("require", False, False), ("require", True, True))
    ):
        settings = house.machine(f"m{number}", trust=trust, use_remote_latest=":any:")
        async with Opening(settings) as opening:
            if named:
                await opening.find(house.named)
            known = await default_of(house.environment.id.req_id, ARCH, opening)
        assert (known is not None) == found


async def test_a_node_takes_the_pack_that_a_named_digest_stands_for_and_no_other(house: House) -> None:
    if house.settings.root.kind != "local":
        pytest.skip("a bare node needs boto3 for S3: tests/boot has that")
    async with Session(house.machine("a", pack="always"), writing=True) as session:
        (packed,) = await session.pack(house.environment)
        digest = (await session.show(NAME)).digest
        other = (await session.import_environment(house.list_of(2, 3))).environments[0]
    pins = pin(replace(packed, id=replace(packed.id, full_id="0" * 40)))  # of another environment
    path = house.root / "manifest.json"
    path.write_text(json.dumps({"version": 1, "root": str(house.settings.root), "packs": pins}))
    ids = str(house.environment.id)
    nodes = [Node(house.root / f"node{number}") for number in range(4)]
    done = await asyncio.to_thread(nodes[0].boot, path, f"{ids}@sha256:{digest}")
    assert (done.returncode, done.stderr) == (0, "")
    assert "made from its pack" in done.stdout
    done = await asyncio.to_thread(nodes[1].boot, path, ids)
    assert "names no pack" in done.stderr
    done = await asyncio.to_thread(nodes[2].boot, path, f"{ids}@sha256:{'0' * 64}")
    assert "never had the digest that is named" in done.stderr
    async with Engine(house.machine("c", pack="always")) as engine:
        await pack(engine.host, engine.sources, replace(other, id=house.environment.id), force=True, level=1)  # planted
        assert await engine.store.head(pack_key(house.environment.id)) is not None
    done = await asyncio.to_thread(nodes[3].boot, path, f"{ids}@sha256:{digest}")
    assert done.returncode == 1
    assert "is another pack than the manifest says" in done.stderr


async def test_warm_finds_out_the_digest_of_what_others_put_there(house: House) -> None:
    if house.settings.root.kind == "local":
        shutil.rmtree(house.root / "store" / "envs")
    settings = house.machine("b")
    bare = tuple(replace(p, hashes={".conda": p.hashes[".conda"]}, vouched={}) for p in house.environment.packages)
    async with Session(settings, writing=True) as session:
        warmed = await session.warm(replace(house.environment, packages=bare, digest=None), to="remote")
        assert warmed.readiness.digests == {house.environment.id: house.digest}
    for kept in (settings.cache_dir / "vouched.sqlite",):
        kept.unlink()
    async with Session(settings, writing=True) as session:
        warmed = await session.warm(replace(house.environment, packages=bare, digest=None), to="remote")
        assert warmed.readiness.checked_bytes > 0  # read once more, since nobody remembers sha256
        assert warmed.readiness.digests == {house.environment.id: house.digest}


async def test_the_history_of_a_name_says_with_which_digest_it_moved(house: House) -> None:
    async with Session(house.machine("b"), writing=True) as session:
        other = await session.import_environment(house.list_of(2, 3), names=[NAME])
        moves = (await session.history(NAME)).moves
        assert [move.digests for move in moves] == [{ARCH: house.digest}, {ARCH: other.digest}]
        await session.rollback(NAME)
        assert (await session.history(NAME)).moves[-1].digests == {ARCH: house.digest}
        await session.alias(house.named, "team/again:latest")
        assert (await session.history("team/again:latest")).moves[0].digests == {ARCH: house.digest}
        with pytest.raises(IntegrityError, match="never had the digest"):
            await session.alias(f"{NAME}@sha256:{'0' * 64}", "team/never:latest")


async def test_the_submitter_tells_nodes_the_digest_and_they_tell_it_to_the_engine(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    if house.settings.root.kind != "local":
        pytest.skip("a bare node needs boto3 for S3: tests/boot has that")
    ran = house.root / "ran"
    script = f'#!/bin/sh\necho "$@" >{ran}\nexit 1\n'
    monkeypatch.setattr(installer, "_write_bundle", lambda path, _stop: write_bundle(path, script))
    async with Engine(house.settings) as engine:
        supplies = await supply_nodes(engine.host, engine.sources, [house.environment])
    told = supplies.as_document()
    ids = f"{house.environment.id}:{ARCH}"
    assert told["digests"] == {ids: house.digest}
    path = house.root / "manifest.json"
    path.write_text(json.dumps({"version": 1, "root": str(house.settings.root), **told}))
    done = await asyncio.to_thread(Node(house.root / "node").boot, path, str(house.environment.id))
    assert done.returncode == 1
    assert f"create {house.environment.id}@sha256:{house.digest} " in ran.read_text()


def write_bundle(path: Path, script: str) -> None:
    """Write an engine for nodes whose Python is a script."""
    entry = tarfile.TarInfo("bin/python3")
    entry.size, entry.mode = len(script), 0o755
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(entry, io.BytesIO(script.encode()))


async def test_architectures_resolved_together_are_named_by_one_digest(house: House) -> None:
    settings, lists = house.machine("b"), dict.fromkeys(("linux-64", "osx-arm64"), packages_of(house.packages[:3]))
    async with Engine(settings) as engine:
        made = await import_environment(engine, Catalog(settings, engine.store), lists)
    req_id, full_id, _arch = made.environments[0].id.as_list()
    name = f"{req_id}:{full_id}@sha256:{made.digest}"
    async with Session(house.machine("c")) as session:
        for arch in ("linux-64", "osx-arm64"):
            found = await session.find(name, arch=arch)
            assert found.digest is not None
            assert found.digest.id == EnvID(req_id, full_id, arch)
            shown = await session.show(str(found.id), arch=arch)
            assert (shown.digest, shown.own_digest) == (made.digest, found.digest.sha256)
            assert await session.find(f"{found.id}@sha256:{shown.own_digest}", arch=arch) == found


async def test_a_history_that_was_changed_leads_to_nothing_that_the_digest_does_not_name(house: House) -> None:
    async with Session(house.machine("b"), writing=True) as session:
        await session.import_environment(house.list_of(2, 3), names=[NAME])
        async with house.opened() as store:
            keys = [info.key async for info in store.scan("asynccache/alias-log/")]
            await store.put(keys[0], b"{}")
        with pytest.raises(IntegrityError, match="never had the digest"):
            await session.find(house.named)
        assert isinstance(await session.find(f"{house.environment.id}@sha256:{house.digest}"), ResolvedEnvironment)


async def test_the_in_memory_store_keeps_digests_too() -> None:
    from asynccache.catalog.digests import EnvironmentDigests
    from asynccache.model.environment_digest import EnvironmentDigest
    from asynccache.store.memory import MemoryStore

    async with MemoryStore() as store:
        digests, env_id = EnvironmentDigests(store), EnvID("1" * 40, "2" * 40, ARCH)
        first, second = EnvironmentDigest(env_id, ()), EnvironmentDigest(env_id, (), "a" * 64)
        for digest in (first, second):
            assert await digests.put([digest]) == digest.sha256
        assert await digests.get(env_id, first.sha256) == first
        await store.put(KEYS.digest(env_id, first.sha256), second.text)
        with pytest.raises(IntegrityError, match="is not what its name says"):
            await digests.get(env_id, first.sha256)


def test_the_catalog_without_a_store_knows_no_digest(tmp_path: Path) -> None:
    settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path, datastore_root=tmp_path)
    assert Catalog(settings, None).digests is None
