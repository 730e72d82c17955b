"""Keep an asynchronous server running while synchronous code uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, Final, TypeVar

_STOP_SECONDS: Final = 20.0
_Entered = TypeVar("_Entered")


async def _all_closed(loop: Any) -> None:
    """End what waits for the other side, as who shows a certificate does: it would be a leak to the next test."""
    for transport in list(loop._transports.values()):
        transport.abort()
    await asyncio.sleep(0.01)


@contextmanager
def in_background(server: AbstractAsyncContextManager[_Entered]) -> Iterator[_Entered]:
    """Enter an asynchronous context manager in an event loop of its own thread, and leave it with this context."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        entered = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(_STOP_SECONDS)
        try:
            yield entered
        finally:
            asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(_STOP_SECONDS)
            asyncio.run_coroutine_threadsafe(_all_closed(loop), loop).result(_STOP_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_STOP_SECONDS)
        loop.close()
