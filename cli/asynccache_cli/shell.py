"""`asynccache shell`."""

from __future__ import annotations

import click

from asynccache_cli.hydrating import HydrateDisplay
from asynccache_cli.options import run_verb, store_options
from asynccache_cli.run import become


@click.command("shell", short_help="Open a shell in an environment.")
@click.argument("environment", metavar="ENV")
@store_options
@click.pass_context
def command(ctx: click.Context, /, *, environment: str, **flags: object) -> None:
    """Open your shell ($SHELL) with an environment activated; leave it with `exit`.

    ENV is the name or path of an environment on this machine, else any name that `asynccache create` takes.

    \b
    Examples:
      asynccache shell team/env:v1
    """
    with HydrateDisplay() as display:
        activation = run_verb(ctx, flags, lambda session: session.shell(environment), emit=display.take)
    become(activation)
