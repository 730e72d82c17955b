"""`asynccache stat`."""

from __future__ import annotations

import json

import click

from asynccache_cli.options import json_option, run_verb, store_options
from asynccache_cli.text import human_bytes


@click.command("stat", short_help="Count the packages and bytes of a store.")
@store_options
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool, **flags: object) -> None:
    """Count the packages and bytes of a store: by kind and format, by host, in both forms.

    Takes one request per thousand objects.
    """
    result = run_verb(ctx, flags, lambda session: session.stat())
    if as_json:
        click.echo(json.dumps(result.as_document()))
        return
    click.echo(
        f"{result.store}: {result.packages} packages, {sum(result.objects.values())} archives,"
        f" {human_bytes(sum(result.bytes.values()))}"
    )
    for label in sorted(result.objects):
        click.echo(f"  {label:<14} {result.objects[label]:>8}  {human_bytes(result.bytes[label]):>10}")
    click.echo(f"  transmuted     {result.transmuted:>8}")
    click.echo(f"  in both forms  {result.both_forms:>8}")
    for host, count in result.hosts.most_common():
        click.echo(f"  from {host}: {count}")
    if result.other:
        click.echo(f"  {result.other} objects beside them are not packages")
    for directory in result.duplicates:
        click.echo(f"  more than one hash: {directory}")
