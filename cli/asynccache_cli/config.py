"""`asynccache config`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from asynccache_cli.options import json_option, settings_from


@click.command("config", short_help="Show every setting, its value and where it came from.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool) -> None:
    """Show every setting, its value and where it came from.

    A setting is taken from the first of: a flag, the environment (ASYNCCACHE_NAME, then Metaflow's names), the
    configuration file, Metaflow's configuration file, its default. Values that are secrets are not shown.
    """
    loaded = settings_from(ctx)
    documents = []
    for item in dataclasses.fields(loaded.settings):
        value = getattr(loaded.settings, item.name)
        if isinstance(value, Path):
            value = str(value)
        if item.metadata["secret"] and value:
            value = "(set, not shown)"
        names = [f"ASYNCCACHE_{item.name.upper()}", *item.metadata["also"]]
        documents.append(
            {
                "setting": item.name,
                "value": value,
                "origin": str(loaded.origins[item.name]),
                "environment": names,
                "help": item.metadata["help"],
            }
        )
    if as_json:
        click.echo(json.dumps(documents))
        return
    for document in documents:
        shown = json.dumps(document["value"]) if not isinstance(document["value"], str) else document["value"]
        click.echo(f"{document['setting']:<22} {shown:<28} {document['origin']}")
        click.echo(click.style(f"    {document['help']} ({', '.join(document['environment'])})", dim=True))
