"""Progress on stderr: bars per phase on a terminal, plain lines elsewhere, nothing for a run under a second."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import click

from asynccache.api import events
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_SHOW_AFTER: Final = 1.0  # seconds
_LINE_EVERY: Final = 5.0


@contextmanager
def reporting(*, quiet: bool, as_json: bool) -> Iterator[events.EventSink]:
    """Yield where events go: lines of JSON on standard output, or a display on standard error."""
    if as_json:
        yield lambda event: click.echo(json.dumps(event.as_document()))
        return
    with ProgressDisplay(quiet=quiet) as display:
        yield display.take


class ProgressDisplay:
    """Shows a run as it goes; pass `take` as the event sink.

    Args:
        quiet: Show warnings only.
        terminal: Whether stderr is one; found out when None.
    """

    def __init__(self, *, quiet: bool = False, terminal: bool | None = None) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._started = time.monotonic()
        self._last_line = self._started
        self._total = self._done = self._failed = 0
        self._bytes = dict.fromkeys(events.PHASES, 0)
        self._sizes = dict.fromkeys(events.PHASES, 0)
        self._counts = dict.fromkeys(events.PHASES, 0)
        self._ended = dict.fromkeys(events.PHASES, 0)
        self._without_locks: set[str] = set()  # directories that were named
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._update()
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
            case events.LockWaited(package=package, holder=holder, seconds=seconds):
                self.say(f"waiting for {package}: {holder} works on it ({seconds:.0f} s)")
            case events.LocksUnsupported(directory=directory) if directory not in self._without_locks:
                self._without_locks.add(directory)
                self.say(str(event))
            case events.Retried(package=package, attempt=attempt, delay=delay, reason=reason):
                self.say(f"try {attempt} of {package} failed, next in {delay:.1f} s: {reason}")
            case events.PackStarted(environment=environment, arch=arch) if not self._quiet:
                self.say(f"packing {environment} for {arch} ...")
            case events.PackEnded(environment=environment, arch=arch, size=size, seconds=seconds) if not self._quiet:
                self.say(f"packing {environment} for {arch}: {human_bytes(size)} in {seconds:.1f} seconds")
            case events.DamageFound() | events.Misread() | events.Mended():
                self.say(str(event))
            case _:
                return
        self._refresh()

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._quiet or now - self._started < _SHOW_AFTER:
            return
        if self._terminal:
            if self._bars is None:
                self._start_bars()
            self._update()
        elif now - self._last_line >= _LINE_EVERY:
            self._last_line = now
            moved = ", ".join(f"{phase} {human_bytes(self._bytes[phase])}" for phase in events.PHASES)
            print(f"{self._done + self._failed}/{self._total} packages; {moved}", file=sys.stderr, flush=True)

    def _start_bars(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - only on a terminal and only for long runs
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[count]:>9}"),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.start()
        for phase in events.PHASES:
            self._tasks[phase] = self._bars.add_task(phase, total=None, count="")
        self._tasks["total"] = self._bars.add_task("packages", total=None, count="")

    def _update(self) -> None:
        if self._bars is None:
            return
        for phase in events.PHASES:
            self._bars.update(
                self._tasks[phase],
                completed=self._bytes[phase],
                total=max(self._sizes[phase], self._bytes[phase]) or None,
                count=f"{self._ended[phase]}/{self._counts[phase]}",
            )
        finished = self._done + self._failed
        moved = self._bytes["fetch"]
        self._bars.update(
            self._tasks["total"],
            completed=moved,
            total=int(moved * self._total / finished) if finished else None,
            count=f"{finished}/{self._total}",
        )

    def say(self, line: str) -> None:
        """Print a line, above the bars where there are some."""
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)
