"""`asynccache run` and `shell`."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import run_verb, store_options
from asynccache_cli.progress import HydrateDisplay

if TYPE_CHECKING:
    from asynccache.api import Activation


class CommandOfAnother(click.Command):
    """Takes options of its own up to `--`, or, where there is none, up to the first word that is not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the words of the command line."""
        ctx.allow_interspersed_args = "--" in args
        ctx.ignore_unknown_options = "--" not in args
        return super().parse_args(ctx, args)


@click.command("run", cls=CommandOfAnother)
@store_options
@click.argument("environment", metavar="ENV")
@click.argument("words", metavar="-- COMMAND...", nargs=-1, type=click.UNPROCESSED)
def run(*, environment: str, words: tuple[str, ...]) -> None:
    """Activate an environment and run a command in it; the exit code is the command's.

    ENV is the name or path of an environment on this machine, else any name that `asynccache create` takes.

    \b
    Examples:
      asynccache run team/env:v1 -- python script.py
      asynccache run ./env -- sh -c 'echo $CONDA_PREFIX'
    """
    become(run_verb(lambda session: session.run(environment, words), display=HydrateDisplay(), known=True))


@click.command("shell")
@click.argument("environment", metavar="ENV")
@store_options
def shell(*, environment: str) -> None:
    """Open your shell ($SHELL) with an environment activated; leave it with `exit`.

    ENV is the name or path of an environment on this machine, else any name that `asynccache create` takes.

    \b
    Examples:
      asynccache shell team/env:v1
    """
    become(run_verb(lambda session: session.shell(environment), display=HydrateDisplay(), known=True))


def become(activation: Activation) -> None:
    """Replace this process by the command; exit with 127, as a shell does, if there is no such program."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and the command would inherit that
        os.execvpe(activation.words[0], activation.words, activation.variables)  # noqa: S606 - what the user asked for
    except OSError as exc:
        click.echo(f"`{activation.words[0]}` cannot be run ({exc.strerror})", err=True)
        sys.exit(127)
