"""What commands say on stderr while they work: after a second how far they are, redrawn on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Final, Self

import click

from asynccache.api import events
from asynccache_cli.options import kept, show_json
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from asynccache.api import StoredArchive

_SHOW_AFTER: Final = 1.0  # seconds
_REDRAW_EVERY: Final = 0.1


class Display:
    """Says what somebody should know of events, and shows a line of progress; with `--quiet` or `--json` none."""

    line_every: ClassVar = 5.0
    """Seconds between lines where stderr is no terminal."""

    def __init__(self) -> None:
        self._quiet = bool(kept("quiet") or kept("json"))
        self._terminal = sys.stderr.isatty()
        self._started = self._shown = time.monotonic()
        self._open = False
        self._without_locks: set[str] = set()  # directories that were named

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
                return
        self.refresh()

    def refresh(self) -> None:
        """Show how far it is, unless that was shown just now."""
        now = time.monotonic()
        every = _REDRAW_EVERY if self._terminal else self.line_every
        if not self._quiet and now - self._started >= _SHOW_AFTER and now - self._shown >= every:
            self._shown = now
            self.draw(now - self._started)

    def draw(self, seconds: float) -> None:
        """Show how far it is after so many seconds."""
        line = self.line(seconds)
        click.echo(f"\r\x1b[K{line}" if self._terminal else line, nl=not self._terminal, err=True)
        self._open = self._terminal

    def line(self, seconds: float) -> str:
        """Return how far it is after so many seconds."""
        raise NotImplementedError

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.clear()
        click.echo(line, err=True)

    def clear(self) -> None:
        """Remove what was drawn."""
        if self._open:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._open = False


class EventLines(Display):
    """Prints every event as a line of JSON on standard output."""

    def take(self, event: events.Event) -> None:
        """Print an event."""
        show_json(event)


def events_or_progress() -> Display:
    """Return what shows a run of the engine: its events as JSON where that was asked for."""
    return EventLines() if kept("json") else ProgressDisplay()


class Counter(Display):
    """Shows how many objects and bytes were verified, where the total is not known beforehand."""

    def __init__(self) -> None:
        super().__init__()
        self._count = self._bytes = 0

    def add(self, item: StoredArchive) -> None:
        """Count one object."""
        self._count += 1
        self._bytes += item.info.size
        self.refresh()

    def line(self, seconds: float) -> str:
        """Return the counts and the speed."""
        return f"{self._count} verified, {human_bytes(self._bytes)}, {human_bytes(self._bytes / seconds)}/s"


class HydrateDisplay(Display):
    """Shows how hydrating goes."""

    line_every = 2.0

    def __init__(self) -> None:
        super().__init__()
        self._moved = self._packages = self._bytes = 0

    def take(self, event: events.Event) -> None:
        """Take an event of the engine."""
        match event:
            case events.BytesMoved(phase="fetch", bytes=count):
                self._moved += count
            case events.PackageExtracted(bytes=count):
                self._packages += 1
                self._bytes += count
            case events.SourceFailed(package="pack", source=source, reason=reason):
                self.say(f"{source} is not used, packages are: {reason}")
            case _:
                super().take(event)
                return
        self.refresh()

    def line(self, seconds: float) -> str:
        """Return the counts."""
        del seconds
        return f"{self._packages} packages, {human_bytes(self._bytes)} extracted, {human_bytes(self._moved)} fetched"


class ProgressDisplay(Display):
    """Shows a run of the engine: bars per phase on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._total = self._done = self._failed = 0
        self._bytes = dict.fromkeys(events.PHASES, 0)
        self._sizes = dict.fromkeys(events.PHASES, 0)
        self._counts = dict.fromkeys(events.PHASES, 0)
        self._ended = dict.fromkeys(events.PHASES, 0)
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def clear(self) -> None:
        """Remove the bars."""
        if self._bars is not None:
            self._update(self._bars)
            self._bars.stop()

    def take(self, event: events.Event) -> None:
        """Take an event of the engine."""
        match event:
            case events.RunStarted(packages=count):
                self._total += count
            case events.PhaseStarted(phase=phase, size=size):
                self._counts[phase] += 1
                self._sizes[phase] += size or 0
            case events.BytesMoved(phase=phase, bytes=count):
                self._bytes[phase] += count
            case events.PhaseEnded(phase=phase):
                self._ended[phase] += 1
            case events.PackageDone():
                self._done += 1
            case events.PackageFailed(package=package, error=error):
                self._failed += 1
                self.say(f"failed: {package}: {error}")
            case events.PackStarted(environment=environment, arch=arch) if not self._quiet:
                self.say(f"packing {environment} for {arch} ...")
            case events.PackEnded(environment=environment, arch=arch, size=size, seconds=seconds) if not self._quiet:
                self.say(f"packing {environment} for {arch}: {human_bytes(size)} in {seconds:.1f} seconds")
            case _:
                super().take(event)
                return
        self.refresh()

    def draw(self, seconds: float) -> None:
        """Redraw the bars on a terminal."""
        if not self._terminal:
            super().draw(seconds)
            return
        if self._bars is None:
            self._bars = self._started_bars()
        self._update(self._bars)

    def line(self, seconds: float) -> str:
        """Return the counts and what each phase moved."""
        del seconds
        moved = ", ".join(f"{phase} {human_bytes(self._bytes[phase])}" for phase in events.PHASES)
        return f"{self._done + self._failed}/{self._total} packages; {moved}"

    def _started_bars(self) -> Progress:
        from rich import progress  # noqa: PLC0415 - only on a terminal and only for long runs
        from rich.console import Console  # noqa: PLC0415

        bars = progress.Progress(
            progress.TextColumn("{task.description:<10}"),
            progress.BarColumn(bar_width=None),
            progress.TextColumn("{task.fields[count]:>9}"),
            progress.DownloadColumn(binary_units=True),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        bars.start()
        self._tasks = {name: bars.add_task(name, total=None, count="") for name in (*events.PHASES, "packages")}
        return bars

    def _update(self, bars: Progress) -> None:
        for phase in events.PHASES:
            moved, count = self._bytes[phase], f"{self._ended[phase]}/{self._counts[phase]}"
            bars.update(self._tasks[phase], completed=moved, total=max(self._sizes[phase], moved) or None, count=count)
        finished, moved = self._done + self._failed, self._bytes["fetch"]
        total = int(moved * self._total / finished) if finished else None
        bars.update(self._tasks["packages"], completed=moved, total=total, count=f"{finished}/{self._total}")

    def say(self, line: str) -> None:
        """Print a line, above the bars where there are some."""
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False)
        else:
            click.echo(line, err=True)
