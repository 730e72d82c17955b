"""`asynccache report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import common_options, kept, run_verb, show_json

if TYPE_CHECKING:
    from asynccache.api import StoreReport

_OUT = "-"


@click.command("report")
@click.option("--output", "-o", metavar="FILE", help="The page; - for standard output.")
@click.option("--keep-days", type=float, default=90.0, show_default=True, help="As for `gc`.")
@click.option("--unreferenced", is_flag=True, help="As for `gc`.")
@common_options
def command(*, output: str | None, keep_days: float, unreferenced: bool) -> None:
    """Write a page about a store: what it holds, what refers to it, the last runs, and what `gc` would free.

    Costs as much as a dry run of `gc`: one request per thousand objects, and one for each document and alias. No
    archive is read and nothing is written to the store. The page is a single file without external resources.

    \b
    Examples:
      asynccache report --store s3://bucket/conda_env -o report.html
      asynccache report --store s3://bucket/conda_env --json
    """
    as_json = bool(kept("json"))
    if output is None and not as_json:
        raise click.UsageError("say where the page goes: -o report.html, or -o - for standard output")
    if output == _OUT and as_json:
        raise click.UsageError("--json and -o - both write to standard output: name a file")
    result = run_verb(lambda session: session.report(keep_days=keep_days, unreferenced=unreferenced))
    if output is not None:
        _write(result, output)
    if as_json:
        show_json("result", result)
    result.raise_for_failures()


def _write(result: StoreReport, output: str) -> None:
    from asynccache_cli.files import write_whole  # noqa: PLC0415 - help needs neither
    from asynccache_cli.report_page import render  # noqa: PLC0415

    page = render(result)
    if output == _OUT:
        click.echo(page, nl=False)
    else:
        write_whole(Path(output), page.encode())
