"""Verbs that turn requirements into environments and make them ready: read, known, resolve, published, warm."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING, TypeAlias

from asynccache.api.opened import Opened

if TYPE_CHECKING:
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.model.shard import Shard
    from asynccache.ops.resolve_inputs import Inputs
    from asynccache.ops.resolve_request import ResolveOptions, Wanted
    from asynccache.ops.resolve_result import Resolved
    from asynccache.ops.resolve_steps import Known, StepInputs
    from asynccache.ops.warm import Target
    from asynccache.ops.warm_environments import Warmed

    _Asked: TypeAlias = Inputs | StepInputs | Wanted


class ResolvingVerbs(Opened):
    """What is done with requirements."""

    async def read(self, *inputs: Inputs | StepInputs | str | PathLike[str], local_only: bool = False) -> list[Wanted]:
        """Return what is asked for, read and identified, to be given to `known` and `resolve`.

        Args:
            inputs: One for each environment: a file as `asynccache resolve` takes it, `Inputs`, or `StepInputs`.
            local_only: Look for environments that are named on this machine only.

        Raises:
            UsageError: A file is malformed, or options contradict each other.
            ObjectNotFoundError: No environment is known under a name.
            PartialFailureError: Of several, some are wrong; says what, by name.
        """
        from asynccache.errors import AsyncCacheError, raise_failures  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.resolve_files import read_inputs  # noqa: PLC0415
        from asynccache.ops.resolve_request import Wanted  # noqa: PLC0415

        given = _inputs(inputs)
        outcomes = await read_inputs(self._opening, given, local_only=local_only)
        failed = {
            each.name or str(number): outcome
            for number, (each, outcome) in enumerate(zip(given, outcomes, strict=True))
            if isinstance(outcome, AsyncCacheError)
        }
        raise_failures(f"{len(failed)} of {len(given)} requests are wrong", failed, asked=len(given))
        return [outcome for outcome in outcomes if isinstance(outcome, Wanted)]

    async def known(self, *wanted: Wanted, local_only: bool = False) -> list[Known]:
        """Return what is known of requests: a row for each and each of its architectures; nothing is resolved.

        Args:
            wanted: As `read` returns it.
            local_only: Look on this machine only.

        Raises:
            StoreError: The store cannot be used.
        """
        from asynccache.ops.resolve_steps import known_of  # noqa: PLC0415 - other verbs do without

        return await known_of(self._opening, wanted, local_only=local_only)

    async def resolve(
        self, *wanted: Inputs | StepInputs | Wanted | str | PathLike[str], options: ResolveOptions | None = None
    ) -> Resolved:
        """Resolve environments, all at once, and cache them (see `asynccache resolve`).

        Args:
            wanted: One for each environment: a file as `asynccache resolve` takes it, `Inputs`, `StepInputs`, or what
                `read` returned.
            options: `ResolveOptions(force=..., dry_run=..., cache=..., create=..., set_default=..., local_only=...)`.

        Returns:
            A row for each environment and architecture, failures in it: `raise_for_failures()` raises them.

        Raises:
            UsageError: The environments contradict each other, or the options.
        """
        from asynccache.ops.resolve_files import resolve_files  # noqa: PLC0415 - other verbs do without
        from asynccache.runtime.arenas import share_arenas  # noqa: PLC0415

        share_arenas()  # before the first thread
        given = _inputs(wanted)
        return await resolve_files(self._opening, given, options=options, emit=self._emit, say=self._say)

    async def published(self, *environments: ResolvedEnvironment) -> list[bool]:
        """Tell of environments, in their order, whether their documents are in the store.

        Args:
            environments: Which.

        Raises:
            StoreError: The store cannot be used.
        """
        from asynccache.runtime.tasks import run_together  # noqa: PLC0415 - other verbs do without

        documents = (await self._opening.catalog()).documents
        if documents is None:
            return [False for _each in environments]
        return [each is not None for each in await run_together([documents.get(e.id) for e in environments])]

    async def warm(
        self,
        *environments: ResolvedEnvironment | str,
        arches: Iterable[str] = (),
        to: Target = "both",
        verify: bool = True,
        pack: bool | None = None,
        shard: Shard | tuple[int, int] | None = None,
    ) -> Warmed:
        """Bring what environments need into the store, onto this node, or both (see `asynccache warm`).

        Args:
            environments: Which, or any names of them.
            arches: conda platforms of those that are named; none for this machine's.
            to: `remote`, `local` or `both`; with `local` nothing is written into a store that the settings name.
            verify: Read what was never verified from this machine.
            pack: Put packed environments into the store; None: as the setting of that name says.
            shard: (I, N): bring the I-th of N ranges of the packages' keys, from 1. Whoever comes last publishes
                documents and packs.

        Returns:
            A row for each environment, failures in it: `raise_for_failures()` raises them.

        Raises:
            UsageError: A text is no name, or nothing is named.
            ObjectNotFoundError: Nothing is known under a name.
            StoreError: The store cannot be used.
            DiskError: This machine's disk cannot be written.
        """
        from asynccache.model.shard import Shard  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.warm_environments import warm_environments  # noqa: PLC0415

        part = Shard.of(shard)
        return await warm_environments(
            self._opening, environments, tuple(arches), to=to, verify=verify, pack=pack, shard=part, emit=self._emit
        )


def _inputs(given: Iterable[_Asked | str | PathLike[str]]) -> list[_Asked]:
    """Return what is asked for, a path as `Inputs`."""
    from asynccache.ops.resolve_inputs import InputFile, Inputs  # noqa: PLC0415 - warming does without

    return [Inputs((InputFile(fspath(each)),)) if isinstance(each, str | PathLike) else each for each in given]
