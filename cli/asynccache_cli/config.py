"""`asynccache config`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from asynccache_cli.json_line import json_line
from asynccache_cli.options import json_option, kept, load
from asynccache_cli.text import echo

if TYPE_CHECKING:
    from asynccache.config import LoadedSettings


@click.command("config")
@json_option
def command() -> None:
    """Show every setting, its value and where the value comes from.

    A setting is read from the first of these that has it: a flag, an environment variable (ASYNCCACHE_NAME, then
    Metaflow's names), the configuration file, Metaflow's configuration files, its default. Secret values are not shown.
    """
    loaded = load()
    if kept("json"):
        rows = loaded.shown
        # one array, as programs of earlier versions read it: its last element is the result
        lines = [json_line("item", row.as_document()) for row in rows]
        echo(f"[{', '.join([*lines, json_line('result', {'count': len(rows), 'failed': 0})])}]")
    else:
        for line in _settings(loaded):
            echo(line)
    if loaded.bare_keys:
        keys = ", ".join(loaded.bare_keys)
        click.echo(f"Keys without METAFLOW_ in front count here, and Metaflow itself ignores them: {keys}", err=True)


def _settings(loaded: LoadedSettings) -> Iterator[str]:
    for row in loaded.shown:
        value = row.value if isinstance(row.value, str) else json.dumps(row.value)
        yield f"{row.setting:<22} {value:<28} {row.origin}"
        yield click.style(f"    {row.help} ({', '.join(row.environment)})", dim=True)
