"""An event loop of its own in a thread, for Metaflow's synchronous hooks: notebooks may run a loop already."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from asynccache.api import Session
    from asynccache.config import Settings

T = TypeVar("T")
_END_SECONDS = 60.0  # at the end of a run, where nothing is left to be done
_GRACE_SECONDS = 1.0  # for what was interrupted
_LISTEN_SECONDS = 0.25  # an interrupt that comes just before a wait for a lock does not end it, and is heard after it


class LoopThread:
    """The loop; its thread starts at the first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._starting = threading.Lock()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; when the caller is interrupted, all that runs here ends."""
        running: Future[T] | None = None
        try:
            running = self.start(work)  # interrupted in here, it may run already
            while not running.done():
                wait([running], _LISTEN_SECONDS)
            return running.result()
        except BaseException as exc:
            if running is not None:
                running.cancel()
            if isinstance(exc, KeyboardInterrupt):
                self.close(interrupted=True)
            raise

    def verb(self, settings: Settings, work: Callable[[Session], Coroutine[Any, Any, T]], **options: Any) -> T:
        """Run what uses a session, which is its own, and wait for it.

        Args:
            settings: All settings.
            work: Called with the session.
            options: Of the session.
        """

        async def opened() -> T:
            from asynccache.api import Session  # noqa: PLC0415 - where flows are launched

            async with Session(settings, **options) as session:
                return await work(session)

        return self.call(opened())

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine without waiting."""
        with self._starting:
            if self._loop is None:
                atexit.register(self.close)
                runner = asyncio.Runner(loop_factory=_loop_factory())
                self._loop = runner.get_loop()
                self._thread = threading.Thread(target=_run, args=(runner,), name="asynccache", daemon=True)
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self, *, interrupted: bool = False) -> None:
        """Cancel what runs and end the thread.

        Args:
            interrupted: The caller does not wait for work that cannot be stopped: this process ends without it, as if
                it were killed. What it leaves is half made, is never taken for whole, and is removed by the next.
        """
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        if self._thread.ident is None:  # interrupted before it began
            return
        self._thread.join(_GRACE_SECONDS if interrupted else _END_SECONDS)
        if interrupted and self._thread.is_alive():
            _end_without_threads()


def _end_without_threads() -> None:
    """Let this process, once its main thread has ended, end without those that write files and cannot be stopped."""
    # without it they are waited for, before anything that `atexit` knows
    register = getattr(threading, "_register_atexit", None)
    if register is not None:
        with suppress(RuntimeError):  # it is ending already
            register(_end)


def _end() -> None:
    with suppress(Exception):
        atexit._run_exitfuncs()  # noqa: SLF001 - what was promised to be done at the end, such as temporary directories
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(1)


def _run(runner: asyncio.Runner) -> None:
    with runner:
        runner.get_loop().run_forever()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
