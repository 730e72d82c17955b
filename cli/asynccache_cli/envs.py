"""`asynccache envs`."""

from __future__ import annotations

import json

import click

from asynccache_cli.options import json_option, run_verb, store_options
from asynccache_cli.text import ago, human_bytes, short, table


@click.command("envs", short_help="List the environments on this machine.")
@click.argument("environments", metavar="[ENV]...", nargs=-1)
@store_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, environments: tuple[str, ...], as_json: bool, **flags: object) -> None:
    """List the environments that are hydrated on this machine, the last used first; with ENV only those.

    NAME is the shortest name by which every command finds it. OWN is what removing an environment frees: files that it
    does not share with the node's packages.

    \b
    Examples:
      asynccache envs
      asynccache envs team/env:v1 --json
    """
    found = run_verb(ctx, flags, lambda session: session.on_disk(*environments))
    if as_json:
        click.echo(json.dumps([environment.as_document() for environment in found]))
        return
    rows = [
        (
            e.called,
            f"{short(e.id.req_id)}:{short(e.id.full_id)}",
            e.id.arch,
            human_bytes(e.bytes),
            human_bytes(e.own_bytes),
            ago(e.last_used),
            str(e.prefix.parent),
        )
        for e in found
    ]
    head = ("NAME", "ID", "ARCH", "BYTES", "OWN", "LAST USED", "IN")
    click.echo(table(head, rows, right=(3, 4)) if rows else "no environments on this machine")
