"""What the command line does, for programs: one asynchronous function each.

    from asynccache import api

    resolved = await api.resolve("requirements.txt", api.Inputs((api.InputFile("gpu.yml"),), arches=("linux-64",)))
    resolved.raise_for_failures()
    for row in resolved.rows:
        print(row.name, row.arch, row.environment.id)

Settings come from the environment and the configuration files unless they are given. Nothing is printed; progress goes
to `emit`, notes stand in the results.
"""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike, fspath
from pathlib import Path

from asynccache.config import Settings, load_settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.report import Report
from asynccache.hydrate.from_pack import from_pack
from asynccache.hydrate.hydrate import Hydrated, HydrateOptions
from asynccache.hydrate.hydrate import hydrate as hydrated_at
from asynccache.hydrate.prefix import environment_name, environments_directory
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Format, Package
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.ops.environments import Environments
from asynccache.ops.resolve_files import resolve_files
from asynccache.ops.resolve_inputs import InputFile, Inputs
from asynccache.ops.resolve_request import ResolveOptions
from asynccache.ops.resolve_result import Resolved, Row
from asynccache.ops.warm import Readiness, Target, Warm

__all__ = [
    "HydrateOptions",
    "Hydrated",
    "InputFile",
    "Inputs",
    "ResolveOptions",
    "Resolved",
    "Row",
    "Settings",
    "cache",
    "hydrate",
    "resolve",
    "warm",
]


async def resolve(
    *wanted: Inputs | str | PathLike[str],
    options: ResolveOptions | None = None,
    settings: Settings | None = None,
    emit: events.EventSink = events.ignore,
) -> Resolved:
    """Resolve environments, all at once, and cache them (see `asynccache resolve`).

    Args:
        wanted: One for each environment: a file as `asynccache resolve` takes it, or `Inputs`.
        options: `ResolveOptions(force=..., dry_run=..., cache=..., set_default=..., local_only=...)`.
        settings: All settings.
        emit: Where events go.

    Returns:
        A row for each environment and architecture, failures in it: `raise_for_failures()` raises them.

    Raises:
        ConfigurationError: A setting has a wrong value.
        UsageError: The environments contradict each other, or the options.
    """
    inputs = [w if isinstance(w, Inputs) else Inputs((InputFile(fspath(w)),)) for w in wanted]
    return await resolve_files(settings or load_settings().settings, inputs, options=options, emit=emit)


async def hydrate(
    environment: ResolvedEnvironment | str,
    prefix: str | PathLike[str] | None = None,
    *,
    arch: str | None = None,
    options: HydrateOptions | None = None,
    settings: Settings | None = None,
    emit: events.EventSink = events.ignore,
) -> Hydrated:
    """Make an environment on disk, or find that it is there (see `asynccache create`).

    Args:
        environment: Which, or any name of it.
        prefix: Where; None for this machine's environments, under a name made of its ids.
        arch: conda platform of an environment that is named; None for this machine's.
        options: `HydrateOptions(force=..., link_scripts=..., bytecode=...)`.
        settings: All settings.
        emit: Where events go.

    Returns:
        Its prefix, its interpreter, and what was done.

    Raises:
        ObjectNotFoundError: Nothing is known under the name.
        HydrationError: What is at `prefix` is not ours, or a package cannot be linked.
        FetchError: A package that no source has.
        IntegrityError: A package that all sources have wrong.
        DiskError: The disk is full or cannot be written.
    """
    settings = settings or load_settings().settings
    async with Engine(settings, emit=emit) as engine:
        if isinstance(environment, str):
            catalog = Environments(settings, engine.store)
            environment = await catalog.find(
                environment, checked_architecture(arch) if arch else current_architecture()
            )
        default = environments_directory(settings) / environment_name(environment.id, "step")
        place = default if prefix is None else Path(prefix)
        return await hydrated_at(engine, environment, place, options=options, packed=from_pack)


async def warm(
    *names: str,
    arches: Iterable[str] = (),
    to: Target = "both",
    settings: Settings | None = None,
    emit: events.EventSink = events.ignore,
) -> Readiness:
    """Bring what environments need into the store, onto this node, or both (see `asynccache warm`; makes no packs).

    Args:
        names: Environments, by any name.
        arches: conda platforms; none for this machine's.
        to: `remote`, `local` or `both`.
        settings: All settings.
        emit: Where events go.

    Returns:
        A row for each environment, failures in it.

    Raises:
        ObjectNotFoundError: Nothing is known under a name.
        StoreError: The store cannot be used.
    """
    settings = settings or load_settings().settings
    chosen = [checked_architecture(arch) for arch in arches] or [current_architecture()]
    wanted = None if settings.preferred_format == "none" else Format(settings.preferred_format)
    async with Engine(settings, emit=emit) as engine:
        catalog = Environments(settings, engine.store)
        found = [(name, await catalog.find(name, arch)) for name in names for arch in chosen]
        return await Warm(engine, catalog, to=to, wanted=wanted).run(found)


async def cache(
    *urls: str,
    packages: Iterable[Package] = (),
    settings: Settings | None = None,
    emit: events.EventSink = events.ignore,
) -> Report:
    """Fetch packages, verify them and publish them in the store (see `asynccache cache`).

    Args:
        urls: Of packages, with a digest as fragment where it is known: `URL#MD5`, `URL#sha256=DIGEST`.
        packages: Further ones.
        settings: All settings; `preferred_format` says which form of conda packages is stored.
        emit: Where events go.

    Returns:
        The receipt, failures in it.

    Raises:
        UsageError: A URL is none of a package.
        StoreError: The store cannot be used.
    """
    settings = settings or load_settings().settings
    everything = [*map(Package.from_url, urls), *packages]
    wanted = None if settings.preferred_format == "none" else Format(settings.preferred_format)
    async with Engine(settings, emit=emit) as engine:
        return await engine.cache(everything, wanted=wanted)
