"""An event loop of its own in a thread, for Metaflow's synchronous hooks: notebooks may run a loop already."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
_START_SECONDS = 30.0
_END_SECONDS = 60.0


class LoopThread:
    """The loop; its thread starts at the first use."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and wait for it; it is cancelled when the caller is interrupted."""
        running = self.start(work)
        try:
            return running.result()
        except BaseException:
            running.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine without waiting."""
        return asyncio.run_coroutine_threadsafe(work, self._running_loop())

    def close(self) -> None:
        """Cancel what runs and end the thread."""
        with self._starting:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(self._stop)
            thread.join(_END_SECONDS)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                ready = threading.Event()
                atexit.register(self.close)
                self._thread = threading.Thread(target=self._run, args=(ready,), name="asynccache", daemon=True)
                self._thread.start()
                if not ready.wait(_START_SECONDS) or self._loop is None:
                    raise RuntimeError("the thread of the event loop did not start")
            return self._loop

    def _run(self, ready: threading.Event) -> None:
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            runner.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        ready.set()
        await self._ended.wait()

    def _stop(self) -> None:
        self._ended.set()


def _new_loop() -> Any:
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return None
    return uvloop.new_event_loop
