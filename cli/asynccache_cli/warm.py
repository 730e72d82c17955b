"""`asynccache warm`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import arches_option, common_options, format_option, quiet_option, run_verb, show, warn
from asynccache_cli.pack import packed_lines
from asynccache_cli.progress import ProgressDisplay
from asynccache_cli.text import human_bytes, short_ids, table

if TYPE_CHECKING:
    from asynccache.api import Ready, Warmed


@click.command("warm")
@click.option("--env", "names", metavar="ENV", multiple=True, help="Environment; repeat for several.")
@arches_option
@click.option(
    "--to",
    type=click.Choice(["remote", "local", "both"]),
    default="both",
    show_default=True,
    help="Where packages shall be.",
)
@format_option("Form that conda packages shall have; none: what the document records.")
@click.option("--verify/--no-verify", default=True, help="Read objects that this machine has never verified.")
@click.option("--pack/--no-pack", default=None, help="Put packed environments into the store too; else as configured.")
@quiet_option()
@common_options
def command(*, names: tuple[str, ...], **how: Any) -> None:
    """Bring every package that environments need into the store (remote), onto this node (local), or both.

    All environments are one run over the packages that they need together. What the store has is found by listing it,
    whatever documents record; what it lacks or holds damaged comes from upstream. An environment that only this machine
    knows is published when its last package is there. The node's archives lie in `pkgs` below the cache directory.

    Into a store that other machines read (S3), packed environments are put as well, unless the setting pack is never.

    Ends with exit code 0 only when everything is there. A second call finds that, and takes no time.

    \b
    Examples:
      asynccache warm --env team/env:v1
      asynccache warm --env team/train:latest --env team/serve:latest --to remote --format .conda
      asynccache warm --env Flow/123/train --arch linux-64 --arch osx-arm64 --to remote --json
    """
    warmed = run_verb(lambda session: session.warm(*names, **how), display=ProgressDisplay(), busy=True)
    for note in warmed.notes:
        warn(note)
    show(warmed, _warmed).raise_for_failures()


def _warmed(warmed: Warmed) -> Iterator[str]:
    readiness = warmed.readiness
    head = ("ENVIRONMENT", "ARCH", "PACKAGES", "BYTES", "FROM", "SECONDS", "VERIFIED", "")
    yield table(head, map(_cells, readiness.rows), right=(2, 3, 5, 6))
    ready = sum(row.ready for row in readiness.rows)
    yield (
        f"{ready} of {len(readiness.rows)} environments ready, {readiness.distinct} distinct packages,"
        f" {human_bytes(readiness.fetched_bytes)} fetched, {readiness.seconds:.2f} s"
    )
    yield from packed_lines(warmed.packs.packs)


def _cells(row: Ready) -> tuple[str, ...]:
    return (
        row.name if len(row.name) < 60 else short_ids(row.id),
        row.id.arch,
        f"{row.complete}/{row.packages}",
        human_bytes(row.bytes),
        ", ".join(f"{n} {source}" for source, n in sorted(row.sources.items())) or "-",
        f"{row.seconds:.2f}",
        f"{row.verified}/{row.packages}",
        "ready" if row.ready else "NOT READY",
    )
