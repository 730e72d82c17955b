"""`asynccache config`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from asynccache_cli.options import json_option, load, show

if TYPE_CHECKING:
    from asynccache.config import LoadedSettings


@click.command("config")
@json_option
def command() -> None:
    """Show every setting, its value and where it came from.

    A setting is taken from the first of: a flag, the environment (ASYNCCACHE_NAME, then Metaflow's names), the
    configuration file, Metaflow's configuration files, its default. Values that are secrets are not shown.
    """
    loaded = show(load(), _settings)
    if loaded.bare_keys:
        keys = ", ".join(loaded.bare_keys)
        click.echo(f"Keys without METAFLOW_ in front count here, and Metaflow itself ignores them: {keys}", err=True)


def _settings(loaded: LoadedSettings) -> Iterator[str]:
    for row in loaded.as_document():
        value = row["value"]
        yield f"{row['setting']:<22} {value if isinstance(value, str) else json.dumps(value):<28} {row['origin']}"
        yield click.style(f"    {row['help']} ({', '.join(row['environment'])})", dim=True)
