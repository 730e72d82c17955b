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
