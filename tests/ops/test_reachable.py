"""What an environment reaches in a store is all that belongs to it, in every format, and nothing of its neighbours."""

from __future__ import annotations

from dataclasses import replace

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.digests import EnvironmentDigests
from asynccache.catalog.keys import CatalogKeys
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.alias import Alias
from asynccache.model.environment_digest import EnvironmentDigest
from asynccache.model.identity import EnvID
from asynccache.model.package import Format
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.catalog import Catalog
from asynccache.ops.reachable import names_of_environments, reached, source_directories
from asynccache.store import layout
from tests.support.environments import environment_of
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel

PACKAGES = 8


async def test_an_environment_reaches_every_form_receipts_and_what_lies_beside_its_document(
    filled: FaultServer, channel: SyntheticChannel, configured: Settings
) -> None:
    async with Engine(configured) as engine:
        await Backfill(engine, Selection(Format.CONDA)).run()
        catalog = Catalog(configured, engine.store)
        packages = channel.packages(filled.url, PACKAGES)
        mine = await catalog.publish(environment_of(packages[:4]))
        other = replace(environment_of(packages[4:]), id=EnvID("7" * 40, "8" * 40, "linux-64"))
        await catalog.publish(other)
        digest = EnvironmentDigest(mine.id, ())
        await EnvironmentDigests(engine.store).put([digest])
        found = await reached(engine.store, mine, CatalogKeys())

        everything = [info.key async for info in engine.store.scan("packages/")]
        directories = {d for package in mine.packages for d in source_directories(package)}
        expected = [key for key in everything if key.startswith(tuple(f"{d}/" for d in directories))]
        assert [info.key for info in found.archives] == expected
        assert len(expected) > len(mine.packages), "both formats of some"
        derived = [key for key in expected if (parts := layout.parse_key(key)) is not None and parts.transmuted]
        assert [info.key for info in found.receipts] == [layout.receipt_key(key) for key in derived] != []
        assert found.document is not None
        assert [info.key for info in found.beside] == [f"{found.document.key}.sha256-{digest.sha256}"]
        assert found.name is not None
        assert found.missing == ()

        await engine.store.delete(expected[0])
        assert (await reached(engine.store, mine, CatalogKeys())).missing != ()


async def test_archives_that_no_address_leads_to_are_reached_where_a_document_records_their_keys(
    filled: FaultServer, channel: SyntheticChannel, configured: Settings
) -> None:
    async with Engine(configured) as engine:
        catalog = Catalog(configured, engine.store)
        stored = await catalog.publish(environment_of(channel.packages(filled.url, 1)))
        (package,) = stored.packages
        ((form, key),) = package.cached.items()
        elsewhere = key.replace("packages/conda/", "packages/conda/token/of/somebody/")
        await engine.store.move(key, elsewhere)
        moved = replace(stored, packages=(replace(package, cached={form: elsewhere}),))
        found = await reached(engine.store, moved, CatalogKeys())
        assert [info.key for info in found.archives] == [elsewhere]
        assert layout.parse_key(elsewhere).source_directory in source_directories(moved.packages[0])  # type: ignore[union-attr]


async def test_names_that_can_be_read_are_told_and_damaged_ones_are_not(configured: Settings) -> None:
    async with Engine(configured) as engine:
        aliases = Aliases(engine.store)
        await aliases.assign(Alias.parse("team/env:v1"), ("1" * 40, "2" * 40))
        await engine.store.put("envs/aliases/generic/team/broken/v1", b"[")
        found = [(str(name), ids) async for name, ids in names_of_environments(engine.store, CatalogKeys())]
        assert found == [("team/env:v1", ("1" * 40, "2" * 40))]
