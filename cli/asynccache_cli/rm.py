"""`asynccache rm`."""

from __future__ import annotations

import json

import click

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.ops.hydrated import remove_environment
from asynccache_cli.options import cache_dir_option, json_option, run_async, settings_from


@click.command("rm", short_help="Remove environments from this machine.")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Also when a process runs out of it.")
@cache_dir_option
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, names: tuple[str, ...], force: bool, as_json: bool, **flags: object) -> None:
    """Remove environments by name or path; their documents and packages in the store stay."""
    removed = run_async(_remove(settings_from(ctx, **flags).settings, names, force=force))
    if as_json:
        click.echo(json.dumps({"removed": removed}))
    else:
        click.echo("\n".join(f"removed {prefix}" for prefix in removed))


async def _remove(settings: Settings, names: tuple[str, ...], *, force: bool) -> list[str]:
    async with Engine(settings) as engine:
        return [str(await remove_environment(engine, name, force=force)) for name in names]
