"""Blocking file operations in a store's own threads, waited for also when the waiter is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from asynccache.store.base import BytesMoved

P = ParamSpec("P")
T = TypeVar("T")


class StoppedError(Exception):
    """A blocking operation was told to stop; never leaves the store, since its caller was cancelled."""


class Progress:
    """What a blocking copy reports to, and how it learns that nobody wants its result any more.

    Args:
        moved: Called on the event loop with the bytes that just moved.
    """

    def __init__(self, moved: BytesMoved | None) -> None:
        self._moved = moved
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask the copy to end at its next block."""
        self._stop.set()

    def advance(self, count: int) -> None:
        """Report `count` bytes; called in the thread.

        Raises:
            StoppedError: The caller was cancelled.
        """
        if self._stop.is_set():
            raise StoppedError
        if self._moved is not None and count:
            self._loop.call_soon_threadsafe(self._moved, count)


class FileThreads:
    """A small pool for file operations; started on first use.

    Args:
        threads: How many.
    """

    def __init__(self, threads: int = 8) -> None:
        self._threads = threads
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Wait for what runs and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short operation; a cancelled caller waits until it is over."""
        return await self._finish(lambda: function(*args, **kwargs), None)

    async def run_long(self, function: Callable[[Progress], T], moved: BytesMoved | None) -> T:
        """Run a copy that reports progress; a cancelled caller tells it to stop and waits until it has."""
        progress = Progress(moved)
        return await self._finish(lambda: function(progress), progress)

    async def _finish(self, function: Callable[[], T], progress: Progress | None) -> T:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="asynccache-store")
        submitted = self._pool.submit(function)
        future = asyncio.wrap_future(submitted)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if progress is not None:
                progress.stop()
            # not future.cancel(), which would count as done while the thread still runs
            if not submitted.cancel():
                while not future.done():
                    try:
                        await asyncio.wait([future])
                    except asyncio.CancelledError:
                        continue
                future.exception()  # seen: the cancellation is what the caller hears of
            raise
