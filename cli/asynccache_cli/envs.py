"""`asynccache envs`."""

from __future__ import annotations

import json

import click

from asynccache.ops.hydrated import hydrated
from asynccache_cli.options import cache_dir_option, json_option, settings_from
from asynccache_cli.text import ago, human_bytes, short, table


@click.command("envs", short_help="List the environments on this machine.")
@cache_dir_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **flags: object) -> None:
    """List the environments that are hydrated on this machine, the last used first.

    OWN is what removing an environment frees: files that it does not share with the node's packages.
    """
    found = hydrated(settings_from(ctx, **flags).settings)
    if as_json:
        click.echo(json.dumps([environment.as_document() for environment in found]))
        return
    rows = [
        (
            e.name,
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
