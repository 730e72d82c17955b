"""What whoever writes to a store may try, against every kind of store: nothing good is lost, nothing bad is used."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, IntegrityError, PreconditionFailedError, StoreRefusedError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.pack import pack
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Package
from asynccache.ops.catalog import Catalog
from asynccache.ops.verify import Sample, verify_store
from asynccache.ops.warm import Warm
from asynccache.store.base import Store
from tests.support.hydration import cached, environment_with, packages_of
from tests.support.small_channel import write_small_channel

pytestmark = pytest.mark.xdist_group("object-servers")


@dataclass
class House:
    """A store that machines share which know nothing of each other, and two environments in it."""

    root: Path
    store: Store
    packages: Sequence[Package]
    good: ResolvedEnvironment
    other: ResolvedEnvironment
    machines: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def machine(self, **more: Any) -> AsyncIterator[tuple[Engine, Catalog]]:
        self.machines.append("m")
        name = f"machine{len(self.machines)}"
        about = {"attempts": 1, "retry_cap": 0.05, "outage_timeout": 0, "pack": "never", "link_scripts": True, **more}
        settings = Settings(cache_dir=self.root / name, datastore_root=self.root / f"{name}-list", **about)
        async with Engine(settings, store=self.store) as engine:
            yield engine, Catalog(settings, engine.store)

    async def keys(self) -> set[str]:
        return {info.key async for info in self.store.scan("packages/")}

    async def failing(self, environment: ResolvedEnvironment) -> AsyncCacheError:
        """Make an environment on a new machine, which must fail; nothing of it is left."""
        async with self.machine() as (engine, _catalog):
            with pytest.raises(AsyncCacheError) as caught:
                await hydrate(engine.host, engine.sources, environment, self.root / "prefix")
        assert not (self.root / "prefix").exists()
        return caught.value


@pytest.fixture
async def house(store: Store, tmp_path: Path) -> House:
    channel = write_small_channel(tmp_path / "channel")
    packages = packages_of(channel.paths[:4])
    empty = environment_with(packages[:1])
    made = House(tmp_path, store, packages, empty, empty)
    async with made.machine() as (engine, catalog):
        made.good = await catalog.publish(await cached(engine, packages[:2]))
        made.other = await catalog.publish(await cached(engine, packages[2:], note="other"))
    return made


async def test_a_filename_that_is_a_path_writes_and_deletes_nothing(house: House) -> None:
    canary = house.root / "canary" / "precious-1-0"
    canary.mkdir(parents=True)
    document = house.good.as_document()
    async with house.machine() as (_engine, catalog):
        key = catalog.keys.document(house.good.id)
        for filename in (str(canary), "../../canary/precious-1-0"):
            document["packages"][0]["filename"] = filename
            await house.store.put(key, json.dumps(document).encode())
            with pytest.raises(IntegrityError, match="cannot be the name of a package"):
                await catalog.find(str(house.good.id), house.good.id.arch)
            listed = {row.summary.id: row.summary.error for row in await catalog.listed()}
            assert (bool(listed[house.good.id]), listed[house.other.id]) == (True, "")
    assert canary.is_dir()


async def test_a_document_with_wrong_digests_takes_no_good_object_away(house: House) -> None:
    before = await house.keys()
    wrong = [replace(p, hashes={**p.hashes, "sha256": "0" * 64}, cached=dict(p.cached)) for p in house.good.packages]
    lying = replace(house.good, packages=tuple(wrong))
    for package in house.packages:
        Path(package.url.path).unlink()  # no other source
    assert "but not what is wanted" in str(await house.failing(lying))
    assert await house.keys() == before
    async with house.machine() as (engine, _catalog):
        assert (await hydrate(engine.host, engine.sources, house.good, house.root / "prefix")).created


async def test_only_verify_moves_a_damaged_object_and_others_heal_or_leave_it(house: House) -> None:
    key = next(iter(house.good.packages[0].cached.values()))
    data = await house.store.get(key)
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    await house.store.put(key, damaged)
    async with house.machine() as (engine, _catalog):
        assert (
            await hydrate(engine.host, engine.sources, house.good, house.root / "prefix")
        ).created  # from the channel
        assert await house.store.get(key) == damaged
        result = await Warm(engine, Catalog(engine.host.settings, engine.store), to="remote").run([("g", house.good)])
        result.raise_for_failures()
        assert await house.store.get(key) == data
    await house.store.put(key, damaged)
    async with house.machine() as (engine, _catalog):
        (found,) = (await verify_store(engine.host, engine.sources, Sample(), quarantine=True)).damaged
        assert found.key == key
    assert key not in await house.keys()


async def test_a_package_that_was_rebuilt_at_its_address_is_refused_and_the_old_one_stays(house: House) -> None:
    before = await house.keys()
    old = house.packages[0]
    rebuilt = replace(old, digests=replace(old.digests, md5="0" * 32, sha256="0" * 64))
    only_sha256 = replace(old, digests=replace(old.digests, md5=None, sha256="0" * 64))
    async with house.machine() as (engine, _catalog):
        for package in (rebuilt, only_sha256):
            (outcome,) = (await engine.cache([package])).outcomes
            assert isinstance(outcome.error, IntegrityError)
            assert "already holds other bytes" in str(outcome.error)
    assert await house.keys() == before


async def test_a_pack_of_other_packages_is_not_adopted(house: House) -> None:
    async with house.machine() as (engine, _catalog):
        await pack(engine.host, engine.sources, replace(house.other, id=house.good.id), level=1)  # planted
        planted = await house.store.get(pack_key(house.good.id))
    async with house.machine() as (engine, _catalog):
        with pytest.raises(IntegrityError, match="is not what the packages of"):
            await pack(engine.host, engine.sources, house.good)
    assert await house.store.get(pack_key(house.good.id)) == planted


@pytest.mark.parametrize("data", [b" ", b'{"packages": ['])
async def test_a_document_without_content_or_truncated_is_written_anew(house: House, data: bytes) -> None:
    async with house.machine() as (_engine, catalog):
        key = catalog.keys.document(house.good.id)
        whole = await house.store.get(key)
        await house.store.put(key, data)
        assert await catalog.publish(house.good) == house.good
    assert await house.store.get(key) == whole


async def test_a_name_below_anothers_tag_has_a_history_of_its_own(house: House) -> None:
    above, below = Alias.parse("t:latest"), Alias.parse("t/latest:latest")
    async with house.machine() as (_engine, catalog):
        assert catalog.aliases is not None
        ids = [(e.id.req_id, e.id.full_id) for e in (house.good, house.other)]
        for alias in (above, below):
            try:
                for each in ids:
                    await catalog.aliases.assign(alias, each)
            except (PreconditionFailedError, StoreRefusedError):
                pytest.skip("this server ignores conditional writes")
        for alias in (above, below):
            assert [move.target for move in await catalog.aliases.history(alias)] == ids


async def test_who_may_only_read_warms_nodes_all_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_words: object, **_more: object) -> None:
        raise StoreRefusedError("access denied")

    monkeypatch.setattr(house.store, "put", refuse)
    async with house.machine() as (engine, catalog):
        result = await Warm(engine, catalog, to="both").run([("g", house.good)])
    result.raise_for_failures()
    assert result.rows[0].verified == 2
    assert result.digests == {}


async def test_a_damaged_document_of_another_architecture_stands_in_the_way_of_none(house: House) -> None:
    together = replace(house.good, resolved_archs=(house.good.id.arch, "osx-arm64"))
    said: list[str] = []
    async with house.machine() as (engine, catalog):
        await house.store.put(catalog.keys.document(house.good.id), together.to_json())
        await house.store.put(catalog.keys.document(replace(house.good.id, arch="osx-arm64")), b"{")
        told = Catalog(engine.host.settings, engine.store, said.append)
        assert await told.find(str(house.good.id), house.good.id.arch) == together
    assert said == []
