"""`asynccache floor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import common_options, run_verb, show, warn

if TYPE_CHECKING:
    from asynccache.api import Writers


@click.command("floor")
@click.argument("wanted", metavar="[FORMAT]", type=click.IntRange(min=0), required=False)
@common_options
def command(*, wanted: int | None) -> None:
    """Show, or set with FORMAT, the oldest format of clients that may write to the store; 0 lets every client write.

    A client below it reads, and ends with exit code 18 where it would write. Versions from before there was a floor
    obey none. Which versions wrote in the last 30 days is shown as well.

    \b
    Examples:
      asynccache floor
      asynccache floor 1
    """
    writers = run_verb(lambda session: session.floor(wanted))
    for sentence in writers.warnings:
        warn(sentence)
    show(writers, _writers)


def _writers(writers: Writers) -> Iterator[str]:
    floor = writers.floor
    who = f", set by {floor.by} on {floor.on}" if floor.by else ""
    yield f"clients may write from format {floor.format} on{who}"
    for each in writers.versions:
        yield f"  format {each.format}: asynccache {each}"
