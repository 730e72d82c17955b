"""Verbs that turn requirements into environments and make them ready: resolve, warm."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened

if TYPE_CHECKING:
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.ops.resolve_inputs import Inputs
    from asynccache.ops.resolve_request import ResolveOptions
    from asynccache.ops.resolve_result import Resolved
    from asynccache.ops.warm import Target
    from asynccache.ops.warm_environments import Warmed


class ResolvingVerbs(Opened):
    """What is done with requirements."""

    async def resolve(self, *wanted: Inputs | str | PathLike[str], options: ResolveOptions | None = None) -> Resolved:
        """Resolve environments, all at once, and cache them (see `asynccache resolve`).

        Args:
            wanted: One for each environment: a file as `asynccache resolve` takes it, or `Inputs`.
            options: `ResolveOptions(force=..., dry_run=..., cache=..., set_default=..., local_only=...)`.

        Returns:
            A row for each environment and architecture, failures in it: `raise_for_failures()` raises them.

        Raises:
            UsageError: The environments contradict each other, or the options.
        """
        from asynccache.ops.resolve_files import resolve_files  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.resolve_inputs import InputFile, Inputs  # noqa: PLC0415

        inputs = [w if isinstance(w, Inputs) else Inputs((InputFile(fspath(w)),)) for w in wanted]
        return await resolve_files(self.settings, inputs, options=options, emit=self._emit, say=self._say)

    async def warm(
        self,
        *environments: ResolvedEnvironment | str,
        arches: Iterable[str] = (),
        to: Target = "both",
        verify: bool = True,
        pack: bool | None = None,
    ) -> Warmed:
        """Bring what environments need into the store, onto this node, or both (see `asynccache warm`).

        Args:
            environments: Which, or any names of them.
            arches: conda platforms of those that are named; none for this machine's.
            to: `remote`, `local` or `both`; with `local` nothing is written into a store that the settings name.
            verify: Read what was never verified from this machine.
            pack: Put packed environments into the store; None: as the setting of that name says.

        Returns:
            A row for each environment, failures in it: `raise_for_failures()` raises them.

        Raises:
            UsageError: A text is no name, or nothing is named.
            ObjectNotFoundError: Nothing is known under a name.
            StoreError: The store cannot be used.
            DiskError: This machine's disk cannot be written.
        """
        from asynccache.ops.warm_environments import warm_environments  # noqa: PLC0415 - other verbs do without

        warmed = await warm_environments(
            self._opening, environments, tuple(arches), to=to, verify=verify, pack=pack, emit=self._emit
        )
        for environment in warmed.environments:
            self._doubt(environment)
        return warmed
