"""The progress of a run, added up from its events: packages, bytes, speed, and the remaining time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import ClassVar

from asynccache.engine import events
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.runtime.clock import Clock


@dataclass(slots=True)
class PhaseTotals(Documented):
    """One phase over all packages.

    Attributes:
        count: Packages that entered it.
        bytes: Bytes transferred (see `events.BytesMoved`).
        busy_seconds: Time of all packages added up.
        span_seconds: Time during which at least one package was in the phase, up to the last that left it.
        known_bytes: Total bytes of the packages that entered it, as far as known.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("count", "bytes", "busy_seconds", "span_seconds")

    count: int = 0
    bytes: int = 0
    busy_seconds: float = 0.0
    span_seconds: float = 0.0
    known_bytes: int = 0
    active: dict[str, _Moving] = field(default_factory=dict, repr=False)  # by package
    since: float = field(default=0.0, repr=False)

    @property
    def ended(self) -> int:
        """Packages that left it."""
        return self.count - len(self.active)

    @property
    def expected(self) -> int | None:
        """Total bytes of the packages that entered it; None while unknown for one of them."""
        if any(moving.size is None for moving in self.active.values()):
            return None
        return max(self.known_bytes, self.bytes)

    def speed(self, now: float) -> float:
        """Return bytes per second over the time with transfers; 0 before."""
        seconds = self.span_seconds + (now - self.since if self.active else 0.0)
        return self.bytes / seconds if seconds > 0 else 0.0


@dataclass(slots=True)
class _Moving:
    """A package in a phase: its total bytes, None while unknown, and those transferred."""

    size: int | None
    moved: int = 0


class Progress:
    """Counts what a run has done, and estimates the rest.

    Args:
        clock: Returns monotonic seconds; None for real time.

    Attributes:
        phases: What each phase transferred.
        packages: Number of packages, if known beforehand.
        done: Packages that are complete.
        failed: Packages that failed.
        extracted_bytes: Bytes unpacked on this node.
    """

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self.phases: dict[events.Phase, PhaseTotals] = {phase: PhaseTotals() for phase in events.PHASES}
        self.packages: int = 0
        self.done: int = 0
        self.failed: int = 0
        self.extracted_bytes: int = 0
        self._clock = clock or Clock().now
        self._known = 0  # bytes that were known when a run began
        self._began: float | None = None  # when the first package had something to do
        self._begun: set[str] = set()  # packages that had something to do, until they are complete
        self._worked = 0  # how many of those ended

    @property
    def finished(self) -> int:
        """Packages that are complete, or failed."""
        return self.done + self.failed

    @property
    def speed(self) -> float:
        """Bytes per second over the time with fetches; 0 before."""
        return self.phases["fetch"].speed(self._clock())

    def take(self, event: events.Event) -> None:
        """Count an event."""
        match event:
            case events.RunStarted(packages=count, known_bytes=known):
                self.packages += count
                self._known += known
            case events.PhaseStarted(phase=phase, package=package, size=size):
                self._begin(phase, package, size)
            case events.SizeKnown(phase=phase, package=package, remaining=remaining):
                moving = self.phases[phase].active.get(package)
                if moving is not None:
                    self._expect(phase, moving, moving.moved + remaining)
            case events.BytesMoved(phase=phase, package=package, bytes=count):
                totals = self.phases[phase]
                totals.bytes += count
                if package in totals.active:
                    totals.active[package].moved += count
            case events.PhaseEnded(phase=phase, package=package, seconds=seconds):
                self._end(phase, package, seconds)
            case events.PackageDone(package=package):
                self.done += 1
                self._ended(package)
            case events.PackageFailed(package=package):
                self.failed += 1
                self._ended(package)
            case events.PackageExtracted(bytes=count):
                self.done += 1
                self.extracted_bytes += count
                self._worked += 1

    def seconds_left(self) -> float | None:
        """Estimate the remaining time; None if unknown.

        By packages as soon as one that had something to do is complete, since then the phases after fetching count,
        too. Before that by bytes; packages that have not begun count as average, since their size is unknown.
        """
        left = self.packages - self.finished
        if left > 0 and self._worked and self._began is not None:
            return (self._clock() - self._began) * left / self._worked
        fetch, speed = self.phases["fetch"], self.speed
        total = fetch.expected
        if not total or not speed:
            return None
        if self._known:
            total = max(total, self._known)
        elif self.packages > fetch.count:
            total = total * self.packages // fetch.count
        return (total - fetch.bytes) / speed if total > fetch.bytes else None

    def _begin(self, phase: events.Phase, package: str, size: int | None) -> None:
        totals, now = self.phases[phase], self._clock()
        totals.count += 1
        if not totals.active:
            totals.since = now
        self._began = now if self._began is None else self._began
        self._begun.add(package)
        totals.active[package] = moving = _Moving(None)
        self._expect(phase, moving, size)

    def _expect(self, phase: events.Phase, moving: _Moving, size: int | None) -> None:
        self.phases[phase].known_bytes += (size or 0) - (moving.size or 0)
        moving.size = size

    def _end(self, phase: events.Phase, package: str, seconds: float) -> None:
        totals = self.phases[phase]
        totals.busy_seconds += seconds
        moving = totals.active.pop(package, None)
        if moving is None:
            return
        self._expect(
            phase, moving, moving.moved
        )  # less, for instance because a part existed, means that the difference need not be fetched
        if not totals.active:
            totals.span_seconds += self._clock() - totals.since

    def _ended(self, package: str) -> None:
        if package in self._begun:
            self._begun.remove(package)
            self._worked += 1
