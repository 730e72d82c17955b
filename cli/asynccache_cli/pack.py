"""`asynccache pack`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import (
    arches_option,
    common_options,
    force_option,
    quiet_option,
    run_verb,
    show,
    show_items,
    warn,
)
from asynccache_cli.progress import HydrateDisplay
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Packed


@click.command("pack")
@click.argument("environments", metavar="ENV...", nargs=-1, required=True)
@arches_option
@force_option
@click.option("--level", type=click.IntRange(1, 22), help="Of zstd; default: 3.")
@quiet_option()
@common_options
def command(*, environments: tuple[str, ...], **how: Any) -> None:
    """Publish environments as packs: one object each, which `create` and nodes read with at most twelve requests.

    A pack is built from the environment's packages, never from a used prefix, for any architecture. It is stored next
    to the environment's document.

    \b
    Examples:
      asynccache pack team/env:v1
      asynccache pack team/env:v1 --arch linux-64 --arch osx-arm64 --level 19
    """
    packs = run_verb(lambda session: session.pack(*environments, **how), display=HydrateDisplay())
    if len(packs) == 1:
        show(packs[0], lambda pack: packed_lines([pack]))
    else:
        show_items(packs, packed_lines)


def packed_lines(packs: Iterable[Packed]) -> Iterator[str]:
    """Yield a line for each pack, and warn of what the user should know."""
    for each in packs:
        warn(*each.notes)
        what = f"packed {each.files} files, {human_bytes(each.raw_bytes)}" if each.created else "is packed already"
        yield f"{each.id} for {each.id.arch} {what}: {human_bytes(each.size)} in {each.seconds:.2f} s"
