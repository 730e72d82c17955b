"""What one store has comes into another: whole, once, packages before documents and documents before names."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import pytest

from asynccache.api import ReplicaFinding, Replicated, Session
from asynccache.catalog.aliases import Aliases, Ids
from asynccache.catalog.collection import PUBLISHING, USES, note_use, use_key
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.leases import PREFIX as LEASES
from asynccache.catalog.leases import Lease, read_leases
from asynccache.config import Settings
from asynccache.errors import IntegrityError, PartialFailureError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.identity import EnvID
from asynccache.ops.collect import Collector
from asynccache.ops.collect_rules import Garbage, Rules
from asynccache.store.local import LocalStore
from tests.support.environments import ARCH
from tests.support.many_environments import contents, write_environments
from tests.support.stores import archives_in

ENVIRONMENTS, PACKAGES, EACH = 10, 40, 8
STABLE, FIXED = Alias.parse("team/e0:stable"), Alias.parse("team/e3:v1")


class Two:
    """Two local stores, the first with environments."""

    def __init__(self, directory: Path) -> None:
        self.here, self.there = directory / "here", directory / "there"
        self.settings = Settings(store=str(self.there), cache_dir=directory / "cache")
        self.found: list[ReplicaFinding] = []

    async def replicate(self, **how: object) -> Replicated:
        self.found = []
        async with Session(self.settings) as session:
            return await session.replicate(str(self.here), found=self.found.append, **how)  # type: ignore[arg-type]

    async def differ(self) -> set[str]:
        """Return the keys that only one of them has, or in another size."""
        both = [await contents(LocalStore(root)) for root in (self.here, self.there)]
        return {key for key in both[0].keys() | both[1].keys() if both[0].get(key) != both[1].get(key)}

    async def ids(self, alias: Alias) -> tuple[str, str]:
        found = await Aliases(LocalStore(self.here)).get(alias)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with environments, and what bare nodes need."""
    directory = tmp_path_factory.mktemp("filled")

    async def fill() -> None:
        async with LocalStore(directory / "here") as store:
            made = directory / "made"
            await write_environments(store, made, environments=ENVIRONMENTS, packages=PACKAGES, each=EACH)
            bundle = b"a bundle"
            key = f"asynccache/bundles/asynccache-1-{ARCH}-{hashlib.sha256(bundle).hexdigest()[:16]}.tar.gz"
            await store.put(key, bundle)
            await store.put(f"asynccache/bundles/{ARCH}.json", json.dumps({"key": key}).encode())

    asyncio.run(fill())
    return directory / "here"


@pytest.fixture
def two(filled: Path, tmp_path: Path) -> Two:
    shutil.copytree(filled, tmp_path / "here")
    return Two(tmp_path)


def copied(result: Replicated) -> int:
    return sum(tally.copied for tally in result.objects.values())


async def test_all_that_is_of_the_cache_is_copied_and_a_second_run_finds_it_there(two: Two) -> None:
    (two.here / "asynccache/quarantine/x").mkdir(parents=True)
    (two.here / "asynccache/quarantine/x/y").write_bytes(b"damaged")
    dry = await two.replicate(dry_run=True)
    assert copied(dry) > 100
    assert not two.there.exists()
    result = await two.replicate()
    result.raise_for_failures()
    assert await two.differ() == set()
    assert copied(result) == copied(dry)
    assert not (two.there / "asynccache/quarantine").exists()
    assert {kind: tally.copied for kind, tally in result.objects.items()} == {
        "archives": PACKAGES * 3 // 2, "receipts": PACKAGES // 2, "supplies": 2, "digests": ENVIRONMENTS, "packs": 1,
        "documents": ENVIRONMENTS, "names": 2 * ENVIRONMENTS + 1, "leases": 1,
    }  # fmt: skip
    async with Session(two.settings) as session:
        assert dict((await session.audit(read_data=1.0)).found) == {}
        assert (await session.history(str(STABLE))).moves[-1].target == await two.ids(STABLE)
    again = await two.replicate()
    assert copied(again) == 0
    assert again.tally("archives").there == PACKAGES * 3 // 2


async def test_what_is_damaged_is_told_and_neither_its_documents_nor_their_names_come(two: Two) -> None:
    ids = await two.ids(FIXED)
    document = json.loads((two.here / CatalogKeys().document(EnvID(*ids, ARCH))).read_text())
    (name,) = {p["filename"] for p in document["packages"]} & {"p00012-1-0"} or {document["packages"][0]["filename"]}
    damaged = next(path for path in archives_in(two.here) if path.name == f"{name}.tar.bz2")
    good = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(good[:-1] + b"?")
    result = await two.replicate()
    key = str(damaged.relative_to(two.here))
    kinds = {finding.key: finding.kind for finding in two.found}
    assert kinds[key] == "failed"
    assert kinds[CatalogKeys().document(EnvID(*ids, ARCH))] == "held back"
    assert kinds[str(FIXED)] == "held back"
    assert not (two.there / key).exists()
    assert not (two.there / CatalogKeys().alias(FIXED)).exists()
    assert (two.there / CatalogKeys().alias(STABLE)).exists()
    with pytest.raises(PartialFailureError, match="were not copied") as caught:
        result.raise_for_failures()
    assert isinstance(caught.value.errors[key], IntegrityError)
    damaged.write_bytes(good)
    (await two.replicate()).raise_for_failures()
    assert await two.differ() == set()


