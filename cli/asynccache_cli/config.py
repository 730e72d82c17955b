"""`asynccache config`."""

from __future__ import annotations

import json

import click

from asynccache_cli.options import json_option, settings_from


@click.command("config", short_help="Show every setting, its value and where it came from.")
@json_option
@click.pass_context
def command(ctx: click.Context, /, *, as_json: bool) -> None:
    """Show every setting, its value and where it came from.

    A setting is taken from the first of: a flag, the environment (ASYNCCACHE_NAME, then Metaflow's names), the
    configuration file, Metaflow's configuration files, its default. Values that are secrets are not shown.
    """
    loaded = settings_from(ctx)
    documents = loaded.as_document()
    if as_json:
        click.echo(json.dumps(documents))
    else:
        for document in documents:
            value = document["value"]
            shown = value if isinstance(value, str) else json.dumps(value)
            click.echo(f"{document['setting']:<22} {shown:<28} {document['origin']}")
            names = ", ".join(document["environment"])
            click.echo(click.style(f"    {document['help']} ({names})", dim=True))
    if loaded.bare_keys:
        keys = ", ".join(loaded.bare_keys)
        click.echo(f"Keys without METAFLOW_ in front count here, and Metaflow itself ignores them: {keys}", err=True)
