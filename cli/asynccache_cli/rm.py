"""`asynccache rm`."""

from __future__ import annotations

import json

import click

from asynccache_cli.options import json_option, run_verb, store_options


@click.command("rm", short_help="Remove environments from this machine.")
@click.argument("environments", metavar="ENV...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also when a process runs out of it.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context, /, *, environments: tuple[str, ...], force: bool, as_json: bool, **flags: object
) -> None:
    """Remove environments from this machine; their documents and packages in the store stay.

    The name or path of an environment on this machine means that one; an alias, ids or a step mean every place on this
    machine that holds the environment.

    \b
    Examples:
      asynccache rm train
      asynccache rm team/env:v1
    """
    done = run_verb(ctx, flags, lambda session: session.remove(*environments, force=force))
    if as_json:
        click.echo(json.dumps(done.as_document()))
    else:
        for prefix in done.prefixes:
            click.echo(f"removed {prefix}")
    done.raise_for_failures()