async def test_what_is_different_there_stays_and_no_name_gets_a_second_digest(two: Two) -> None:
    first, second = [path.relative_to(two.here) for path in archives_in(two.here) if path.name.endswith(".bz2")][:2]
    other = second.parents[1] / hashlib.md5(b"other").hexdigest() / second.name
    for name, data in ((first, b"another size"), (other, b"other")):
        (two.there / name).parent.mkdir(parents=True)
        (two.there / name).write_bytes(data)
    result = await two.replicate()
    assert sorted(result.different) == sorted(map(str, (first, second)))
    assert (two.there / first).read_bytes() == b"another size"
    assert not (two.there / second).exists()
    with pytest.raises(PartialFailureError):
        result.raise_for_failures()


async def test_an_alias_that_is_behind_follows_with_its_history_and_one_that_moved_on_stays(two: Two) -> None:
    await two.replicate()
    here, there = Aliases(LocalStore(two.here)), Aliases(LocalStore(two.there))
    await here.assign(STABLE, await two.ids(FIXED))
    (await two.replicate()).raise_for_failures()
    assert await there.get(STABLE) == await two.ids(FIXED)
    assert await there.history(STABLE) == await here.history(STABLE)

    other = await two.ids(Alias.parse("team/e4:v1"))
    await there.assign(STABLE, other)
    result = await two.replicate()
    result.raise_for_failures()
    assert result.moved_on == [str(STABLE)]
    assert await there.get(STABLE) == other
    await here.assign(STABLE, await two.ids(Alias.parse("team/e5:v1")))  # both histories are as long, and differ
    assert (await two.replicate()).moved_on == [str(STABLE)]

    assert (await two.replicate(move_aliases=True)).moved_on == []
    assert await there.get(STABLE) == await here.get(STABLE)
    moves = await there.history(STABLE)
    assert moves[-2].target == other  # nothing of what happened there is lost

    path = two.there / CatalogKeys().alias(FIXED)
    path.unlink()
    path.write_text(json.dumps(list(other)))
    assert (await two.replicate(move_aliases=True)).different == [str(FIXED)]
    assert await there.get(FIXED) == other


async def test_a_name_that_moves_while_it_is_copied_follows_with_the_next_run(two: Two) -> None:
    await two.replicate()
    here, there = Aliases(LocalStore(two.here)), Aliases(LocalStore(two.there))
    looked_up, later, last = [await two.ids(Alias.parse(f"team/e{number}:v1")) for number in (4, 5, 6)]
    await here.assign(STABLE, looked_up)
    await here.assign(STABLE, later)
    assert await there.follow(here, STABLE, looked_up) == "moved"
    assert (await there.get(STABLE), (await there.history(STABLE))[-1].target) == (looked_up, looked_up)
    assert await there.follow(here, STABLE, later) == "moved"
    assert await there.history(STABLE) == await here.history(STABLE)

    (two.here / CatalogKeys().alias(STABLE)).chmod(0o644)
    (two.here / CatalogKeys().alias(STABLE)).write_text(json.dumps(looked_up))  # moved, and not entered yet
    assert await there.follow(here, STABLE, looked_up) == "moved"
    await here.assign(STABLE, last)
    assert await there.follow(here, STABLE, last) == "moved"
    assert await there.history(STABLE) == await here.history(STABLE)


async def test_only_what_is_named_or_what_aliases_stand_for_is_copied(two: Two) -> None:
    one = await two.replicate(environments=[str(STABLE)])
    one.raise_for_failures()
    counts = {kind: tally.copied for kind, tally in one.objects.items()}
    assert counts == {
        "archives": EACH * 3 // 2, "receipts": EACH // 2, "supplies": 2, "digests": 1, "packs": 1, "documents": 1,
        "names": 2,
    }  # fmt: skip
    async with Session(two.settings) as session:
        assert dict((await session.audit()).found) == {}

    unnamed = await two.ids(FIXED)
    (two.here / CatalogKeys().alias(FIXED)).unlink()
    (await two.replicate(aliases=True)).raise_for_failures()
    assert {key for key in await two.differ() if "/env" in key[4:]} == {
        key for key in await contents(LocalStore(two.here)) if f"/{unnamed[1]}/env" in key
    }
    (await two.replicate(environments=[":".join(unnamed)])).raise_for_failures()
    (await two.replicate()).raise_for_failures()
    assert await two.differ() == set()


