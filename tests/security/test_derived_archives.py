"""A form of a package that was made of the published archive is used only where somebody vouches for it.

Whoever can write to the store plants a `.conda` beside a `.tar.bz2`, with or without a receipt, names it in the
document, and damages or removes the published one; every kind of store is tried.
"""

import json
import tarfile
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from asynccache.archive import transmute
from asynccache.archive.receipt import Receipt
from asynccache.boot.manifest import Manifest
from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.report import Report
from asynccache.errors import ConfigurationError, IntegrityError, UsageError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.hydrated import Hydrated
from asynccache.model.digest import digest_file
from asynccache.model.package import Format
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.catalog import Catalog
from asynccache.ops.node_supplies import NodeSupplies, supply_nodes
from asynccache.ops.verify import Sample, verify_store
from asynccache.ops.warm import Target, Warm
from asynccache.store import layout
from asynccache.store.base import Store
from asynccache.store.memory import MemoryStore
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.hydration import environment_with, packages_of
from tests.support.object_servers import BUCKET, ObjectServer

pytestmark = pytest.mark.xdist_group("object-servers")
ABOUT = Metadata(name="p0", version="1.0", build="0")
GOOD = [Member("bin/p0", b"#!/bin/sh\necho good\n", executable=True)]
EVIL = [Member("bin/p0", b"#!/bin/sh\necho evil\n", executable=True)]
NOTE = "1 package was taken as published"


@dataclass
class House:
    """A store, a channel with one package in `.tar.bz2` form, and machines that know nothing of each other.

    Attributes:
        root: For files.
        about: Of all machines' settings.
        store: One that all machines share; None where each opens its own.
        told: Events of the machine that was opened last.
    """

    root: Path
    about: dict[str, Any]
    store: Store | None
    told: list[events.Event]

    def __post_init__(self) -> None:
        for name in ("channel", "evil"):
            (self.root / name).mkdir()
        (self.published,) = write_package(self.root / "channel", ABOUT, GOOD, [Format.TAR_BZ2])
        (self.evil,) = write_package(self.root / "evil", ABOUT, EVIL, [Format.CONDA])
        (self.package,) = packages_of([self.published])
        self.environment = environment_with([self.package])

    def machine(self, name: str, **more: Any) -> Engine:
        self.told = []
        settings = Settings(cache_dir=self.root / name, attempts=1, retry_cap=0.05, pack="never", **self.about, **more)
        return Engine(settings, store=self.store, emit=self.told.append)

    async def plant(self, path: Path, *, receipt: bool) -> str:
        """Put a derived archive into the store; return its key."""
        digests = digest_file(str(path), "md5", "sha256")
        key = layout.key_for(self.package, Format.CONDA, digests.md5 or "")
        async with self.machine("attacker") as engine:
            await engine.store.upload(key, path, digests)
            if receipt:
                source = self.package.digests
                said = Receipt(source, Format.TAR_BZ2, digests, Format.CONDA, 3, "asynccache 0.1.0", (), 6, 700, True)
                await engine.store.put(layout.receipt_key(key), said.to_json())
        self.environment = replace(
            self.environment, packages=(self.environment.packages[0].with_cached(Format.CONDA, key),)
        )
        return key

    async def damage(self, *, remove: bool = False) -> None:
        """Damage the published archive in the store, or remove it."""
        key = layout.key_for(self.package, Format.TAR_BZ2, self.package.digests.md5 or "")
        async with self.machine("attacker") as engine:
            await engine.store.delete(key)
            if not remove:
                await engine.store.put(key, b"damaged")

    async def cached(self, machine: str, **how: Any) -> Report:
        async with self.machine(machine) as engine:
            return await engine.cache([self.package], **how)

    async def created(self, machine: str, **more: Any) -> Hydrated:
        async with self.machine(machine, **more) as engine:
            return await hydrate(engine.host, engine.sources, self.environment, self.root / f"prefix-{uuid4().hex}")

    async def warmed(self, machine: str, to: Target = "both") -> Any:
        async with self.machine(machine) as engine:
            catalog = Catalog(engine.host.settings, engine.store)
            result = await Warm(engine, catalog, to=to).run([("p0", self.environment)])
            return result.rows[0]

    async def receipts(self) -> list[Receipt]:
        async with self.machine("attacker") as engine:
            keys = [info.key async for info in engine.store.scan("asynccache/receipts/")]
            return [Receipt.from_json(await engine.store.get(key)) for key in keys]

    @property
    def taken(self) -> list[str]:
        """Files that the machine that was opened last has read or fetched."""
        return [event.package for event in self.told if isinstance(event, events.Fetched)]


