"""An event loop of its own in a thread, for Metaflow's synchronous hooks: notebooks may run a loop already."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from asynccache.api import Session
    from asynccache.config import Settings

T = TypeVar("T")
_END_SECONDS = 60.0


class LoopThread:
    """The loop; its thread starts at the first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread()
        self._starting = threading.Lock()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; it is cancelled when the caller is interrupted."""
        running = self.start(work)
        try:
            return running.result()
        except BaseException:
            running.cancel()
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

    def close(self) -> None:
        """Cancel what runs and end the thread."""
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join(_END_SECONDS)


def _run(runner: asyncio.Runner) -> None:
    with runner:
        runner.get_loop().run_forever()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop
