"""`asynccache transmute`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asynccache_cli.options import (
    Items,
    check_with_option,
    json_option,
    level_option,
    listed,
    run_verb,
    setting_option,
    to_option,
)
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Conversion


@click.command("transmute")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, callback=listed)
@to_option
@level_option
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Directory for the results.")
@setting_option(
    "--verify/--no-verify", "verify_transmute", default=None, help="Compare every member of source and result."
)
@check_with_option
@setting_option("--jobs", "-j", "cpu_slots", type=int, help="Cores to use; default: all.")
@json_option
def command(*, files: tuple[str, ...], **how: Any) -> None:
    """Convert conda packages between their two formats, exactly: names, order, types, modes, times, links, digests.

    The result is written next to its source, or to --out. A file that cannot be converted exactly is refused and
    nothing is written for it; the others are still converted. `-` reads a list of files from standard input, one per
    line.

    \b
    Examples:
      asynccache transmute *.tar.bz2 --to .conda
      asynccache transmute numpy-1.26.4-py311h64a7726_0.conda --to .tar.bz2 --out converted
      asynccache transmute *.tar.bz2 --to .conda --check-with cph
      find . -name '*.tar.bz2' | asynccache transmute - --to .conda
    """
    items = Items(_converted)

    def show_one(each: Conversion) -> None:
        items.show(each, failed=each.error is not None)

    done = run_verb(lambda session: session.transmute(*files, done=show_one, **how), known=True)
    items.end()
    done.raise_for_failures()


def _converted(result: Conversion) -> Iterator[str]:
    if result.receipt is not None:
        source, derived = (human_bytes(part.size or 0) for part in (result.receipt.source, result.receipt.derived))
        members = f"{result.receipt.members} members {'verified' if result.receipt.verified else 'not verified'}"
        yield f"{result.source.name} ({source}) -> {result.target} ({derived}), {members}"
