"""Workers that know nothing of each other agree on who does what."""

import asyncio
from itertools import chain

import pytest

from asynccache.errors import IntegrityError
from asynccache.model.shard import Shard
from asynccache.ops.shards import Division, make_plan, range_of
from asynccache.runtime.clock import VirtualClock
from asynccache.store.memory import MemoryStore
from tests.store.test_inventory import filled

PATHS = [f"h/ch/noarch/p-{number:02}-1-0.conda" for number in range(40)]
FOUR = Division("backfill", (".conda", None, "run"), "packages/conda/", 4)


async def test_workers_that_start_at_once_take_one_plan_and_leave_nothing_out() -> None:
    async with MemoryStore() as store:
        await filled(store, PATHS)
        shards = [Shard(index, 4) for index in (4, 2, 3, 1)]
        ranges = await asyncio.gather(*(range_of(store, FOUR, shard, VirtualClock()) for shard in shards))
        plans = [info.key async for info in store.scan("asynccache/shards/")]
        assert sorted(plans) == sorted([FOUR.plan_key, f"{FOUR.base}/planner.json"])
        listed = [[info.key async for info in each.scan(store, "packages/conda/")] for each in ranges]
        assert sorted(chain.from_iterable(listed)) == [info.key async for info in store.scan("packages/")]
        assert all(listed)


async def test_a_plan_that_is_there_stays_and_another_run_makes_its_own() -> None:
    async with MemoryStore() as store:
        await filled(store, PATHS[:20])
        first = await make_plan(store, FOUR)
        await filled(store, PATHS[20:])
        assert (await make_plan(store, FOUR, exactly=True)).places == first.places
        other = await make_plan(store, Division("backfill", (".conda", None, "later"), "packages/conda/", 4))
        assert other.places != first.places


async def test_what_cannot_be_divided_so_often_leaves_shards_with_nothing_and_no_requests() -> None:
    division = Division("backfill", (".conda", None, None), "packages/conda/", 8)
    async with MemoryStore() as store:
        await filled(store, PATHS[:2])
        last = await range_of(store, division, Shard(8, 8), VirtualClock())
        before = store.requests
        assert [info async for info in last.scan(store, "packages/conda/")] == []
        assert store.requests == before


async def test_a_dry_run_writes_no_plan() -> None:
    async with MemoryStore() as store:
        await filled(store, PATHS)
        await range_of(store, FOUR, Shard(2, 4), VirtualClock(), write=False)
        assert [info async for info in store.scan("asynccache/")] == []


async def test_what_is_no_plan_is_named() -> None:
    async with MemoryStore() as store:
        await store.put(FOUR.plan_key, b'{"version": 1, "count": 3, "places": []}')
        with pytest.raises(IntegrityError, match="is no plan of 4 shards; remove it"):
            await range_of(store, FOUR, Shard(1, 4), VirtualClock())
