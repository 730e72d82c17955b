"""How far caching and making environments are, in a line now and then: packages, bytes, speed, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynccache import api
    from asynccache.api import events

_FIRST = 3.0  # seconds before the first line: most of what is asked for takes less
_EVERY = 5.0  # seconds between two lines, at first
_SLOWER = 10  # later a tenth of the time that has passed


class Progress:
    """Says how far a run of the engine is.

    Args:
        say: Called with each line.
        what: What is done, in front of a line.
        clock: Seconds, monotonic.
    """

    def __init__(self, say: Callable[[str], None], what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._what = what
        self._clock = clock
        self._environments = 0
        self._begin()

    def _begin(self) -> None:
        self._started = self._said = 0.0
        self._run: api.Progress | None = None

    @contextmanager
    def making(self) -> Iterator[None]:
        """Count what is done for an environment; others may be made at once, and what comes later begins again."""
        if not self._environments:
            self._begin()
        self._environments += 1
        try:
            yield
        finally:
            self._environments -= 1

    def take(self, event: events.Event) -> None:
        """Take an event."""
        from asynccache import api  # noqa: PLC0415 - where the engine is, which has sent it
        from asynccache.api import events  # noqa: PLC0415

        if self._run is None:
            self._run = api.Progress(self._clock)
        self._run.take(event)
        if isinstance(event, events.Retried):
            self._say(f"try {event.attempt} of {event.package} failed, next in {event.delay:.1f} s: {event.reason}")
        elif isinstance(event, events.LockWaited):
            self._say(f"waiting for {event.package}: {event.holder} works on it ({event.seconds:.0f} s)")
        elif isinstance(event, (events.LocksUnsupported, events.DamageFound, events.Misread, events.Mended)):
            self._say(str(event))
        self._report(self._run)

    def _report(self, run: api.Progress) -> None:
        now = self._clock()
        if not self._started:
            self._started = self._said = now
        passed = now - self._started
        if passed >= _FIRST and (self._said == self._started or now - self._said >= max(_EVERY, passed / _SLOWER)):
            counts = _counts(run)
            if counts:
                self._said = now
                self._say(f"{self._what}: {counts}")


def _counts(run: api.Progress) -> str:
    fetch = run.phases["fetch"]
    parts = [f"{run.finished} of {run.packages} packages"] if run.packages and run.finished else []
    if fetch.bytes:
        moved = _megabytes(fetch.bytes)
        total = fetch.expected or 0
        parts.append(f"{moved} of {_megabytes(total)}" if total > fetch.bytes else moved)
    if run.speed:
        parts.append(f"{_megabytes(int(run.speed))}/s")
    left = run.seconds_left()
    if left is not None:
        parts.append(f"about {max(1, round(left))} s left")
    return ", ".join(parts)


class Announcement:
    """A line that is begun before some work and ended after it; what is said in between is on lines of its own.

    Args:
        write: Writes a text; `nl` says whether the line ends.
        indent: In front of each line.
    """

    def __init__(self, write: Callable[..., None], indent: str = "    ") -> None:
        self._write = write
        self._indent = indent
        self._begun = False
        self._wanted = False

    def begin(self, text: str) -> None:
        """Begin the line."""
        self._write(self._indent + text, nl=False)
        self._begun = self._wanted = True

    def begin_with(self, event: events.Event, text: str) -> None:
        """Begin the line when something is solved, once."""
        if type(event).__name__ == "ResolveStarted" and not self._wanted:
            self.begin(text)

    def say(self, line: str) -> None:
        """Say something in between."""
        if self._begun:
            self._write("")
            self._begun = False
        self._write(self._indent + line)

    def end(self, text: str) -> None:
        """End the line, if it was begun."""
        if self._wanted:
            self._write(f" {text}" if self._begun else self._indent + text)
        self._begun = self._wanted = False


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.2f} GB"
