"""What collecting marks and sweeps, kind by kind, and what it refuses to do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.catalog.collection import PUBLISHING, note_use, used_directories
from asynccache.catalog.collection_state import (
    GC,
    STATE_KEY,
    Claim,
    CollectionState,
    Lists,
    MarkRules,
    read_state,
)
from asynccache.catalog.leases import Lease, read_leases, remove_leases
from asynccache.errors import IntegrityError, LockTimeoutError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.shard import Shard
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.ops import collect_sweep
from asynccache.ops.collect import Collected, Collector
from asynccache.ops.collect_rules import DAY, Garbage, Rules
from asynccache.ops.leasing import write_lease
from asynccache.store import journal, layout
from asynccache.store.base import ObjectInfo
from tests.support.collecting import RULES, World, all_at_once, archives, directory, environment, ids

HOUR = 3600.0
PLAIN = replace(RULES, unreferenced=False)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.new(tmp_path)


async def looked(world: World, rules: Rules = RULES) -> tuple[Collected, set[tuple[str, str]]]:
    found: list[Garbage] = []
    result = await Collector(world.store, rules, world.keys, "packages").look(found.append)
    return result, {(each.kind, each.key) for each in found}


async def collected(world: World, rules: Rules = RULES) -> tuple[Collected, set[str]]:
    """Mark, wait, sweep; return what the sweep did, and what is gone."""
    before = set(world.there)
    await Collector(world.store, rules, world.keys, "packages").run()
    world.store.time += 2 * HOUR
    done = await Collector(world.store, rules, world.keys, "packages").run()
    done.raise_for_failures()
    assert not world.wrong
    gone = before - set(world.there)
    return done, {key for key in gone if not key.startswith(GC)}


async def test_an_environment_without_a_root_goes_whole_and_what_it_shares_stays(world: World) -> None:
    await world.publish(0)  # packages 0, 1, 3
    await world.store.put(world.document(0).removesuffix("env") + OBJECT_NAME, b"pack")
    await world.publish(3)  # packages 3, 4, 6
    await world.name(3, "team/a:v1")
    world.store.time += 31 * DAY
    bytes_before = sum(info.size for info in world.there.values())
    planned, found = await looked(world)
    assert {kind for kind, _key in found} == {"environment", "package", "receipt"}
    assert ("environment", world.document(0)) in found
    assert world.there.keys() == {*world.there}, "looking writes nothing"
    done, gone = await collected(world)
    alias = world.keys.alias(Alias("full-id", ids(0)[1]))
    beside = {f"{world.document(0)}.sha256-{'1' * 64}", world.document(0).removesuffix("env") + OBJECT_NAME}
    receipts = {layout.receipt_key(archives(0)[1])}
    assert gone == {alias, world.document(0), *beside, *archives(0), *archives(1), *receipts}
    assert done.swept.as_document() == planned.marked.as_document()
    left = sum(i.size for k, i in world.there.items() if not k.startswith((GC, journal.PREFIX, "asynccache/alias-log")))
    assert bytes_before - left >= done.swept.bytes > 0
    deeds = [deed async for deed in journal.entries(world.store)]
    assert {key for deed in deeds for key in deed.keys} >= {world.document(0), *archives(0)}


async def test_a_pack_of_a_root_stays_although_its_document_is_gone(world: World) -> None:
    """A bare node makes the environment of it alone."""
    packs = [world.document(number).removesuffix("env") + OBJECT_NAME for number in (0, 2, 4)]
    for key in packs:
        await world.store.put(key, b"pack")
    await write_lease(world.store, world.keys, Lease.new(world.store, "airflow", "f", [environment(0).id]))
    world.store.time += 100 * DAY
    assert (await looked(world))[1] == {("beside", packs[1]), ("beside", packs[2])}
    await Collector(world.store, RULES, world.keys, "packages").run()
    lease = Lease.new(world.store, "airflow", "g", [environment(2).id])
    await world.store.put(lease.key, lease.to_json())
    world.store.time += 2 * HOUR
    await Collector(world.store, RULES, world.keys, "packages").run()
    assert {*packs} & {*world.there} == {*packs[:2]}


async def test_without_unreferenced_no_environment_goes(world: World) -> None:
    await world.publish(0)
    world.store.time += 400 * DAY
    assert (await looked(world, PLAIN))[1] == set()


async def test_what_has_no_record_of_ours_stays_unless_it_is_asked_for_by_name(world: World) -> None:
    await world.publish_as_others(1)  # packages 1, 2, 4
    await world.store.put(archives(5)[0], b"somebody's")
    for key in archives(6):
        await world.store.put(key, b"x")
    await world.store.put(layout.receipt_key(archives(6)[1]), b"{}")
    world.store.time += 400 * DAY
    assert (await looked(world))[1] == {("package", archives(6)[1]), ("receipt", layout.receipt_key(archives(6)[1]))}
    everything = (await looked(world, replace(RULES, also="*")))[1]
    assert {("environment", world.document(1)), ("package", archives(5)[0]), ("package", archives(1)[0])} <= everything
    named = (await looked(world, replace(RULES, also=f"{directory(5)}/*")))[1]
    assert ("package", archives(5)[0]) in named
    assert ("environment", world.document(1)) not in named


async def test_launching_or_copying_what_others_published_does_not_make_it_ours(world: World) -> None:
    await Collector(world.store, RULES, world.keys, "packages").run()  # from now on whoever publishes writes a use
    await world.publish_as_others(1)
    for arch in (environment(1).id.arch, f"{environment(1).id.arch}{PUBLISHING}", "any"):
        await note_use(world.store, ids(1), arch, [directory(1)])
    world.store.time += 400 * DAY
    assert not {key for kind, key in (await looked(world))[1] if kind in {"environment", "beside"}}
    assert not {key for key in (await collected(world))[1] if key in {*archives(1), world.document(1)}}


async def test_what_was_removed_by_a_request_without_an_answer_or_by_one_who_was_killed_counts_as_swept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.publish(0)
    await world.publish(3)
    await world.name(3, "team/a:v1")
    world.store.time += 31 * DAY
    planned, _found = await looked(world)
    await Collector(world.store, RULES, world.keys, "packages").run()
    removed = world.store._delete_same

    async def unanswered(key: str, known: ObjectInfo | None) -> bool:
        await removed(key, known)
        return known is None

    monkeypatch.setattr(world.store, "_delete_same", unanswered)
    world.store.time += 2 * HOUR
    done = await Collector(world.store, RULES, world.keys, "packages").run()
    assert done.swept.as_document() == planned.marked.as_document()
    assert done.kept == 0
    assert not {*archives(0), world.document(0)} & {*world.there}


async def test_our_other_objects_go_by_their_rules(world: World) -> None:
    old = {
        "asynccache/quarantine/20260101T000000.000000Z/packages/x": "quarantine",
        "asynccache/shards/backfill-1/4.json": "shards",
        "asynccache/shards/backfill-1/4/1.json": "shards",
        "asynccache/shards/backfill-2/4.json": "",
        "asynccache/writers/1/0.1/2026-01-01.json": "writers",
        f"{world.document(2)}.sha256-{'2' * 64}": "beside",
        layout.receipt_key(archives(2)[1]): "receipt",
        "asynccache/bundles/old.tar.gz": "bundle",
        "asynccache/bundles/listed.tar.gz": "",
        "asynccache/bundles/leased.tar.gz": "",
        "asynccache/log/entry.json": "",
        "asynccache/format-floor": "",
    }
    for key in old:
        await world.store.put(key, b"{}")
    await world.store.put("asynccache/bundles/linux-64.json", b'{"key": "asynccache/bundles/listed.tar.gz"}')
    lease = Lease.new(world.store, "airflow", "f", [environment(0).id], objects=["asynccache/bundles/leased.tar.gz"])
    await write_lease(world.store, world.keys, lease)
    await note_use(world.store, ids(4))
    world.store.time += 100 * DAY
    await world.store.put("asynccache/shards/backfill-2/4/1.json", b"{}")
    expected = {(kind, key) for key, kind in old.items() if kind}
    expected.add(("uses", f"asynccache/uses/{'/'.join(ids(4))}/any.json"))
    assert (await looked(world))[1] == expected
    _done, gone = await collected(world)
    assert gone == {key for _kind, key in expected}


async def test_what_is_marked_waits_for_the_grace_period_and_is_told_when(world: World) -> None:
    await world.publish(0)
    world.store.time += 31 * DAY
    first = await Collector(world.store, RULES, world.keys, "packages").run()
    assert first.due_at is not None
    assert first.due_at.timestamp() - world.store.time == pytest.approx(HOUR, abs=60)
    again = await Collector(world.store, RULES, world.keys, "packages").run()
    assert (again.swept.objects, again.marked.objects) == (0, 0)
    assert world.document(0) in world.there


async def test_other_rules_mark_anew(world: World) -> None:
    await world.publish(0)
    world.store.time += 31 * DAY
    await Collector(world.store, RULES, world.keys, "packages").run()
    world.store.time += 2 * HOUR
    await Collector(world.store, PLAIN, world.keys, "packages").run()
    world.store.time += 2 * HOUR
    done = await Collector(world.store, replace(PLAIN, keep_days=40), world.keys, "packages").run()
    assert world.document(0) not in world.there, "it was due when the rules changed"
    assert done.due_at is None


async def test_nothing_is_collected_while_a_document_a_name_or_a_lease_cannot_be_read(world: World) -> None:
    await world.publish(0)
    world.store.time += 31 * DAY
    lease = "asynccache/leases/argo-workflows/f/1.json"
    for key in (world.document(2), world.keys.alias(Alias.parse("team/x:v1")), lease):
        await world.store.put(key, b'{"damaged": true}')
        with pytest.raises(IntegrityError, match="cannot be read, so nobody knows what it"):
            await Collector(world.store, RULES, world.keys, "packages").run()
        await world.store.delete(key)
    assert world.document(0) in world.there


async def test_a_second_one_waits_until_the_claim_of_the_first_ends(world: World) -> None:
    moment = world.store.time - DAY
    claims = (Claim(0, world.store.time + 100),)
    state = CollectionState("m", moment, moment, (Lists("a", 1),), rules=MarkRules(30.0), claims=claims)
    await world.store.put(STATE_KEY, state.to_json())
    with pytest.raises(LockTimeoutError, match="somebody else collects"):
        await Collector(world.store, RULES, world.keys, "packages").run()


async def test_shards_sweep_what_one_collection_of_the_whole_would_and_nothing_before_all_parts_are_marked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collect_sweep, "LIST", 2)
    monkeypatch.setattr(collect_sweep, "ENVIRONMENTS", 1)
    for number in range(4):  # all packages but one
        await world.publish(number)
    await world.name(3, "team/a:v1")
    await world.store.put("asynccache/quarantine/20260101T000000.000000Z/packages/x", b"x")
    world.store.time += 400 * DAY
    planned, found = await looked(world)

    async def run(index: int) -> Collected:
        done = await world.collect(shard=Shard(index, 3))
        assert done is not None
        return done

    first = [await run(3), await run(1)]
    assert [done.unfinished for done in first] == [(1, 2), (2,)]
    world.store.time += 2 * HOUR
    assert (await run(1)).swept.objects == 0, "a part is not marked: nobody knows all that goes"
    last = await run(2)
    assert (last.unfinished, last.due_at is not None) == ((), True)
    marked = [*first, last]
    assert sum(done.marked.objects for done in marked) == planned.marked.objects
    assert sum(done.marked.bytes for done in marked) == planned.marked.bytes
    assert sum(done.archives for done in marked) == planned.archives
    assert min(done.archives for done in marked) > 0
    before = {*world.there}
    world.store.time += 2 * HOUR
    swept: list[Collected] = []

    async def sweep(index: int) -> None:
        swept.append(await run(index))

    await all_at_once(world, [sweep(3), sweep(2), sweep(1)])
    assert sum(done.swept.objects for done in swept) == planned.marked.objects
    assert min(done.swept.objects for done in swept) > 0
    assert {key for _kind, key in found} <= before - {*world.there}
    assert not world.wrong
    assert swept[-1].unfinished == ()


async def test_packages_wait_for_the_shard_that_sweeps_environments(world: World) -> None:
    await world.publish(0)
    world.store.time += 31 * DAY
    for index in (1, 2):
        await world.collect(shard=Shard(index, 2))
    world.store.time += 2 * HOUR
    before = {key for key in world.there if key.startswith("packages/")}
    with pytest.raises(LockTimeoutError, match="the first shard does not sweep the environments"):
        await Collector(world.store, RULES, world.keys, "packages").run(Shard(2, 2))
    assert {key for key in world.there if key.startswith("packages/")} == before
    done = await world.collect(shard=Shard(1, 2))
    assert done is not None
    assert world.document(0) not in world.there
    await world.collect(shard=Shard(2, 2))
    assert not {key for key in world.there if key.startswith("packages/")}


async def test_a_shard_that_was_killed_goes_on_with_what_it_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_sweep, "LIST", 1)
    await world.publish(0)
    world.store.time += 31 * DAY
    planned, _found = await looked(world)
    for index in (1, 2):
        await world.collect(shard=Shard(index, 2))
    world.store.time += 2 * HOUR
    assert await world.collect(kill_at=3, shard=Shard(1, 2)) is None
    with pytest.raises(LockTimeoutError, match="somebody else collects"):  # by the one that was killed, for ten minutes
        await Collector(world.store, RULES, world.keys, "packages").run(Shard(1, 2))
    world.store.time += 700
    done = [await world.collect(shard=Shard(index, 2)) for index in (1, 2)]
    assert all(each is not None for each in done)
    assert (await read_state(world.store)).state.waiting is False
    assert not [key for key in world.there if key.startswith(("packages/", "envs/"))]
    assert planned.marked.objects > 0


async def test_leases_are_listed_and_removed_by_name_or_pattern(world: World) -> None:
    for name in ("one", "two", "three"):
        await write_lease(world.store, world.keys, Lease.new(world.store, "airflow", name, [environment(0).id]))
    there = [lease.name async for lease in read_leases(world.store)]
    assert [name.split("/")[1] for name in there] == ["one", "three", "two"]
    assert await remove_leases(world.store, there[0]) == [there[0]]
    assert await remove_leases(world.store, "airflow/t*") == there[1:]
    assert await remove_leases(world.store, "airflow/t*") == []


async def test_who_publishes_in_a_store_that_is_collected_leaves_the_addresses_that_are_needed(world: World) -> None:
    await world.publish(0)
    assert not [key for key in world.there if key.startswith("asynccache/uses/")]
    await Collector(world.store, RULES, world.keys, "packages").run()
    await world.publish(2)
    (use,) = [key for key in world.there if key.startswith("asynccache/uses/")]
    assert await used_directories(world.store, use) == sorted(map(directory, (2, 3, 5)))
    assert (await read_state(world.store)).state.lists == 0


@pytest.mark.parametrize("wrong", [{"unreferenced": True, "keep_days": 29}, {"grace_hours": 0.5}, {"keep_days": 0}])
def test_rules_that_would_break_somebody_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Rules(**wrong)  # type: ignore[arg-type]
