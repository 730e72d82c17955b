"""`asynccache pack`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import arches_option, common_options, force_option, quiet_option, run_verb, show, warn
from asynccache_cli.progress import HydrateDisplay
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Packed


@click.command("pack")
@click.argument("environments", metavar="ENV...", nargs=-1, required=True)
@arches_option
@force_option
@click.option("--level", type=click.IntRange(1, 22), help="Of zstd; default: 9.")
@quiet_option()
@common_options
def command(*, environments: tuple[str, ...], **how: Any) -> None:
    """Put packed environments into the store: what `create` and nodes then read with at most twelve requests.

    A pack is made of the environment's packages, never of a used prefix, and for any architecture. It lies beside the
    environment's document.

    \b
    Examples:
      asynccache pack team/env:v1
      asynccache pack team/env:v1 --arch linux-64 --arch osx-arm64 --level 19
    """
    show(run_verb(lambda session: session.pack(*environments, **how), display=HydrateDisplay()), packed_lines)


def packed_lines(packs: Iterable[Packed]) -> Iterator[str]:
    """Yield a line for each pack, and warn of what the user should know."""
    for each in packs:
        warn(*each.notes)
        what = f"packed {each.files} files, {human_bytes(each.raw_bytes)}" if each.created else "is packed already"
        yield f"{each.id} for {each.id.arch} {what}: {human_bytes(each.size)} in {each.seconds:.2f} s"
