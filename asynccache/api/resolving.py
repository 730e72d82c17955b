"""Verbs that turn requirements into environments and make them ready: resolve, warm."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.resolve_inputs import InputFile, Inputs

if TYPE_CHECKING:
    from asynccache.ops.resolve_request import ResolveOptions
    from asynccache.ops.resolve_result import Resolved
    from asynccache.ops.warm import Readiness, Target


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

        inputs = [w if isinstance(w, Inputs) else Inputs((InputFile(fspath(w)),)) for w in wanted]
        return await resolve_files(self.settings, inputs, options=options, emit=self._emit, say=self._say)

    async def warm(self, *names: str, arches: Iterable[str] = (), to: Target = "both") -> Readiness:
        """Bring what environments need into the store, onto this node, or both (see `asynccache warm`).

        Args:
            names: Environments, by any name.
            arches: conda platforms; none for this machine's.
            to: `remote`, `local` or `both`.

        Returns:
            A row for each environment, failures in it.

        Raises:
            ObjectNotFoundError: Nothing is known under a name.
            StoreError: The store cannot be used.
        """
        from asynccache.ops.warm import Warm  # noqa: PLC0415 - other verbs do without

        chosen = [checked_architecture(arch) for arch in arches] or [current_architecture()]
        wanted = self.settings.wanted_format
        catalog = await self._opening.catalog()
        found = [(name, await catalog.find(name, arch)) for name in names for arch in chosen]
        return await Warm(await self._opening.engine(), catalog, to=to, wanted=wanted).run(found)
