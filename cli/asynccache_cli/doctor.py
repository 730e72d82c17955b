"""`asynccache doctor`."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import StoreError
from asynccache.ops.doctor import Finding, examine
from asynccache_cli.options import json_option, run_async, settings_from, store_options

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

    findings = run_async(_examine(settings_from(ctx, **flags).settings, show))
    failed = [f.subject for f in findings if f.level == "failure"]
    if failed:
        raise StoreError(f"{len(failed)} checks failed: {', '.join(failed)}", hint="follow the advice above")


async def _examine(settings: Settings, show: Callable[[Finding], None]) -> list[Finding]:
    async with Engine(settings) as engine:
        return await examine(engine, show)
