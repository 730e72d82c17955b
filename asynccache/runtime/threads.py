"""Work that must not run on the event loop: threads that are waited for, also when the waiter is cancelled.

A thread cannot be killed. A cancelled coroutine therefore tells the work to stop, waits until it has (so that the files
it writes can be removed), and only then passes the cancellation on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def _nothing() -> None:
    """Leave nothing behind."""


class Threads:
    """Two pools: `work` for bz2, zstd and hashing of whole archives, `files` for short file operations.

    Args:
        work: Threads of the first pool: the CPU slots.
        files: Threads of the second one.
        closing: Called when nothing works any more, to end what the work left running.
    """

    def __init__(self, work: int, files: int = 4, closing: Callable[[], None] = _nothing) -> None:
        self._closing = closing
        self._work = ThreadPoolExecutor(work, thread_name_prefix="asynccache-work")
        self._files = ThreadPoolExecutor(files, thread_name_prefix="asynccache-files")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._work.shutdown(wait=True, cancel_futures=True)
        self._closing()
        self._files.shutdown(wait=True, cancel_futures=True)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short file operation; a cancelled caller waits until it is over."""
        return await self._finish(self._files, partial(function, *args, **kwargs), None)

    async def certainly(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a short file operation that cleans up, also when its caller is cancelled before it has begun.

        It may run twice.
        """
        try:
            await self.run(function, *args, **kwargs)
        except asyncio.CancelledError:
            await self.run(function, *args, **kwargs)
            raise

    async def work(self, function: Callable[[Callable[[], bool]], T]) -> T:
        """Run CPU work.

        Args:
            function: Called with a function that tells whether to stop; it checks that at every block.
        """
        stop = threading.Event()
        return await self._finish(self._work, partial(function, stop.is_set), stop)

    async def _finish(self, pool: ThreadPoolExecutor, function: Callable[[], T], stop: threading.Event | None) -> T:
        running = pool.submit(function)
        # never cancelled itself: that would make it look done while the thread still runs
        done = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if stop is not None:
                stop.set()
            if not running.cancel():  # it has begun
                while not done.done():
                    try:
                        await asyncio.wait([done])
                    except asyncio.CancelledError:
                        continue
                done.exception()  # seen: the cancellation is what the caller hears of
            raise
