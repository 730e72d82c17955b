"""Resolving what the steps of a flow ask for: all at once, with one line that tells how it goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asynccache.errors import ObjectNotFoundError, PartialFailureError
from asynccache.metaflow.errors import CondaStepException
from asynccache.metaflow.requirements_of import StepAsk, inputs_of

if TYPE_CHECKING:
    from asynccache.api import Known, ResolvedEnvironment, Row, Session, Wanted
    from asynccache.model.identity import EnvID

_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Found:
    """The environment of a step.

    Attributes:
        environment: Which.
        row: How it was found.
    """

    environment: ResolvedEnvironment
    row: Row


async def resolve_steps(
    session: Session,
    asks: Sequence[StepAsk],
    datastore_type: str,
    said: Sequence[str],
    echo: Callable[..., None],
    *,
    force: bool = False,
    dry_run: bool = False,
    aliases: Sequence[str] = (),
) -> dict[str, Found]:
    """Resolve and cache the environments of steps.

    Args:
        session: May write.
        asks: What the steps ask for.
        datastore_type: Whose pins Metaflow needs.
        said: What the session tells, printed when the line that is being written is complete.
        echo: As Metaflow's function that prints.
        force: Resolve although an environment is known.
        dry_run: Write nothing.
        aliases: Names to give to all of them.

    Returns:
        Step -> environment.

    Raises:
        AsyncCacheError: What failed.
        CondaStepException: Several steps ask for what cannot be.
    """
    from asynccache.api import ResolveOptions  # noqa: PLC0415 - where flows are launched
    from asynccache.api.flows import missing_pins  # noqa: PLC0415

    if not asks:
        return {}
    wanted = [replace(each, aliases=tuple(aliases)) for each in await read_steps(session, asks, datastore_type)]
    # what nodes need is packed where they are told of it
    options = ResolveOptions(force=force, dry_run=dry_run, cache=caching(datastore_type), pack=False)
    known = await session.known(*wanted)
    unknown = {each.group for each in known if force or each.environment is None}
    started = time.monotonic()
    if unknown:
        echo(_INDENT + _announcement(len({each.group for each in known}), len(unknown)), nl=False)
    try:
        resolved = await session.resolve(*wanted, options=options)
        resolved.raise_for_failures()
    except BaseException:
        if unknown:
            echo(" failed.")
        raise
    if unknown:
        echo(f" done in {round(time.monotonic() - started)} seconds.")
    for line in [*said, *resolved.notes]:
        echo(_INDENT + line)
    found: dict[str, Found] = {}
    # a step has one architecture, so one row
    for asked, each, row in zip(asks, wanted, resolved.rows, strict=True):
        if row.environment is None:
            raise ObjectNotFoundError(
                f"Step '{asked.step}': its environment has packages that must be built from source first",
                hint="resolve without --dry-run",
            )
        found[asked.step] = Found(row.environment, row)
        missing = missing_pins(row.environment, datastore_type) if each.lock is not None else []
        if missing:
            echo(
                f"{_INDENT}Step '{asked.step}': its lock has no {' and no '.join(missing)}, which Metaflow needs in"
                f" a step with datastore {datastore_type}: add it to the project and lock again."
            )
    if options.cache and not dry_run:
        await _publish_remote(session, asks, found)
    return found


async def read_steps(session: Session, asks: Sequence[StepAsk], datastore_type: str) -> list[Wanted]:
    """Return the requests of steps; what is wrong with them is told for all of them.

    Raises:
        AsyncCacheError: What a step asks for cannot be.
        CondaStepException: What several ask for cannot be.
    """
    try:
        return await session.read(*(inputs_of(asked, datastore_type) for asked in asks))
    except PartialFailureError as exc:
        raise CondaStepException("\n".join(f"step {step}: {error}" for step, error in exc.errors.items())) from exc


async def known_of_step(session: Session, asked: StepAsk, datastore_type: str) -> EnvID:
    """Return the ids of a step's environment that was resolved before.

    Raises:
        ObjectNotFoundError: It was not.
    """
    known: list[Known] = await session.known(*await read_steps(session, [asked], datastore_type))
    environment = known[0].environment
    if environment is None:
        raise ObjectNotFoundError("its environment is not resolved", hint="run `environment resolve` for it first")
    return environment.id


def caching(datastore_type: str) -> bool:
    """Tell whether what is resolved for flows with a datastore is cached."""
    from metaflow import metaflow_config  # noqa: PLC0415 - this module is also used without it

    return datastore_type not in metaflow_config.CONDA_IGNORE_CACHING_DATASTORES


def _announcement(total: int, unknown: int) -> str:
    if unknown == total:
        return f"Resolving {total} environment{'s' if total > 1 else ''} ..."
    return f"Resolving {unknown} of {total} environments (others are cached) ..."


async def _publish_remote(session: Session, asks: Sequence[StepAsk], found: Mapping[str, Found]) -> None:
    """Make sure that what nodes will look for is in the store, also when it was known from elsewhere."""
    steps = [found[asked.step] for asked in asks if asked.remote and found[asked.step].row.known]
    known = list({each.environment.id: each.environment for each in steps}.values())
    if known:
        there = await session.published(*known)
        missing = [environment for environment, stored in zip(known, there, strict=True) if not stored]
        if missing:
            warmed = await session.warm(*missing, to="remote", verify=False, pack=False)
            warmed.raise_for_failures()
