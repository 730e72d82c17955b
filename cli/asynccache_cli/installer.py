"""`asynccache installer`: what bare nodes fetch before anything else."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asynccache_cli.options import json_option, run_verb, store_options
from asynccache_cli.text import human_bytes


@click.group("installer", short_help="Publish what bare nodes need.")
def command() -> None:
    """Publish what bare nodes fetch from the store before anything else is there."""


@command.command("publish", short_help="Publish the engine with a Python of its own, for this architecture.")
@click.option("--force/--no-force", default=False, help="Make it anew although there is one.")
@store_options
@json_option
@click.pass_context
def publish(ctx: click.Context, /, *, force: bool, as_json: bool, **flags: object) -> None:
    """Publish the bundle: nodes use it to make environments that have no pack from their packages.

    It goes where CONDA_REMOTE_INSTALLER_DIRNAME and CONDA_REMOTE_INSTALLER say, `{arch}` replaced, if they are set.
    """
    done = run_verb(ctx, flags, lambda session: session.publish_engine(force=force))
    click.echo(
        json.dumps(done.as_document()) if as_json else f"{done.key}: {human_bytes(done.size)}, sha256:{done.sha256}"
    )


@command.command("zstd", short_help="Publish wheels of a zstd decoder.")
@click.argument(
    "wheels", metavar="WHEEL...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@store_options
@json_option
@click.pass_context
def zstd(ctx: click.Context, /, *, wheels: tuple[Path, ...], as_json: bool, **flags: object) -> None:
    """Publish wheels of backports.zstd or zstandard for nodes whose image has no zstd at all."""
    done = run_verb(ctx, flags, lambda session: session.publish_decoders(*wheels))
    if as_json:
        click.echo(json.dumps({tag: each.as_document() for tag, each in done.items()}))
        return
    for tag, each in sorted(done.items()):
        click.echo(f"{tag}: {each.key}, sha256:{each.sha256}")
