"""Reading a pack out of a store, in threads beside the loop."""

from __future__ import annotations

import asyncio

import pytest

from asynccache.hydrate.unpack import StoreRanges
from asynccache.runtime.threads import Progress, Threads
from asynccache.store.memory import MemoryStore


class SilentStore(MemoryStore):
    """Never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError(key, start, length)


async def test_who_is_cancelled_waits_for_no_store_that_is_silent() -> None:
    with Threads(1) as threads:
        store = SilentStore()
        ranges = StoreRanges(store, "pack", 1000, timeout=3600)

        def read(progress: Progress) -> None:
            ranges.arrived = progress.advance
            ranges.read(0, 1000)

        reading = asyncio.create_task(threads.run_reporting(read))
        await store.asked.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


MIB = 1 << 20


class CountingStore(MemoryStore):
    """Notes how much it was asked for at once."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        data = await super().get(key, start=start, length=length)
        self.lengths.append(len(data))
        return data


@pytest.mark.parametrize(
    ("size", "length", "requests"),
    [
        (40 * MIB, 10 * MIB, 2),
        (40 * MIB, 11 * MIB, 2),  # a run of frames that ends a little later than a quarter of the pack
        (40 * MIB, 13 * MIB, 3),
        (40 * MIB, 1, 1),
        (200 * MIB, 40 * MIB, 2),
        (200 * MIB, 41 * MIB, 3),  # no request is for more than 20 MiB
    ],
)
async def test_a_range_is_read_in_few_requests_of_a_bounded_size(size: int, length: int, requests: int) -> None:
    store = CountingStore()
    await store.put("pack", bytes(length))
    ranges = StoreRanges(store, "pack", size, timeout=60)
    with Threads(1) as threads:
        data = await threads.run(ranges.read, 0, length)
    assert data == bytes(length)
    assert (len(store.lengths), ranges.requests) == (requests, requests)
    assert max(store.lengths) <= 20 * MIB


@pytest.mark.parametrize(
    ("size", "wanted"), [(1000, 1000), (MIB, 256 << 10), (100 * MIB, 100 * MIB // 128), (200 * MIB, MIB)]
)
async def test_the_first_request_reads_as_much_as_the_index_of_such_a_pack_takes(size: int, wanted: int) -> None:
    store = CountingStore()
    await store.put("pack", bytes(size))
    ranges = StoreRanges(store, "pack", size, timeout=60)
    with Threads(1) as threads:
        data, found = await threads.run(ranges.tail, 256 << 10)
    assert (len(data), found, store.lengths) == (wanted, size, [wanted])
