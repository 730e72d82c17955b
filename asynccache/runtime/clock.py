"""The `Clock` seam: time as the engine sees it, and a twin that tests move by hand."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock to measure with and to wait on."""

    def now(self) -> float:
        """Return seconds since an arbitrary point."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Return `time.monotonic()`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait that long."""
        await asyncio.sleep(seconds)


class VirtualClock:
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
