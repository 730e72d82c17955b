"""Verbs on environments on disk: create."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened
from asynccache.model.platform import checked_architecture, current_architecture

if TYPE_CHECKING:
    from asynccache.hydrate.hydrate import Hydrated, HydrateOptions
    from asynccache.model.environment import ResolvedEnvironment


class HydratingVerbs(Opened):
    """What is done with environments on this machine."""

    async def create(
        self,
        environment: ResolvedEnvironment | str,
        prefix: str | PathLike[str] | None = None,
        *,
        arch: str | None = None,
        options: HydrateOptions | None = None,
    ) -> Hydrated:
        """Make an environment on disk, or find that it is there (see `asynccache create`).

        Args:
            environment: Which, or any name of it.
            prefix: Where; None for this machine's environments, under a name made of its ids.
            arch: conda platform of an environment that is named; None for this machine's.
            options: `HydrateOptions(force=..., link_scripts=..., bytecode=...)`.

        Returns:
            Its prefix, its interpreter, and what was done.

        Raises:
            ObjectNotFoundError: Nothing is known under the name.
            HydrationError: What is at `prefix` is not ours, or a package cannot be linked.
            FetchError: A package that no source has.
            IntegrityError: A package that all sources have wrong.
            DiskError: The disk is full or cannot be written.
        """
        from asynccache.hydrate.from_pack import from_pack  # noqa: PLC0415 - other verbs do without
        from asynccache.hydrate.hydrate import hydrate  # noqa: PLC0415
        from asynccache.hydrate.prefix import environment_name, environments_directory  # noqa: PLC0415

        engine = await self._opening.engine()
        if isinstance(environment, str):
            catalog = await self._opening.catalog()
            wanted = checked_architecture(arch) if arch else current_architecture()
            environment = await catalog.find(environment, wanted)
        default = environments_directory(self.settings) / environment_name(environment.id, "tmp")
        place = default if prefix is None else Path(prefix)
        return await hydrate(engine, environment, place, options=options, packed=from_pack)
