"""`asynccache warm`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import (
    arches_option,
    common_options,
    format_option,
    quiet_option,
    run_verb,
    shard_options,
    show,
    warn,
)
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
    help="Where the packages should be.",
)
@format_option("Format of conda packages; none: what the document records.")
@click.option("--verify/--no-verify", default=True, help="Read objects that this machine has never verified.")
@click.option("--pack/--no-pack", default=None, help="Publish packs as well; default: as configured.")
@shard_options
@quiet_option()
@common_options
def command(*, names: tuple[str, ...], run_id: str, **how: Any) -> None:
    """Fetch all packages that environments need into the store (remote), onto this node (local), or both.

    All environments are handled in one run over the packages that they need. The store is listed to find what it has,
    whatever documents record; missing or damaged archives are fetched from upstream. A local environment is published
    after its last package. On the node, archives are in `pkgs` below the cache directory.

    In a store that other machines read (S3), packs are published as well, unless the setting pack is never.

    With --shard only a part of the packages is fetched, and the table shows that part; the shard that finishes last
    publishes documents and packs.

    The exit code is 0 only if everything is there. A second call only checks that.

    \b
    Examples:
      asynccache warm --env team/env:v1
      asynccache warm --env team/train:latest --env team/serve:latest --to remote --format .conda
      asynccache warm --env Flow/123/train --arch linux-64 --arch osx-arm64 --to remote --json
    """
    del run_id  # the environments determine what is divided
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
    if warmed.writers is not None and warmed.writers.versions:
        yield f"versions that wrote to the store recently: {', '.join(map(str, warmed.writers.versions))}"


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
