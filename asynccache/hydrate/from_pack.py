"""Deciding whether to hydrate from a pack or from packages: pass `from_pack` to `hydrate`."""

from __future__ import annotations

from pathlib import Path

from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.hydrate.packages import NodePackages
from asynccache.model.environment import ResolvedEnvironment


async def from_pack(
    host: Host, sources: Sources, environment: ResolvedEnvironment, building: Path, prefix: str
) -> bool:
    """Fill a directory from an environment's pack, unless this node has all its packages: linking them writes less.

    Returns:
        Whether that was done; otherwise packages have to be linked.

    Raises:
        HydrationError: The prefix is too long for the pack's files, or the disk is too small.
        StoreError: The store cannot be asked for a pack.
    """
    if await NodePackages(host, sources).has_all(environment.packages):
        return False
    from asynccache.hydrate.unpack import unpack_environment  # noqa: PLC0415 - not needed to link packages

    return await unpack_environment(host, sources, environment, building, prefix)
