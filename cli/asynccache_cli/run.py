"""`asynccache run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.hydrate.activate import Activation, activate
from asynccache.hydrate.prefix import environment_name, environments_directory, note_use, read_marker
from asynccache.ops.hydrated import find_hydrated
from asynccache_cli.options import run_async, settings_from, store_options


class CommandOfAnother(click.Command):
    """Takes options of its own up to `--`, or, where there is none, up to the first word that is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        ctx.allow_interspersed_args = "--" in args
        ctx.ignore_unknown_options = "--" not in args
        return super().parse_args(ctx, args)


@click.command("run", cls=CommandOfAnother, short_help="Run a command in an environment, made when it is not there.")
@store_options
@click.argument("environment", metavar="ENV")
@click.argument("words", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, /, *, environment: str, words: tuple[str, ...], **flags: object) -> None:
    """Activate an environment and run a command in it; the exit code is the command's.

    ENV is the name or path of an environment on this machine, else any name that `asynccache create` takes.

    \b
    Examples:
      asynccache run team/env:v1 -- python script.py
      asynccache run ./env -- sh -c 'echo $CONDA_PREFIX'
    """
    settings = settings_from(ctx, **flags).settings
    if not words:
        raise UsageError("there is nothing to run", hint="`asynccache run ENV -- COMMAND`")
    activation = activated(settings, environment)
    become(activation.command(words), activation.variables)


def activated(settings: Settings, text: str) -> Activation:
    """Return the activation of an environment on this machine, which is made when it is not there."""
    prefix = find_hydrated(settings, text)
    if prefix is None:
        prefix = run_async(_made(settings, text))
    note_use(prefix)
    return activate(prefix, environments_directory(settings), os.environ)


async def _made(settings: Settings, text: str) -> Path:
    from asynccache.hydrate.from_pack import from_pack  # noqa: PLC0415
    from asynccache.hydrate.hydrate import prefix_for  # noqa: PLC0415 - only where it is not there
    from asynccache.model.platform import current_architecture  # noqa: PLC0415
    from asynccache_cli.hydrating import HydrateDisplay, open_hydrating  # noqa: PLC0415

    with HydrateDisplay() as display:
        async with open_hydrating(settings, display.take) as (engine, catalog):
            found = await catalog.find(text, current_architecture())
            directory = environments_directory(settings)
            made = [directory / environment_name(found.id, kind) for kind in ("step", "tmp")]
            there = next((place for place in made if read_marker(place) == found.id), None)
            return there or await prefix_for(engine, found, kind="step", packed=from_pack)


def become(words: Sequence[str], variables: Mapping[str, str]) -> None:
    """Replace this process by a command; ends it with 127, as a shell does, when there is no such program."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execvpe(words[0], list(words), dict(variables))  # noqa: S606 - what the user asked to run
    except OSError as exc:
        click.echo(f"`{words[0]}` cannot be run ({exc.strerror})", err=True)
        sys.exit(127)
