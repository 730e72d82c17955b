"""`asynccache pack`."""

from __future__ import annotations

import json
from collections.abc import Sequence

import click

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.hydrate.pack import LEVEL, pack
from asynccache.hydrate.pack_find import Packed
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.environments import Environments
from asynccache_cli.hydrating import HydrateDisplay
from asynccache_cli.options import json_option, run_async, settings_from, store_options, warn
from asynccache_cli.pack_text import say_packed


@click.command("pack", short_help="Make one relocatable object of an environment.")
@click.argument("environments", metavar="ENV...", nargs=-1, required=True)
@click.option(
    "--arch", "arches", metavar="ARCH", multiple=True, help="Architecture; repeat for several; default: this one."
)
@click.option("--force/--no-force", default=False, help="Make it anew although there is one.")
@click.option("--level", type=click.IntRange(1, 22), default=LEVEL, show_default=True, help="Of zstd.")
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
    level: int,
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
    settings = settings_from(ctx, **flags).settings
    chosen = [checked_architecture(arch) for arch in arches] or [current_architecture()]
    packed = run_async(
        pack_environments(settings, environments, chosen, force=force, level=level, quiet=quiet or as_json)
    )
    if as_json:
        click.echo(json.dumps([each.as_document() for each in packed]))
        return
    for each in packed:
        say_packed(each)


async def pack_environments(
    settings: Settings,
    names: Sequence[str],
    arches: Sequence[str],
    *,
    force: bool = False,
    level: int = LEVEL,
    quiet: bool = False,
) -> list[Packed]:
    """Find environments and pack them, one after the other: packing one uses all cores."""
    with HydrateDisplay(quiet=quiet) as display:
        async with Engine(settings, emit=display.take) as engine:
            catalog = Environments(settings, engine.store, warn)
            return [
                await pack(engine, await catalog.find(name, arch), force=force, level=level)
                for name in names
                for arch in arches
            ]
