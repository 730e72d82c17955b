"""`asynccache create`."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from asynccache_cli.hydrating import HydrateDisplay, given, say_hydrated, say_notes
from asynccache_cli.options import arch_option, json_option, run_verb, store_options


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
    from asynccache.api import HydrateOptions  # noqa: PLC0415 - `--help` does without

    options = HydrateOptions(force, link_scripts, bytecode)
    with HydrateDisplay(quiet=quiet or as_json) as display:
        created = run_verb(
            ctx,
            flags,
            lambda session: session.create(
                environment,
                prefix,
                name=name,
                arch=arch,
                pathspec=pathspec,
                into_dir=into_dir,
                strict=strict,
                kernel=install_notebook,
                options=options,
            ),
            emit=display.take,
        )
    if as_json:
        click.echo(json.dumps(created.as_document()))
        return
    say_notes(created.notes)
    if quiet:
        click.echo(str(created.python))
        return
    click.echo(say_hydrated(created.hydrated))
    if created.work is not None:
        click.echo(f"Work in {created.work.directory}: `. ./metaflow_setup.sh` sets what the step's code needs")
    if created.kernel is not None:
        click.echo(f"Jupyter kernel '{created.kernel.name}' installed at {created.kernel}")
    named = f"{shlex.quote(created.name)}{given(flags)}"
    click.echo(f"Run in it with `asynccache run {named} -- COMMAND`, or `asynccache shell {named}`")
