"""What the commands that hydrate share: progress on stderr, what is said of a result."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import click

from asynccache.api import events
from asynccache_cli.options import warn
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Hydrated

_SHOW_AFTER: Final = 1.0  # seconds
_EVERY: Final = 2.0


class HydrateDisplay:
    """Says how hydrating goes, on stderr and only when it takes longer than a second.

    Args:
        quiet: Say only what somebody should do something about.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._started = self._last = time.monotonic()
        self._moved = self._packages = self._bytes = 0
        self._open = False
        self._without_locks: set[str] = set()  # directories that were named

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def take(self, event: events.Event) -> None:
        """Take an event of the engine."""
        match event:
            case events.BytesMoved(phase="fetch", bytes=count):
                self._moved += count
            case events.PackageExtracted(bytes=count):
                self._packages += 1
                self._bytes += count
            case events.LockWaited(package=package, holder=holder, seconds=seconds):
                self._say(f"waiting for {package}: {holder} works on it ({seconds:.0f} s)")
            case events.LocksUnsupported(directory=directory) if directory not in self._without_locks:
                self._without_locks.add(directory)
                self._say(str(event))
            case events.DamageFound() | events.Misread() | events.Mended():
                self._say(str(event))
            case events.SourceFailed(package="pack", source=source, reason=reason):
                self._say(f"{source} is not used, packages are: {reason}")
            case events.Retried(package=package, attempt=attempt, delay=delay, reason=reason):
                self._say(f"try {attempt} of {package} failed, next in {delay:.1f} s: {reason}")
            case _:
                return
        now = time.monotonic()
        if self._quiet or now - self._started < _SHOW_AFTER or now - self._last < (0.1 if self._terminal else _EVERY):
            return
        self._last = now
        line = f"{self._packages} packages, {human_bytes(self._bytes)} extracted, {human_bytes(self._moved)} fetched"
        if self._terminal:
            click.echo(f"\r\x1b[K{line}", nl=False, err=True)
            self._open = True
        else:
            click.echo(line, err=True)

    def _say(self, line: str) -> None:
        self._clear()
        click.echo(line, err=True)

    def _clear(self) -> None:
        if self._open:
            click.echo("\r\x1b[K", nl=False, err=True)
            self._open = False


def given(flags: Mapping[str, object]) -> str:
    """Return the settings that a command was given as options, to be written into another command."""
    words = [f"--{name.replace('_', '-')} {shlex.quote(str(v))}" for name, v in flags.items() if v is not None]
    return "".join(f" {word}" for word in words)


def say_hydrated(done: Hydrated) -> str:
    """Return what is said of an environment that is on disk now."""
    if not done.created:
        waited = "made by another process meanwhile" if done.waited else "already created and valid"
        return f"Environment at '{done.prefix}' {waited}"
    how = "one packed object" if done.packed else f"{human_bytes(done.bytes)} of packages ({done.link_type})"
    return f"Environment created at '{done.prefix}' out of {how} in {done.seconds:.2f} s"


def say_notes(notes: Sequence[str]) -> None:
    """Say what the user should know, at most ten sentences."""
    for note in notes[:10]:
        warn(note)
    if len(notes) > 10:
        warn(f"and {len(notes) - 10} more such notes; --json shows them all")
