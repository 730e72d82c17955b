"""`asynccache doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import common_options, run_verb, show

if TYPE_CHECKING:
    from asynccache.api import Finding

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "failure": ("FAIL", "red")}


@click.command("doctor")
@common_options
def command() -> None:
    """Check the store (reached, read, written), the tools that are found, and how fast disk, store and CPU are.

    Each finding says what to do. Ends with exit code 6 when something fails that a run needs. Writes one object of
    8 MiB below `asynccache/doctor/` in the store and removes it.
    """
    run_verb(lambda session: session.doctor(lambda finding: show(finding, _found))).raise_for_failures()


def _found(finding: Finding) -> Iterator[str]:
    mark, colour = _MARKS[finding.level]
    yield f"{click.style(f'{mark:>4}', fg=colour)}  {finding.subject}: {finding.text}"
    if finding.advice:
        yield f"      -> {finding.advice}"
