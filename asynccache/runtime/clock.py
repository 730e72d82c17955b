"""The `Clock` seam: time as the engine sees it, a twin that tests move by hand, and deadlines."""

from __future__ import annotations

import time
from typing import Final

from asynccache.runtime.late_loop import loop_begins

_LEAST: Final = 0.001


class Clock:
    """A monotonic clock to measure with and to wait on."""

    def now(self) -> float:
        """Return seconds since an arbitrary point."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        import asyncio  # noqa: PLC0415 - not needed only to measure

        await loop_begins()
        await asyncio.sleep(seconds)


class VirtualClock(Clock):
    """A twin on which waiting takes no time: `sleep` moves the clock and yields once.

    Attributes:
        slept: Every requested wait, in seconds.
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
        import asyncio  # noqa: PLC0415 - as above

        self._now += seconds
        await asyncio.sleep(0)


class Deadline:
    """A time by which something has to end.

    Args:
        seconds: Seconds from now.
        clock: Clock to measure with; None for real time, which limits programs.
    """

    def __init__(self, seconds: float, clock: Clock | None = None) -> None:
        self._clock = clock or Clock()
        self._ends = self._clock.now() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, never less than a millisecond: to some libraries 0 is no limit."""
        return max(_LEAST, self._ends - self._clock.now())

    @property
    def passed(self) -> bool:
        """Whether it is over."""
        return self._ends <= self._clock.now()
