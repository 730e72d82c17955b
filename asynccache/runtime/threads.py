"""Work that must not run on the event loop: threads that are waited for, even if the waiter is cancelled.

A thread cannot be killed. A cancelled coroutine therefore asks the work to stop, waits until it has (so that the files
it writes can be removed), and only then passes the cancellation on.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, Self, TypeVar

from asynccache.runtime.late_loop import in_thread, loop_begins, run_blocking, without_loop

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

P = ParamSpec("P")
T = TypeVar("T")


def _nothing() -> None:
    """Leave nothing behind."""


class StoppedError(Exception):
    """A blocking copy was asked to stop; never leaves its room, since its caller was cancelled."""


class Progress:
    """What a blocking copy reports to, and how it learns that it was cancelled.

    Args:
        moved: Called on the event loop with the bytes just transferred.
    """

    def __init__(self, moved: Callable[[int], None] | None) -> None:
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


class ThreadRoom:
    """Threads for blocking calls, started on first use.

    Args:
        threads: Number of threads.
        name: Their name, visible in the process.
    """

    def __init__(self, threads: int, name: str = "asynccache-files") -> None:
        self._threads = threads
        self._name = name
        self._pool: ThreadPoolExecutor | None = None

    def close(self) -> None:
        """Wait for running calls, drop pending ones, and end the threads."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a short operation; a cancelled caller waits until it is over."""
        if without_loop():
            return await in_thread(function, *args, **kwargs)
        return await self._finish(partial(function, *args, **kwargs), _nothing)

    async def certainly(self, function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a short operation that cleans up, even if its caller is cancelled before it has begun.

        It may run twice.
        """
        try:
            await self.run(function, *args, **kwargs)
        except asyncio.CancelledError:
            await self.run(function, *args, **kwargs)
            raise

    async def run_stoppable(self, function: Callable[[Callable[[], bool]], T]) -> T:
        """Run a long operation.

        Args:
            function: Called with a function that returns whether to stop; it checks this at every block.
        """
        if without_loop():
            return run_blocking(function)
        stop = threading.Event()
        return await self._finish(partial(function, stop.is_set), stop.set)

    async def run_reporting(self, function: Callable[[Progress], T], moved: Callable[[int], None] | None = None) -> T:
        """Run a copy that reports its progress to `moved`; the first report after a cancellation ends it."""
        await loop_begins()
        progress = Progress(moved)
        return await self._finish(partial(function, progress), progress.stop)

    async def _finish(self, function: Callable[[], T], stop: Callable[[], None]) -> T:
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - imports logging

            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix=self._name)
        running = self._pool.submit(function)
        # never cancelled itself: that would make it look done while the thread still runs
        done = asyncio.wrap_future(running)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            stop()
            if not running.cancel():  # it has begun
                while not done.done():
                    try:
                        await asyncio.wait([done])
                    except asyncio.CancelledError:
                        continue
                done.exception()  # seen: the cancellation is what the caller hears of
            raise


class Threads(ThreadRoom):
    """Threads for short file operations, and others for bz2, zstd and hashing of whole archives.

    Args:
        work: Threads of the latter: the CPU slots.
        files: Threads of the former.
        closing: Called when all work has ended, to end what it left running.
    """

    def __init__(self, work: int, files: int = 4, closing: Callable[[], None] = _nothing) -> None:
        super().__init__(files)
        self._work = ThreadRoom(work, "asynccache-work")
        self._closing = closing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._work.close()
        self._closing()
        self.close()

    async def work(self, function: Callable[[Callable[[], bool]], T]) -> T:
        """Run CPU work (see `run_stoppable`)."""
        return await self._work.run_stoppable(function)
