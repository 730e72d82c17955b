"""`asynccache installer`: what bare nodes fetch before anything else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import click

from asynccache_cli.options import common_options, force_option, run_verb, show
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Published


@click.group("installer")
def command() -> None:
    """Publish what bare nodes fetch from the store first."""


@command.command("publish", short_help="Publish the engine with a Python of its own, for this architecture.")
@force_option
@common_options
def publish(*, force: bool) -> None:
    """Publish the bundle: nodes use it to create environments without a pack from their packages.

    It is published where CONDA_REMOTE_INSTALLER_DIRNAME and CONDA_REMOTE_INSTALLER say, with `{arch}` replaced, if they
    are set.
    """
    done = run_verb(lambda session: session.publish_engine(force=force))
    show(done, lambda done: [f"{done.key}: {human_bytes(done.size)}, sha256:{done.sha256}"])


@command.command("zstd", short_help="Publish wheels of a zstd decoder.")
@click.argument(
    "wheels", metavar="WHEEL...", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@common_options
def zstd(*, wheels: tuple[Path, ...]) -> None:
    """Publish wheels of backports.zstd or zstandard for nodes whose image has no zstd at all."""
    done = run_verb(lambda session: session.publish_decoders(*wheels))
    decoders = {tag: each.as_document() for tag, each in sorted(done.items())}
    show(Decoders(decoders=decoders), lambda _shown: _decoders(done))


class Decoders(TypedDict):
    """The decoders that are published now.

    Attributes:
        decoders: Python and architecture (`cp310-linux-64`) -> `key`, `size` in bytes and `sha256` of the wheel.
    """

    decoders: Mapping[str, Mapping[str, Any]]


def _decoders(done: Mapping[str, Published]) -> Iterator[str]:
    yield from (f"{tag}: {each.key}, sha256:{each.sha256}" for tag, each in sorted(done.items()))
