"""Verbs that publish what nodes fetch first: pack, supply_nodes, publish_engine, publish_decoders."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened

if TYPE_CHECKING:
    from asynccache.hydrate.pack_find import Packed
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.ops.installer import Published
    from asynccache.ops.node_supplies import NodeSupplies


class PackingVerbs(Opened):
    """Publishing for nodes."""

    async def pack(
        self,
        *environments: ResolvedEnvironment | str,
        arches: Iterable[str] = (),
        force: bool = False,
        level: int | None = None,
    ) -> list[Packed]:
        """Put packed environments into the store, one after the other: packing one uses all cores.

        Args:
            environments: The environments, or any names of them.
            arches: conda platforms of environments given by name; none for this machine's.
            force: Build a pack even if one exists.
            level: zstd level, from 1 to 22; None for the default.

        Raises:
            UsageError: A text is not a valid name.
            ObjectNotFoundError: No environment is known under a name.
            FetchError: No source has a package.
            HydrationError: A package cannot be linked with the placeholder.
            DiskError: The disk is full or cannot be written.
            StoreError: The store cannot be written.
        """
        from asynccache.hydrate.pack import LEVEL, pack  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.digests import publish_digests  # noqa: PLC0415
        from asynccache.ops.vouching import trusted  # noqa: PLC0415

        chosen = tuple(arches) or (None,)
        engine = await self._opening.engine(writing=True)
        found: list[ResolvedEnvironment] = []
        for each in environments:
            found += [await self._opening.find(each, a) for a in chosen] if isinstance(each, str) else [each]
        found = [await trusted(self.settings, each) for each in found]
        packs = [
            await pack(engine.host, engine.sources, each, force=force, level=LEVEL if level is None else level)
            for each in found
        ]
        await publish_digests(engine.host, engine.sources, found, packs=packs)
        return packs

    async def supply_nodes(self, *environments: ResolvedEnvironment, arches: Iterable[str] = ()) -> NodeSupplies:
        """Publish what nodes need to run environments: packs, and an engine for nodes that cannot use one.

        Args:
            environments: The environments that nodes run.
            arches: conda platforms of nodes that look up their environment by name.

        Raises:
            ConfigurationError: Nodes would have neither a pack nor an engine that this machine vouches for.
            StoreError: The store cannot be used.
        """
        from asynccache.ops.node_supplies import NodeSupplies, supply_nodes  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.vouching import trusted  # noqa: PLC0415

        looking = tuple(arches)
        if not environments and not looking:
            return NodeSupplies()
        vouched = [await trusted(self.settings, environment) for environment in environments]
        engine = await self._opening.engine()
        return await supply_nodes(engine.host, engine.sources, vouched, looking)

    async def publish_engine(self, *, force: bool = False) -> Published:
        """Publish this Python with the engine where nodes of this architecture find it, or where the settings say.

        Args:
            force: Build it again even if one exists.

        Raises:
            DiskError: It cannot be built on the local disk.
            StoreError: The store cannot be written.
        """
        from asynccache.ops.installer import publish_bundle  # noqa: PLC0415 - other verbs do without

        engine = await self._opening.engine(writing=True)
        return await publish_bundle(engine.host, engine.store, force=force, configured=True)

    async def publish_decoders(self, *wheels: str | PathLike[str]) -> dict[str, Published]:
        """Publish wheels of a zstd decoder where nodes whose Python has none find them.

        Args:
            wheels: Paths of wheels of `backports.zstd` or `zstandard`, for any Python and machine.

        Returns:
            All wheels that are now published, by Python and architecture: `cp310-linux-64`.

        Raises:
            UsageError: A file is not such a wheel.
            StoreError: The store cannot be written.
        """
        from asynccache.ops.installer import publish_zstd_wheels  # noqa: PLC0415 - other verbs do without

        engine = await self._opening.engine(writing=True)
        return await publish_zstd_wheels(engine.host, engine.store, [Path(wheel) for wheel in wheels])