@pytest.fixture(params=["local", "memory", "s3"])
def house(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    about: dict[str, Any] = {"store": str(tmp_path / "store")}
    if request.param == "s3":
        server: ObjectServer = request.getfixturevalue("moto")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        with suppress(Exception):
            server.create_bucket(BUCKET)
        about = {"store": f"s3://{BUCKET}/{uuid4().hex}", "s3_endpoint_url": server.url}
    return House(tmp_path, about, MemoryStore() if request.param == "memory" else None, [])


@pytest.fixture
def at_home(tmp_path: Path) -> House:
    """The same on a local store only."""
    return House(tmp_path, {"store": str(tmp_path / "store")}, None, [])


def says(hydrated: Hydrated) -> str:
    return (hydrated.prefix / "bin" / "p0").read_text().split()[-1]


@pytest.mark.parametrize("receipt", [False, True], ids=["no-receipt", "receipt"])
@pytest.mark.parametrize("original", ["whole", "damaged", "deleted"])
async def test_a_planted_form_is_not_used_by_whoever_makes_an_environment(
    house: House, original: str, receipt: bool
) -> None:
    await house.cached("a")
    await house.plant(house.evil, receipt=receipt)
    if original != "whole":
        await house.damage(remove=original == "deleted")
    made = await house.created("b")
    assert says(made) == "good"
    assert [note for note in made.notes if NOTE in note]
    assert set(house.taken) == {house.published.name}


@pytest.mark.parametrize("receipt", [False, True], ids=["no-receipt", "receipt"])
async def test_nothing_is_made_where_only_a_form_is_left_that_nobody_vouches_for(house: House, receipt: bool) -> None:
    await house.cached("a")
    key = await house.plant(house.evil, receipt=receipt)
    await house.damage(remove=True)
    house.published.unlink()
    with pytest.raises(IntegrityError, match="nobody vouches for") as caught:
        await house.created("b")
    assert key in str(caught.value)
    assert caught.value.exit_code == 5
    assert "name the environment with its digest" in str(caught.value.hint)


@pytest.mark.parametrize("to", ["local", "both", "remote"])
async def test_warm_compares_and_names_a_planted_form(at_home: House, to: Target) -> None:
    await at_home.cached("a")
    await at_home.plant(at_home.evil, receipt=to != "remote")
    row = await at_home.warmed("b", to)
    (error,) = row.errors.values()
    assert isinstance(error, IntegrityError)
    assert "does not hold what the published archive holds" in str(error)
    assert "verify --adopt --quarantine" in str(error.hint)
    assert not list((at_home.root / "b").rglob("*.conda"))
    assert says(await at_home.created("b")) == "good"


async def test_cache_and_backfill_compare_and_name_a_planted_form(house: House) -> None:
    await house.cached("a")
    await house.plant(house.evil, receipt=False)
    report = await house.cached("b", wanted=Format.CONDA)
    async with house.machine("c") as engine:
        filled = await Backfill(engine, Selection(Format.CONDA)).run()
    for each in (report, filled):
        (outcome,) = each.outcomes
        assert isinstance(outcome.error, IntegrityError)
        assert "does not hold what the published archive holds" in str(outcome.error)
    assert await house.receipts() == []


async def test_a_planted_receipt_spares_cache_its_reading_and_lets_nobody_use_the_form(house: House) -> None:
    await house.cached("a")
    await house.plant(house.evil, receipt=True)
    report = await house.cached("b", wanted=Format.CONDA)
    assert report.hits == 1
    assert house.taken == []
    assert says(await house.created("b")) == "good"
    assert set(house.taken) == {house.published.name}


async def test_verify_with_adopt_moves_a_planted_form_away(house: House) -> None:
    await house.cached("a")
    key = await house.plant(house.evil, receipt=True)
    async with house.machine("operator") as engine:
        plain = await verify_store(engine.host, engine.sources, Sample())
        found = await verify_store(engine.host, engine.sources, Sample(), adopt=True)
        moved = await verify_store(engine.host, engine.sources, Sample(), adopt=True, quarantine=True)
        assert await engine.store.head(key) is None
    assert plain.whole
    assert [(damage.key, damage.part, damage.moved_to) for damage in found.damaged] == [(key, "members", "")]
    assert "bin/p0" in found.damaged[0].found or "info/paths.json" in found.damaged[0].found
    assert moved.damaged[0].moved_to.endswith(key)
    assert (await house.cached("b", wanted=Format.CONDA)).outcomes[0].error is None


async def test_verify_has_cph_compare_what_was_written(at_home: House) -> None:
    await at_home.cached("a")
    await at_home.plant(other_format(at_home), receipt=True)
    async with at_home.machine("operator") as engine:
        same = await verify_store(engine.host, engine.sources, Sample(), check_with="cph")
        with pytest.raises(UsageError, match="nobody called 'tar'"):
            await verify_store(engine.host, engine.sources, Sample(), check_with="tar")
        both = await verify_store(engine.host, engine.sources, Sample(), adopt=True, check_with="cph")
    assert (same.whole, same.compared, same.uncompared) == (True, 1, {})
    assert (both.whole, both.compared) == (True, 1)  # once, by both
    # our own comparison leaves times out, since other programs write others: theirs does not
    at_home.environment = environment_with([at_home.package])
    key = await at_home.plant(later_form(at_home), receipt=True)
    async with at_home.machine("operator") as engine:
        assert (await verify_store(engine.host, engine.sources, Sample())).whole
        found = await verify_store(engine.host, engine.sources, Sample(), check_with="cph")
    assert [(damage.key, damage.part) for damage in found.damaged] == [(key, "members")]
    assert "bin/p0" in found.damaged[0].found


def other_format(house: House) -> Path:
    """Return what another program made of the published archive."""
    path = house.root / "other" / house.evil.name
    path.parent.mkdir()
    transmute(house.published, path, level=19)
    return path


def later_form(house: House) -> Path:
    """Return what another program made of the published archive with other times."""
    (house.root / "later").mkdir()
    source = house.root / "later" / house.published.name
    with tarfile.open(house.published) as old, tarfile.open(source, "w:bz2") as new:
        for member in old:
            member.mtime += 1
            new.addfile(member, old.extractfile(member))
    transmute(source, source.with_name(house.evil.name))
    return source.with_name(house.evil.name)


Adopting = Callable[[House], Awaitable[object]]


async def by_verify(house: House) -> None:
    async with house.machine("b") as engine:
        assert (await verify_store(engine.host, engine.sources, Sample(), adopt=True)).compared == 1


async def by_cache(house: House) -> None:
    assert (await house.cached("b", wanted=Format.CONDA)).outcomes[0].error is None


async def by_warm(house: House) -> None:
    assert (await house.warmed("b")).ready


async def by_warm_remote(house: House) -> None:
    assert (await house.warmed("b", "remote")).ready


async def by_backfill(house: House) -> None:
    async with house.machine("b") as engine:
        (await Backfill(engine, Selection(Format.CONDA)).run()).raise_for_failures()


@pytest.mark.parametrize("adopt", [by_verify, by_cache, by_warm, by_warm_remote, by_backfill], ids=lambda f: f.__name__)
async def test_what_another_program_made_is_compared_once_and_then_used(at_home: House, adopt: Adopting) -> None:
    await compared_once(at_home, adopt)


async def test_every_store_gets_a_receipt_of_what_was_compared(house: House) -> None:
    await compared_once(house, by_cache)


async def compared_once(house: House, adopt: Adopting) -> None:
    await house.cached("a")
    key = await house.plant(other_format(house), receipt=False)
    await adopt(house)
    assert house.published.name in house.taken
    (receipt,) = await house.receipts()
    assert receipt.source == house.package.digests
    assert layout.parse_key(key) is not None
    assert receipt.derived.md5 == key.split("/")[-2]
    made = await house.created("b")
    assert (says(made), made.notes) == ("good", ())
    assert set(house.taken) <= {house.evil.name}
    await adopt(house)
    if adopt is not by_verify:
        assert house.taken == []
    assert says(await house.created("c")) == "good"  # another machine's word is not this one's
    assert house.taken == [house.published.name]


async def test_what_this_machine_made_is_used_and_nothing_else_is_read(house: House) -> None:
    await house.cached("a", wanted=Format.CONDA)
    house.published.unlink()
    made = await house.created("a")
    assert (says(made), made.notes) == ("good", ())
    assert house.taken == [house.evil.name]


async def test_what_was_compared_with_another_publication_does_not_count(at_home: House) -> None:
    await at_home.cached("a", wanted=Format.CONDA)
    rebuilt = [Member("bin/p0", b"#!/bin/sh\necho rebuilt\n", executable=True)]
    write_package(at_home.published.parent, ABOUT, rebuilt, [Format.TAR_BZ2])
    async with at_home.machine("a") as engine:
        (form,) = [info.key async for info in engine.store.scan("packages/")]
    (package,) = packages_of([at_home.published])
    at_home.environment = environment_with([package], note="b")
    first = at_home.environment.packages[0].with_cached(Format.CONDA, form)
    at_home.environment = replace(at_home.environment, packages=(first,))
    assert says(await at_home.created("a")) == "rebuilt"


async def test_an_archive_on_the_node_that_nobody_vouches_for_is_not_used(at_home: House) -> None:
    await at_home.cached("a")
    await at_home.plant(at_home.evil, receipt=True)
    directory = at_home.root / "b" / "pkgs"
    directory.mkdir(parents=True)
    (directory / at_home.evil.name).write_bytes(at_home.evil.read_bytes())
    assert says(await at_home.created("b")) == "good"


async def supplied(house: House, machine: str) -> NodeSupplies:
    async with house.machine(machine) as engine:
        return await supply_nodes(engine.host, engine.sources, [house.environment])


async def test_the_submitters_manifest_tells_nodes_what_he_vouches_for(
    at_home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await at_home.cached("a", wanted=Format.CONDA)

    async def no_engines(*_: object) -> None:
        return None

    monkeypatch.setattr("asynccache.ops.node_supplies._engines", no_engines)
    supplies = await supplied(at_home, "a")
    said = json.loads(json.dumps({"version": 1, "root": at_home.about["store"], **supplies.as_document()}))
    env_id = at_home.environment.id
    statements = Manifest(said, "manifest").derived(env_id.req_id, env_id.full_id, env_id.arch)
    assert len(statements) == 1
    assert says(await at_home.created("node", derived_digests=statements)) == "good"
    assert at_home.taken == [at_home.evil.name]
    assert (await supplied(at_home, "b")).as_document().get("derived") is None  # it vouches for nothing


async def test_a_statement_on_another_archive_vouches_for_nothing(at_home: House) -> None:
    await at_home.cached("a")
    await at_home.plant(at_home.evil, receipt=True)
    sha256 = digest_file(str(at_home.evil), "sha256").sha256
    assert says(await at_home.created("b", derived_digests=[f"{'0' * 32}={sha256}"])) == "good"
    other = f"{at_home.package.digests.sha256}={'0' * 64}"  # on this archive, and another format of it
    assert at_home.package.digests.md5 is not None
    for number, text in enumerate(
        (other, other.replace(str(at_home.package.digests.sha256), at_home.package.digests.md5))
    ):
        assert says(await at_home.created(f"d{number}", derived_digests=[text])) == "good"
    for wrong in ("x", f"{'0' * 31}={sha256}", f"{'0' * 32}=", f"{sha256}"):
        with pytest.raises(ConfigurationError, match="derived_digests"):
            await at_home.created("c", derived_digests=[wrong])


async def test_who_names_the_environments_digest_vouches_for_forms(house: House) -> None:
    await house.cached("a")
    path = other_format(house)
    await house.plant(path, receipt=False)
    sha256 = digest_file(str(path), "sha256").sha256
    (package,) = house.environment.packages
    house.environment = replace(house.environment, packages=(replace(package, vouched={Format.CONDA: sha256 or ""}),))
    made = await house.created("b")
    assert (says(made), made.notes) == ("good", ())
    assert house.taken == [house.evil.name]
    house.environment = replace(house.environment, packages=(replace(package, vouched={Format.CONDA: "0" * 64}),))
    assert says(await house.created("c")) == "good"
    assert house.taken[-1] == house.published.name