def lease_of(store: LocalStore, ids: Ids, deployer: str = "argo-workflows") -> Lease:
    return Lease.new(store, deployer, "flow", [EnvID(*ids, ARCH)], flow="Flow", objects=["asynccache/bundles/x"])


async def test_what_keeps_environments_from_being_collected_is_copied(two: Two) -> None:
    here, there = LocalStore(two.here), LocalStore(two.there)
    ids, other = await two.ids(FIXED), await two.ids(STABLE)
    leases = [lease_of(here, ids), lease_of(here, other, "airflow")]
    for lease in leases:
        await here.put(lease.key, lease.to_json())
    await note_use(here, ids, ARCH)
    await note_use(here, other, f"{ARCH}{PUBLISHING}", ["packages/conda/x"])  # ends with who publishes

    dry = await two.replicate(environments=[str(FIXED)], dry_run=True)
    some = await two.replicate(environments=[str(FIXED)])
    for result in (dry, some):
        assert (result.tally("leases").copied, result.tally("uses").copied) == (1, 1)
    assert [lease async for lease in read_leases(there)] == [leases[0]]
    result = await two.replicate()
    assert (result.tally("leases").copied, result.tally("uses").copied) == (2, 0)  # one was there before
    for prefix in (LEASES, use_key(*ids, ARCH)):
        assert [(i.key, i.size) async for i in there.scan(prefix)] == [(i.key, i.size) async for i in here.scan(prefix)]
    assert [info.key async for info in there.scan(USES)] == [use_key(*ids, ARCH)]

    ahead = time.time() + 60
    os.utime(two.here / use_key(*ids, ARCH), (ahead, ahead))  # it was launched again
    again = await two.replicate()
    assert (again.tally("leases").there, again.tally("uses").copied) == (3, 1)


async def test_what_was_deployed_survives_a_collection_of_the_copy(two: Two) -> None:
    here, there = LocalStore(two.here), LocalStore(two.there)
    ids, other = await two.ids(FIXED), await two.ids(Alias.parse("team/e4:v1"))
    lease = lease_of(here, ids)
    await here.put(lease.key, lease.to_json())
    (await two.replicate()).raise_for_failures()
    for root in (two.here, two.there):  # as if all of it were old, and nothing had a name
        shutil.rmtree(root / CatalogKeys().alias_prefix)
        for path in root.rglob("*"):
            os.utime(path, (1e9, 1e9))
    rules, going = Rules(keep_days=30, unreferenced=True), list[set[str]]()
    for store in (here, there):
        found: list[Garbage] = []
        await Collector(store, rules, CatalogKeys(), "packages").look(found.append)
        going.append({garbage.key for garbage in found if garbage.kind not in {"writers", "shards"}})
    assert going[0] == going[1]
    assert CatalogKeys().document(EnvID(*other, ARCH)) in going[1]
    assert CatalogKeys().document(EnvID(*ids, ARCH)) not in going[1]


async def test_a_lease_that_cannot_be_read_is_told(two: Two) -> None:
    (two.here / LEASES / "argo-workflows/flow").mkdir(parents=True)
    (two.here / LEASES / "argo-workflows/flow/1.json").write_text("{}")
    assert list((await two.replicate()).failures) == [f"{LEASES}argo-workflows/flow/1.json"]


async def test_shards_copy_each_its_packages_and_the_last_one_brings_the_rest(two: Two) -> None:
    first = await two.replicate(shard=(1, 2), run_id="r")
    assert first.unfinished == (2,)
    assert 0 < first.tally("archives").copied < PACKAGES * 3 // 2
    assert not (two.there / "envs").exists()
    assert (await two.replicate(shard=(1, 2), run_id="r")).unfinished == (2,)
    second = await two.replicate(shard=(2, 2), run_id="r")
    second.raise_for_failures()
    assert second.unfinished == ()
    assert first.tally("archives").copied + second.tally("archives").copied == PACKAGES * 3 // 2
    assert await two.differ() == set()
    async with Session(two.settings) as session:
        run = await session.replicate_run(str(two.here), 2, run_id="r")
    assert (run.packages, run.counts.made, run.complete) == (PACKAGES, PACKAGES, True)


async def test_a_shard_that_failed_does_not_keep_the_others_environments_back(two: Two) -> None:
    damaged = archives_in(two.here)[0]
    damaged.chmod(0o644)
    damaged.write_bytes(b"?" * damaged.stat().st_size)
    for index in (1, 2):
        result = await two.replicate(shard=(index, 2), run_id="r")
    assert result.unfinished == ()
    assert str(damaged.relative_to(two.here)) in result.failures
    assert (two.there / CatalogKeys().alias(Alias.parse("team/e9:v1"))).exists()


async def test_a_store_is_not_copied_into_itself(two: Two) -> None:
    two.settings = Settings(store=str(two.here), cache_dir=two.settings.cache_dir)
    with pytest.raises(UsageError, match="into itself"):
        await two.replicate()
