"""`metaflow environment` and its short form `metaflow env` (contract, section 6.1)."""

from __future__ import annotations

from metaflow._vendor import click


@click.group()
def cli() -> None:
    """Commands of the extension."""


@click.group()
def short_cli() -> None:
    """The same under a shorter name."""


@cli.group(help="Commands on environments.")
def environment() -> None:  # noqa: D103 - click shows the help above
    pass


short_cli.add_command(environment, "env")
