"""`asynccache shell`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from asynccache_cli.options import settings_from, store_options
from asynccache_cli.run import activated, become


@click.command("shell", short_help="Open a shell in an environment.")
@click.argument("environment", metavar="ENV")
@store_options
@click.pass_context
def command(ctx: click.Context, /, *, environment: str, **flags: object) -> None:
    """Open your shell ($SHELL) with an environment activated; leave it with `exit`.

    \b
    Examples:
      asynccache shell team/env:v1
    """
    activation = activated(settings_from(ctx, **flags).settings, environment)
    descriptor, name = tempfile.mkstemp(prefix="asynccache-rc-")
    os.close(descriptor)
    words = activation.shell(os.environ.get("SHELL") or "/bin/sh", Path(name))
    if name in words:
        with Path(name).open("a", encoding="utf-8") as file:
            file.write(f"rm -f {name}\n")
    else:
        Path(name).unlink()
    become(words, activation.variables)
