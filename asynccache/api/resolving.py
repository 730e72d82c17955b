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
    """Operations on requirements."""

    async def read(self, *inputs: Inputs | StepInputs | str | PathLike[str], local_only: bool = False) -> list[Wanted]:
        """Read and identify requests, to be passed to `known` and `resolve`.

        Args:
            inputs: One for each environment: a file as `asynccache resolve` takes it, `Inputs`, or `StepInputs`.
            local_only: Look up environments given by name on this machine only.

        Raises:
            UsageError: A file is malformed, or options contradict each other.
            ObjectNotFoundError: No environment is known under a name.
            PartialFailureError: Several requests were given and some are invalid; the failures, by name.
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
        """Return what is known about requests, a row for each request and architecture; nothing is resolved.

        Args:
            wanted: As returned by `read`.
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
            A row for each environment and architecture, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: The environments or the options contradict each other.
        """
        from asynccache.ops.resolve_files import resolve_files  # noqa: PLC0415 - other verbs do without
        from asynccache.runtime.arenas import share_arenas  # noqa: PLC0415

        share_arenas()  # before the first thread
        given = _inputs(wanted)
        return await resolve_files(self._opening, given, options=options, emit=self._emit, say=self._say)

    async def published(self, *environments: ResolvedEnvironment) -> list[bool]:
        """Return, for each environment in order, whether its document is in the store.

        Args:
            environments: The environments.

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
        """Fetch what environments need into the store, onto this node, or both (see `asynccache warm`).

        Args:
            environments: The environments, or any names of them.
            arches: conda platforms of environments given by name; none for this machine's.
            to: `remote`, `local` or `both`; with `local` nothing is written to the store.
            verify: Read objects that were never verified from this machine.
            pack: Publish packs; None to do as the setting `pack` says.
            shard: (I, N): fetch the I-th of N ranges of the packages' keys, from 1. The last shard to finish publishes
                documents and packs.

        Returns:
            A row for each environment, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: A text is not a valid name, or no environment is given.
            ObjectNotFoundError: No environment is known under a name.
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
    """Return the inputs, with paths turned into `Inputs`."""
    from asynccache.ops.resolve_inputs import InputFile, Inputs  # noqa: PLC0415 - warming does without

    return [Inputs((InputFile(fspath(each)),)) if isinstance(each, str | PathLike) else each for each in given]
