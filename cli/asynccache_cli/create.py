"""`asynccache create`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asynccache.config import Settings
from asynccache.hydrate.hydrate import HydrateOptions
from asynccache.model.platform import checked_architecture
from asynccache.ops.hydrate_environments import Created, Creation, create
from asynccache_cli.hydrating import HydrateDisplay, open_hydrating, say_hydrated, say_notes
from asynccache_cli.options import arch_option, json_option, run_async, settings_from, store_options, warn


@click.command("create", short_help="Make an environment on this machine out of its packages.")
@click.argument("environment", metavar="ENV")
@click.option("--name", help="Name among this machine's environments; default: one made of its ids.")
@click.option("--prefix", type=click.Path(file_okay=False, path_type=Path), help="Path, instead of a name.")
@click.option("--pathspec", is_flag=True, help="ENV is Flow/Run/Step; --into-dir then gets the step's code.")
@click.option(
    "--into-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory to work in: a link to the environment's Python, the step's code, variables to read.",
)
@arch_option
@click.option("--force/--no-force", default=False, help="Make it anew although there is an environment.")
@click.option("--strict/--no-strict", default=True, help="Fail when the step has no code package.")
@click.option("--install-notebook/--no-install-notebook", default=False, help="Install a Jupyter kernel for it.")
@click.option("--bytecode/--no-bytecode", default=None, help="Compile its Python files; default: the setting.")
@click.option("--link-scripts/--no-link-scripts", default=None, help="Run packages' scripts; default: the setting.")
@click.option("--quiet", "-q", is_flag=True, help="Print the interpreter's path only.")
@store_options
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    environment: str,
    name: str | None,
    prefix: Path | None,
    pathspec: bool,
    into_dir: Path | None,
    arch: str | None,
    force: bool,
    strict: bool,
    install_notebook: bool,
    bytecode: bool | None,
    link_scripts: bool | None,
    quiet: bool,
    as_json: bool,
    **flags: object,
) -> None:
    """Hydrate an environment: fetch its packages, extract each once on this machine, link them, install its wheels.

    It is made beside its place and appears whole or not at all. Of several processes that create it at once, one works
    and the others wait. An environment that is there already is used as it is.

    \b
    Examples:
      asynccache create team/env:v1
      asynccache create team/env:v1 --name train --install-notebook
      asynccache create --pathspec Flow/123/train --into-dir work
    """
    settings = settings_from(ctx, **flags).settings
    wanted = Creation(
        text=environment,
        arch=checked_architecture(arch) if arch else None,
        name=name,
        prefix=prefix,
        pathspec=pathspec,
        into_dir=into_dir,
        strict=strict,
        kernel=install_notebook,
        options=HydrateOptions(force, link_scripts, bytecode),
    )
    created = run_async(create_environment(settings, wanted, quiet=quiet or as_json))
    done = created.hydrated
    if as_json:
        click.echo(json.dumps(created.as_document()))
        return
    say_notes(done)
    if quiet:
        click.echo(str(done.python))
        return
    click.echo(say_hydrated(done))
    if created.work is not None:
        for note in created.work.notes:
            warn(note)
        click.echo(f"Work in {created.work.directory}: `. ./metaflow_setup.sh` sets what the step's code needs")
    if created.kernel is not None:
        click.echo(f"Jupyter kernel '{created.kernel.name}' installed at {created.kernel}")
    click.echo(f"Run in it with `asynccache run {done.prefix} -- COMMAND`, or `asynccache shell {done.prefix}`")


async def create_environment(settings: Settings, wanted: Creation, *, quiet: bool) -> Created:
    """Open everything and create."""
    with HydrateDisplay(quiet=quiet) as display:
        async with open_hydrating(settings, display.take) as (engine, catalog):
            return await create(engine, catalog, wanted)
