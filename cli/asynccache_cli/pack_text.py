"""What is printed of packs."""

from __future__ import annotations

import click

from asynccache.hydrate.pack_find import Packed
from asynccache_cli.options import warn
from asynccache_cli.text import human_bytes


def say_packed(packed: Packed) -> None:
    """Print one pack, and warn of what the user should know."""
    for note in packed.notes:
        warn(note)
    what = f"packed {packed.files} files, {human_bytes(packed.raw_bytes)}" if packed.created else "is packed already"
    click.echo(f"{packed.id} for {packed.id.arch} {what}: {human_bytes(packed.size)} in {packed.seconds:.2f} s")
