"""What commands print on stderr while they work: their progress after a second, redrawn on a terminal."""

from __future__ import annotations

import os
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Self

from asynccache.api import Progress, events
from asynccache.errors import without_tokens
from asynccache_cli.options import kept, show_json
from asynccache_cli.text import echo, human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from asynccache.api import PhaseTotals, StoredArchive

_SHOW_AFTER: Final = 1.0  # seconds
_REDRAW_EVERY: Final = 0.1


class Display:
    """Prints what users should know about events, and shows a line of progress; none with `--quiet` or `--json`."""

    line_every: ClassVar = 5.0
    """Seconds between lines where stderr is no terminal."""

    def __init__(self) -> None:
        self._quiet = bool(kept("quiet") or kept("json"))
        # a terminal that cannot move its cursor gets lines, as a file does
        self._terminal = sys.stderr.isatty() and os.environ.get("TERM", "") not in {"dumb", "unknown"}
        self._started = self._shown = time.monotonic()
        self._open = False
        self._without_locks: set[str] = set()  # directories that were mentioned

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()

    def take(self, event: events.Event) -> None:
        """Take an event of the engine."""
        match event:
            case events.LockWaited(package=package, holder=holder, seconds=seconds):
                self.say(f"waiting for {package}: {holder} works on it ({seconds:.0f} s)")
            case events.LocksUnsupported(directory=directory) if directory not in self._without_locks:
                self._without_locks.add(directory)
                self.say(str(event))
            case events.Retried(package=package, attempt=attempt, delay=delay, reason=reason):
                self.say(f"try {attempt} of {package} failed, next in {delay:.1f} s: {reason}")
            case events.DamageFound() | events.Misread() | events.Mended():
                self.say(str(event))
            case _:
                pass
        self.refresh()

    async def keep_showing(self) -> None:
        """Show the progress even while nothing happens, until cancelled."""
        import asyncio  # noqa: PLC0415 - a command's help needs none

        while not self._quiet:
            await asyncio.sleep(_REDRAW_EVERY if self._terminal else self.line_every)
            self.refresh()

    def refresh(self) -> None:
        """Show the progress, unless it was shown just now."""
        now = time.monotonic()
        every = _REDRAW_EVERY if self._terminal else self.line_every
        if not self._quiet and now - self._started >= _SHOW_AFTER and now - self._shown >= every:
            self._shown = now
            self.draw(now - self._started)

    def draw(self, seconds: float) -> None:
        """Show the progress after so many seconds."""
        line = self.line(seconds)
        echo(f"\r\x1b[K{line}" if self._terminal else line, nl=not self._terminal, err=True)
        self._open = self._terminal

    def line(self, seconds: float) -> str:
        """Return the progress after so many seconds."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.clear()
        echo(line, err=True)

    def clear(self) -> None:
        """Remove what was drawn."""
        if self._open:
            echo("\r\x1b[K", nl=False, err=True)
            self._open = False


class EventLines(Display):
    """Prints every event as a line of JSON on standard output."""

    def take(self, event: events.Event) -> None:
        """Print an event."""
        show_json("event", event)


def events_or_progress() -> Display:
    """Return the display of a run of the engine: its events as JSON if that was asked for."""
    return EventLines() if kept("json") else ProgressDisplay()


class Counter(Display):
    """Shows how many objects and bytes were verified, and out of how many once they are counted."""

    def __init__(self) -> None:
        super().__init__()
        self._count = self._bytes = 0
        self._total: tuple[int, int] | None = None

    @property
    def wants(self) -> Callable[[int, int], None] | None:
        """The callback for the total; None if nothing is shown, so that nothing need be counted."""
        return None if self._quiet else self.know

    def know(self, count: int, size: int) -> None:
        """Take how many objects and bytes there are."""
        self._total = (count, size)

    def add(self, item: StoredArchive) -> None:
        """Count one object."""
        self._count += 1
        self._bytes += item.info.size
        self.refresh()

    def line(self, seconds: float) -> str:
        """Return the counts, the speed and the time left."""
        speed = self._bytes / seconds if seconds else 0.0
        pace = f"{human_bytes(speed)}/s"
        if self._total is None:
            return f"{self._count} verified, {human_bytes(self._bytes)}, {pace}, total not counted yet"
        count, size = self._total
        left = f", {_length((size - self._bytes) / speed)} left" if speed and size > self._bytes else ""
        return f"{self._count}/{count} verified, {_moved_of(self._bytes, size)}, {pace}{left}"


class HydrateDisplay(Display):
    """Shows how hydrating goes."""

    line_every = 2.0

    def __init__(self) -> None:
        super().__init__()
        self._progress = Progress()

    def take(self, event: events.Event) -> None:
        """Take an event of the engine."""
        self._progress.take(event)
        match event:
            case events.SourceFailed(package="pack", source=source, reason=reason):
                self.say(f"{source} is not used, packages are: {reason}")
            case _:
                super().take(event)

    def line(self, seconds: float) -> str:
        """Return the counts, the speed and the time left."""
        del seconds
        run, fetch = self._progress, self._progress.phases["fetch"]
        parts = [f"{run.done}/{run.packages} packages"] if run.packages else []
        if run.extracted_bytes:
            parts.append(f"{human_bytes(run.extracted_bytes)} extracted")
        if fetch.count:
            parts.append(f"{_of(fetch)} fetched")
        return ", ".join([*parts, *_pace(run)])


class ProgressDisplay(Display):
    """Shows a run of the engine: bars per phase on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._progress = Progress()
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}

    def clear(self) -> None:
        """Remove the bars."""
        if self._bars is not None:
            self._bars.stop()

    def take(self, event: events.Event) -> None:
        """Take an event of the engine."""
        self._progress.take(event)
        match event:
            case events.PackageFailed(package=package, error=error):
                self.say(f"failed: {package}: {error}")
            case events.PackStarted(environment=environment, arch=arch) if not self._quiet:
                self.say(f"packing {environment} for {arch} ...")
            case events.PackEnded(environment=environment, arch=arch, size=size, seconds=seconds) if not self._quiet:
                self.say(f"packing {environment} for {arch}: {human_bytes(size)} in {seconds:.1f} seconds")
            case _:
                super().take(event)

    def refresh(self) -> None:
        """Show the progress, unless it was shown just now, or nothing has begun."""
        if self._progress.packages or self._progress.finished or self._progress.phases["fetch"].count:
            super().refresh()

    def draw(self, seconds: float) -> None:
        """Redraw the bars on a terminal."""
        if not self._terminal:
            super().draw(seconds)
            return
        if self._bars is None:
            self._bars = self._started_bars()
        self._update(self._bars)

    def line(self, seconds: float) -> str:
        """Return the counts, what each phase transferred, the speed and the time left."""
        del seconds
        run = self._progress
        moved = ", ".join(f"{phase} {_of(totals)}" for phase, totals in run.phases.items())
        of = f"/{run.packages}" if run.packages else ""  # how many there will be is not always known beforehand
        return "; ".join([f"{run.finished}{of} packages", moved, *filter(None, [", ".join(_pace(run))])])

    def _started_bars(self) -> Bars:
        from rich import progress  # noqa: PLC0415 - only on a terminal and only for long runs
        from rich.console import Console  # noqa: PLC0415

        bars = progress.Progress(
            progress.TextColumn("{task.description:<9}"),
            progress.BarColumn(bar_width=None),
            *(progress.TextColumn(f"{{task.fields[{name}]}}") for name in ("count", "bytes", "pace")),
            console=Console(stderr=True),
            transient=True,
        )
        bars.start()
        self._tasks = {
            name: bars.add_task(name, total=None, count="", bytes="", pace="") for name in (*events.PHASES, "packages")
        }
        return bars

    def _update(self, bars: Bars) -> None:
        run, now = self._progress, time.monotonic()
        for phase, totals in run.phases.items():
            # what is being fetched counts before the total is known, too, but fills no bar
            bars.update(
                self._tasks[phase],
                completed=totals.bytes,
                total=totals.expected or None,
                count=f"{totals.ended}/{totals.count}",
                bytes=_of(totals),
                pace=f"{human_bytes(totals.speed(now))}/s" if totals.bytes else "",
            )
        left = run.seconds_left()
        bars.update(
            self._tasks["packages"],
            completed=run.finished,
            total=run.packages or None,
            count=f"{run.finished}/{run.packages or '?'}",
            pace="" if left is None else f"{_length(left)} left",
        )

    def say(self, line: str) -> None:
        """Print a line, above the bars if there are any."""
        if self._bars is not None:
            self._bars.console.print(without_tokens(line), highlight=False, markup=False)
        else:
            echo(line, err=True)


def _of(totals: PhaseTotals) -> str:
    """Return what a phase transferred, and out of how much if that is known."""
    return _moved_of(totals.bytes, totals.expected)


def _moved_of(count: int, expected: int | None) -> str:
    moved = human_bytes(count)
    if expected is None or expected <= count:
        return moved
    number, unit = moved.split()
    whole = human_bytes(expected)
    return f"{number}/{whole}" if whole.endswith(" " + unit) else f"{number} {unit}/{whole}"


def _pace(run: Progress) -> list[str]:
    left = run.seconds_left()
    return [
        *([f"{human_bytes(run.speed)}/s"] if run.speed else []),
        *([] if left is None else [f"about {_length(left)} left"]),
    ]


def _length(seconds: float) -> str:
    """Write a length of time in its two largest units.

    >>> _length(59.4), _length(125), _length(7260), _length(200000)
    ('59 s', '2 min 5 s', '2 h 1 min', '2 d 7 h')
    """
    left = max(1, round(seconds))
    for size, unit, smaller, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if left >= size:
            return f"{left // size} {unit} {left % size // smaller} {part}"
    return f"{left} s"
