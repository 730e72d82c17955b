"""What is printed of packs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from asynccache_cli.options import warn
from asynccache_cli.text import human_bytes

if TYPE_CHECKING:
    from asynccache.api import Packed


def say_packed(packed: Packed) -> None:
    """Print one pack, and warn of what the user should know."""
    for note in packed.notes:
        warn(note)
    what = f"packed {packed.files} files, {human_bytes(packed.raw_bytes)}" if packed.created else "is packed already"
    click.echo(f"{packed.id} for {packed.id.arch} {what}: {human_bytes(packed.size)} in {packed.seconds:.2f} s")
