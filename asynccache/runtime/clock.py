"""The `Clock` seam: time as the engine sees it, and a twin that tests move by hand."""

from __future__ import annotations

import asyncio
import time


class Clock:
    """A monotonic clock to measure with and to wait on."""

    def now(self) -> float:
        """Return seconds since an arbitrary point."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class VirtualClock(Clock):
    """A twin on which waiting takes no time: `sleep` moves the clock and yields once.

    Attributes:
        slept: Every wait that was asked for, in seconds.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self.slept: list[float] = []

    def now(self) -> float:
        """Return the virtual time."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self.slept.append(seconds)
        self._now += seconds
        await asyncio.sleep(0)
