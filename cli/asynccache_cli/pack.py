"""`asynccache pack`."""

from __future__ import annotations

import json

import click

from asynccache_cli.hydrating import HydrateDisplay
from asynccache_cli.options import json_option, run_verb, store_options
from asynccache_cli.pack_text import say_packed


@click.command("pack", short_help="Make one relocatable object of an environment.")
@click.argument("environments", metavar="ENV...", nargs=-1, required=True)
@click.option(
    "--arch", "arches", metavar="ARCH", multiple=True, help="Architecture; repeat for several; default: this one."
)
@click.option("--force/--no-force", default=False, help="Make it anew although there is one.")
@click.option("--level", type=click.IntRange(1, 22), help="Of zstd; default: 9.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    environments: tuple[str, ...],
    arches: tuple[str, ...],
    force: bool,
    level: int | None,
    quiet: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Put packed environments into the store: what `create` and nodes then read with at most twelve requests.

    A pack is made of the environment's packages, never of a used prefix, and for any architecture. It lies beside the
    environment's document.

    \b
    Examples:
      asynccache pack team/env:v1
      asynccache pack team/env:v1 --arch linux-64 --arch osx-arm64 --level 19
    """
    with HydrateDisplay(quiet=quiet or as_json) as display:
        packed = run_verb(
            ctx,
            flags,
            lambda session: session.pack(*environments, arches=arches, force=force, level=level),
            emit=display.take,
        )
    if as_json:
        click.echo(json.dumps([each.as_document() for each in packed]))
        return
    for each in packed:
        say_packed(each)
