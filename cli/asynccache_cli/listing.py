"""`asynccache ls`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import json_option, run_listing, store_options
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import StoredArchive


@click.command("ls", short_help="List the packages of a store.")
@click.argument("pattern", required=False)
@click.option("--long", "-l", "long_form", is_flag=True, help="Show the key as well.")
@store_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, pattern: str | None, long_form: bool, as_json: bool, **flags: object) -> None:
    """List the packages of a store: size, date, t for transmuted, file name.

    PATTERN is a shell pattern that the file name must match, or the whole key when it contains a slash.

    \b
    Examples:
      asynccache ls 'numpy-*.conda'
      asynccache ls --store s3://bucket/conda_env --json | jq -r .key
    """

    def show(item: StoredArchive) -> None:
        if as_json:
            click.echo(json.dumps(item.as_document()))
            return
        when = item.info.modified
        date = datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%d %H:%M") if when is not None else "-"
        mark = "t" if item.parts.transmuted else " "
        name = item.info.key if long_form else item.parts.filename
        click.echo(f"{human_bytes(item.info.size):>10}  {date:16}  {mark}  {name}")

    run_listing(ctx, flags, lambda session: session.list_packages(pattern), show)
