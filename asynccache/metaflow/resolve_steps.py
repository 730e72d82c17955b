"""Resolving what the steps of a flow ask for: all at once, with one line that tells how it goes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ObjectNotFoundError
from asynccache.metaflow.errors import CondaException, CondaStepException
from asynccache.metaflow.requirements_of import StepAsk, wanted_of_step
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.package import parse_stem
from asynccache.ops.environments import Environments
from asynccache.ops.opening import Opening
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_known import look_up
from asynccache.ops.resolve_request import ResolveOptions, Wanted, grouped
from asynccache.ops.resolve_result import Row
from asynccache.resolve.assemble import Machine

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
    settings: Settings,
    asks: Sequence[StepAsk],
    datastore_type: str,
    *,
    echo: Any = None,
    force: bool = False,
    dry_run: bool = False,
    aliases: Sequence[str] = (),
) -> dict[str, Found]:
    """Resolve and cache the environments of steps.

    Args:
        settings: All settings.
        asks: What the steps ask for.
        datastore_type: Whose pins Metaflow needs.
        echo: Metaflow's function that prints; None to print nothing.
        force: Resolve although an environment is known.
        dry_run: Write nothing.
        aliases: Names to give to all of them.

    Returns:
        Step -> environment.

    Raises:
        AsyncCacheError: What failed.
        CondaException: A base environment is not there.
        CondaStepException: Several steps ask for what cannot be.
    """
    if not asks:
        return {}
    machine = Machine()
    named = any(asked.ask.base for asked in asks)
    async with opened_catalog(settings, remote=named) as catalog:
        wanted = await _wanted(asks, catalog, settings, datastore_type, machine)
    wanted = [replace(each, aliases=tuple(aliases)) for each in wanted]
    # what nodes need is packed where they are told of it
    options = ResolveOptions(force=force, dry_run=dry_run, cache=_caching(datastore_type), pack=False)
    total, unknown = await _count(settings, wanted, options)
    started = time.monotonic()
    if unknown and echo is not None:
        echo(_INDENT + _announcement(total, unknown), nl=False)
    say = _Later()
    try:
        resolved = await resolve(settings, wanted, options=options, say=say)
        resolved.raise_for_failures()
    except BaseException:
        if unknown and echo is not None:
            echo(" failed.")
        raise
    if unknown and echo is not None:
        echo(f" done in {round(time.monotonic() - started)} seconds.")
    if echo is not None:
        for line in [*say.lines, *resolved.notes]:
            echo(_INDENT + line)
    rows = iter(resolved.rows)
    found: dict[str, Found] = {}
    for asked, each in zip(asks, wanted, strict=True):
        for _arch in each.asked:
            row = next(rows)
            if row.environment is None:
                raise ObjectNotFoundError(
                    f"Step '{asked.step}': its environment has packages that must be built from source first",
                    hint="resolve without --dry-run",
                )
            found[asked.step] = Found(row.environment, row)
        missing = _lacking(found[asked.step], datastore_type) if each.lock is not None else []
        if missing and echo is not None:
            echo(
                f"{_INDENT}Step '{asked.step}': its lock has no {' and no '.join(missing)}, which Metaflow needs in a"
                f" step with datastore {datastore_type}: add it to the project and lock again."
            )
    if options.cache and not dry_run:
        await _publish_remote(settings, asks, found)
    return found


async def _wanted(
    asks: Sequence[StepAsk], catalog: Environments, settings: Settings, datastore_type: str, machine: Machine
) -> list[Wanted]:
    """Return the requests of steps; what is wrong with them is told for all of them."""
    wanted: list[Wanted] = []
    failed: dict[str, AsyncCacheError | CondaException] = {}
    for asked in asks:
        try:
            wanted.append(await wanted_of_step(asked, catalog, settings, datastore_type, machine))
        except (AsyncCacheError, CondaException) as exc:
            failed[asked.step] = exc
    if len(failed) > 1:
        raise CondaStepException("\n".join(f"step {step}: {error}" for step, error in failed.items()))
    if failed:
        raise next(iter(failed.values()))
    return wanted


def _lacking(found: Found, datastore_type: str) -> list[str]:
    """Return what Metaflow needs and a lock, to which nothing can be added, has not."""
    from asynccache.resolve.metaflow_pins import metaflow_pins, pypi_pins  # noqa: PLC0415 - only for locks

    names = {parse_stem(p.kind, p.filename).name.replace("_", "-").lower() for p in found.environment.packages}
    return [name for name in pypi_pins(metaflow_pins(datastore_type)) if name not in names]


async def known_of_step(settings: Settings, asked: StepAsk, datastore_type: str) -> EnvID:
    """Return the ids of a step's environment that was resolved before.

    Raises:
        ObjectNotFoundError: It was not.
    """
    async with opened_catalog(settings, remote=bool(asked.ask.base)) as catalog:
        wanted = await wanted_of_step(asked, catalog, settings, datastore_type, Machine())
    async with Opening(settings, writing=True) as opening:
        known = await look_up(grouped([wanted])[0], opening, local_only=False)
    if not known:
        raise ObjectNotFoundError("its environment is not resolved", hint="run `environment resolve` for it first")
    return next(iter(known.values())).environment.id


async def fetch_named(settings: Settings, name: str, arch: str) -> ResolvedEnvironment:
    """Return the environment of a name.

    Raises:
        ObjectNotFoundError: There is none.
    """
    async with opened_catalog(settings, remote=True) as catalog:
        return await catalog.find(name, arch)


@asynccontextmanager
async def opened_catalog(settings: Settings, *, remote: bool) -> AsyncIterator[Environments]:
    """Open what is known here, and in the store where names are to be looked up."""
    if not remote:
        yield Environments(settings, None)
        return
    from asynccache.store.open import open_store, store_options  # noqa: PLC0415 - most need no other store

    async with open_store(settings.root, store_options(settings)) as store:
        yield Environments(settings, store)


class _Later:
    """Keeps sentences until the line that is being written is complete."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, sentence: str) -> None:
        self.lines.append(sentence)


