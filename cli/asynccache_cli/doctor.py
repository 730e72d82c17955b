"""`asynccache doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import json_option, run_verb, store_options

if TYPE_CHECKING:
    from asynccache.api import Finding

_MARKS = {"ok": ("ok", "green"), "warning": ("warn", "yellow"), "failure": ("FAIL", "red")}


@click.command("doctor", short_help="Check this machine and the store, and say what to do.")
@store_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **flags: object) -> None:
    """Check the store (reached, read, written), the tools that are found, and how fast disk, store and CPU are.

    Each finding says what to do. Ends with exit code 6 when something fails that a run needs. Writes one object of
    8 MiB below `asynccache/doctor/` in the store and removes it.
    """

    def show(finding: Finding) -> None:
        if as_json:
            click.echo(json.dumps(finding.as_document()))
            return
        mark, colour = _MARKS[finding.level]
        advice = f"\n      -> {finding.advice}" if finding.advice else ""
        click.echo(f"{click.style(f'{mark:>4}', fg=colour)}  {finding.subject}: {finding.text}{advice}")

    run_verb(ctx, flags, lambda session: session.doctor(show)).raise_for_failures()
