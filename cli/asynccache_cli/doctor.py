"""`asynccache doctor`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import Items, common_options, run_verb

if TYPE_CHECKING:
    from asynccache.api import Finding

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "failure": ("FAIL", "red")}


@click.command("doctor")
@common_options
def command() -> None:
    """Check the store (which identity is used and what it may do), the tools on this machine, and the speed of disk,
    store and CPU.

    Each finding says what to do. The exit code is 6 if something that a run needs does not work; read-only access is a
    warning. One object of 8 MiB is written below `asynccache/doctor/` in the store and removed again.
    """
    items = Items(_found)
    done = run_verb(lambda session: session.doctor(lambda each: items.show(each, failed=each.level == "failure")))
    items.end()
    done.raise_for_failures()


def _found(finding: Finding) -> Iterator[str]:
    mark, colour = _MARKS[finding.level]
    yield f"{click.style(f'{mark:>4}', fg=colour)}  {finding.subject}: {finding.text}"
    if finding.advice:
        yield f"      -> {finding.advice}"