def _caching(datastore_type: str) -> bool:
    from metaflow import metaflow_config  # noqa: PLC0415 - this module is also used without it

    return datastore_type not in metaflow_config.CONDA_IGNORE_CACHING_DATASTORES


async def _count(settings: Settings, wanted: Sequence[Wanted], options: ResolveOptions) -> tuple[int, int]:
    """Return how many environments there are, and how many of them have to be resolved."""
    groups = grouped(wanted)
    if options.force:
        return len(groups), len(groups)
    async with Opening(settings, writing=True) as opening:
        known = [await look_up(group, opening, local_only=False) for group in groups]
    return len(groups), sum(len(found) < len(group.asked) for found, group in zip(known, groups, strict=True))


def _announcement(total: int, unknown: int) -> str:
    if unknown == total:
        return f"Resolving {total} environment{'s' if total > 1 else ''} ..."
    return f"Resolving {unknown} of {total} environments (others are cached) ..."


async def _publish_remote(settings: Settings, asks: Sequence[StepAsk], found: dict[str, Found]) -> None:
    """Make sure that what nodes will look for is in the store, also when it was known from elsewhere."""
    known = {
        found[a.step].environment.id: (a.step, found[a.step].environment)
        for a in asks
        if a.remote and found[a.step].row.known
    }
    if not known:
        return
    async with Opening(settings, writing=True) as opening:
        catalog = await opening.catalog()
        if catalog.documents is None:
            return
        missing = [pair for env_id, pair in known.items() if await catalog.documents.get(env_id) is None]
        if missing:
            from asynccache.ops.warm import Warm  # noqa: PLC0415 - only after a change of the store

            warm = Warm(await opening.engine(), catalog, to="remote", verify=False)
            (await warm.run(missing)).raise_for_failures()
