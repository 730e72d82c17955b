"""Resolving what the steps of a flow ask for: all at once, with one line of progress."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from asynccache.errors import AsyncCacheError, ObjectNotFoundError, PartialFailureError
from asynccache.metaflow.errors import CondaStepException
from asynccache.metaflow.requirements_of import StepAsk, inputs_of
from asynccache.metaflow.wording import in_metaflows_words

if TYPE_CHECKING:
    from asynccache.api import Known, Resolved, ResolvedEnvironment, Row, Session, Wanted
    from asynccache.metaflow.progress import Announcement
    from asynccache.model.identity import EnvID

_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Found:
    """The environment of a step.

    Attributes:
        environment: The environment.
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
    announced: Announcement,
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
        said: Messages of the session, printed when the line that is being written is complete.
        echo: As Metaflow's function that prints.
        announced: The line of progress.
        force: Resolve even if an environment is known.
        dry_run: Write nothing.
        aliases: Names to give to all of them.

    Returns:
        Step -> environment.

    Raises:
        AsyncCacheError: The store cannot be used.
        CondaStepException: What steps ask for cannot be obtained; names them.
    """
    from asynccache.api import ResolveOptions  # noqa: PLC0415 - where flows are launched
    from asynccache.api.flows import missing_pins  # noqa: PLC0415

    if not asks:
        return {}
    wanted = [replace(each, aliases=tuple(aliases)) for each in await read_steps(session, asks, datastore_type)]
    # what nodes need is packed by the module that writes their manifest
    options = ResolveOptions(force=force, dry_run=dry_run, cache=caching(datastore_type), pack=False)
    known = await session.known(*wanted)
    unknown = {each.group for each in known if force or each.environment is None}
    started = time.monotonic()
    if unknown:
        announced.begin(_announcement(len({each.group for each in known}), len(unknown)))
    try:
        resolved = await session.resolve(*wanted, options=options)
        _raise_for_failures(resolved)
    except BaseException:
        if unknown:
            announced.end("failed.")
        raise
    if unknown:
        announced.end(f"done in {round(time.monotonic() - started)} seconds.")
    for line in [*said, *resolved.notes]:
        echo(_INDENT + in_metaflows_words(line))
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
        with suppress(AsyncCacheError):  # users with read access only can launch flows all the same
            await session.use(*{each.environment.id: each.environment for each in found.values()}.values())
        await _publish_remote(session, asks, found)
    return found


async def read_steps(session: Session, asks: Sequence[StepAsk], datastore_type: str) -> list[Wanted]:
    """Return the requests of steps; what is wrong is reported for all of them.

    Raises:
        CondaStepException: What steps ask for cannot be.
    """
    try:
        return await session.read(*(inputs_of(asked, datastore_type) for asked in asks))
    except PartialFailureError as exc:
        raise of_steps(exc.errors.items()) from exc
    except AsyncCacheError as exc:
        raise of_steps([(asks[0].step, exc)]) from exc


def _raise_for_failures(resolved: Resolved) -> None:
    failed = [(row.name, error) for row in resolved.rows for error in row.errors.values()]
    if failed:
        raise of_steps(failed)


def of_steps(failed: Iterable[tuple[str, AsyncCacheError]]) -> CondaStepException:
    """Return the failures of steps, each distinct one once, with the steps that it concerns."""
    steps: dict[str, list[str]] = {}
    for step, error in failed:
        steps.setdefault(str(error), []).append(step)
    lines = []
    for text, names in steps.items():
        named = list(dict.fromkeys(names))
        lines.append(f"Step{'s' if len(named) > 1 else ''} {', '.join(map(repr, named))}: {text}")
    return CondaStepException(in_metaflows_words("\n".join(lines)))


async def known_of_step(session: Session, asked: StepAsk, datastore_type: str) -> EnvID:
    """Return the ids of a step's environment that was resolved before.

    Raises:
        CondaStepException: It was not.
    """
    known: list[Known] = await session.known(*await read_steps(session, [asked], datastore_type))
    environment = known[0].environment
    if environment is None:
        missing = ObjectNotFoundError("its environment is not resolved", hint="run `environment resolve` for it first")
        raise of_steps([(asked.step, missing)])
    return environment.id


def caching(datastore_type: str) -> bool:
    """Return whether what is resolved for flows with a datastore is cached."""
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
            ids = {environment.id for environment in missing}
            named = [step for step, each in found.items() if each.environment.id in ids]
            try:
                warmed.raise_for_failures()
            except AsyncCacheError as exc:
                raise of_steps((step, exc) for step in named) from exc
