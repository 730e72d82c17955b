"""What `asynccache resolve` prints for people: a paragraph for each environment, notes on standard error."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from asynccache.api import environment_text, events
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import echo, human_bytes

if TYPE_CHECKING:
    from asynccache.api import Presence, Resolved, ResolvedEnvironment, Row


class ResolveDisplay(ProgressDisplay):
    """Shows what is resolved, and how caching it goes."""

    def take(self, event: events.Event) -> None:
        """Take an event."""
        match event:
            case events.ResolveStarted(name=name, arch=arch, resolver=resolver) if not self._quiet:
                self.say(f"resolving {name} for {arch} with {resolver} ...")
            case events.ResolveEnded(name=name, arch=arch, packages=packages, seconds=seconds) if not self._quiet:
                count = "failed" if packages is None else f"{packages} packages"
                self.say(f"resolving {name} for {arch}: {count} in {seconds:.1f} seconds")
            case _:
                super().take(event)


def show(resolved: Resolved, presences: Iterable[Presence], *, dry_run: bool) -> None:
    """Print what was found; failures are reported by the error that follows."""
    for note in resolved.notes:
        echo(click.style("note: ", fg="yellow") + note, err=True)
    known_locally = iter(presences)
    for row in resolved.rows:
        if row.environment is not None:
            echo("\n".join(_lines(row, row.environment, next(known_locally))))
        elif row.builds:
            echo("\n".join(_builds(row)))
    count, known = len(resolved.rows), sum(row.known for row in resolved.rows)
    failed = sum(bool(row.errors) for row in resolved.rows)
    words = [f"{f'{count - failed} of ' if failed else ''}{count} environment{'s' * (count != 1)}"]
    if known:
        words.append(f"{'' if known == count else f'{known} '}known already (--force resolves again)")
    if resolved.fetched_bytes:
        words.append(f"{human_bytes(resolved.fetched_bytes)} fetched")
    if dry_run:
        words.append("nothing was written")
    echo(f"{', '.join(words)}, in {resolved.seconds:.1f} seconds", err=True)


def _lines(row: Row, found: ResolvedEnvironment, local: Presence) -> Iterator[str]:
    yield f"### Environment for architecture {row.arch}" + (f" ({row.name})" if row.name else "")
    resolver = f"{row.resolver} in {row.seconds:.1f} seconds" if row.resolver else ""
    yield from environment_text.long_text(
        found, local, row.aliases, default=row.default, resolver=resolver, none="none"
    )
    if row.bytes is not None:
        yield f"Size of all packages {human_bytes(row.bytes)}"
    if row.prefix is not None:
        yield f"Environment created at '{row.prefix}'"
    yield ""


def _builds(row: Row) -> Iterator[str]:
    yield f"### Environment for architecture {row.arch} ({row.name})"
    yield "To be built from source before it can be identified:"
    for build in row.builds:
        yield f"  {build.name}{f'=={build.version}' if build.version else ''} of {build.location}"
    yield ""
