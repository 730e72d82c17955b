"""What nodes are told of a flow's environments; packs are made for those that run elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ConfigurationError
from asynccache.model.environment import ResolvedEnvironment

if TYPE_CHECKING:
    from asynccache.engine.engine import Engine
    from asynccache.hydrate.pack_find import Packed

_INDENT = "    "


async def node_manifest(
    settings: Settings, by_step: Mapping[str, ResolvedEnvironment], *, echo: Any = None
) -> dict[str, object]:
    """Return the manifest of the steps that run elsewhere (format: `asynccache.boot.manifest`).

    Args:
        settings: All settings.
        by_step: Step -> environment.
        echo: Metaflow's function that prints.

    Raises:
        AsyncCacheError: Nodes would have neither packs nor an engine.
    """
    document: dict[str, object] = {
        "version": 1,
        "root": str(settings.root),
        "endpoint_url": settings.s3_endpoint_url,
        "envs_dirname": settings.envs_dirname,
        "lock_timeout": settings.lock_timeout,
        "steps": {step: [each.id.req_id, each.id.full_id] for step, each in by_step.items()},
    }
    environments = {each.id: each for each in by_step.values()}
    if not environments:
        return document
    packed = settings.pack != "never"
    packs, bundles = await _published(settings, list(environments.values()), echo, packed=packed)
    return {**document, "packs": packs, "bundles": bundles}


async def _published(
    settings: Settings, environments: list[ResolvedEnvironment], echo: Any, *, packed: bool
) -> tuple[dict[str, dict[str, object]], dict[str, dict[str, object]]]:
    """Return what there is of packs and of the engine's bundles, making what is missing; both by what they are for."""
    from asynccache.engine.engine import Engine  # noqa: PLC0415 - not for flows that run here
    from asynccache.hydrate.pack import pack  # noqa: PLC0415
    from asynccache.runtime.tasks import outcome_of, run_together, run_works  # noqa: PLC0415

    started = time.monotonic()
    wanted = environments if packed else []
    outcomes: list[Packed | AsyncCacheError] = []
    engines: dict[str, dict[str, object]] | AsyncCacheError = {}

    async def pack_all() -> None:
        outcomes.extend(await run_works(wanted, lambda each: pack(engine, each)))

    async def bundle() -> None:
        nonlocal engines
        engines = await outcome_of(_bundles(engine, {each.id.arch for each in environments}, echo))

    async with Engine(settings) as engine:
        await run_together([pack_all(), bundle()])
    packs: dict[str, dict[str, object]] = {}
    made = 0
    for environment, done in zip(wanted, outcomes, strict=True):
        if isinstance(done, AsyncCacheError):
            if isinstance(engines, AsyncCacheError) or environment.id.arch not in engines:
                raise ConfigurationError(
                    f"{environment.id} cannot be packed for nodes, which have no engine either: {done}",
                    hint="mend what it says, or publish an engine with `asynccache installer publish`",
                ) from done
            if echo is not None:
                echo(f"{_INDENT}{environment.id} cannot be packed, so nodes make it from packages: {done}")
            continue
        made += bool(done.created)
        key = f"{environment.id.req_id}:{environment.id.full_id}:{environment.id.arch}"
        packs[key] = {"key": done.key, "size": done.size, "digest": done.digest}
        for note in done.notes[:3] if echo is not None and done.created else ():
            echo(_INDENT + note)
    if made and echo is not None:
        seconds = round(time.monotonic() - started)
        echo(f"{_INDENT}Packing {made} environment{'s' if made > 1 else ''} for nodes ... done in {seconds} seconds.")
    if isinstance(engines, AsyncCacheError):
        if not packed:
            raise engines
        if echo is not None:
            echo(f"{_INDENT}Nodes could not make environments from packages if a pack were damaged: {engines}")
        return packs, {}
    return packs, engines


async def _bundles(engine: Engine, arches: set[str], echo: Any) -> dict[str, dict[str, object]]:
    """Return the engine for nodes that cannot take a pack: as configured, else published once for each root."""
    from asynccache.model.platform import current_architecture  # noqa: PLC0415 - not for flows that run here
    from asynccache.ops.installer import configured_bundle, configured_key, publish_bundle  # noqa: PLC0415

    bundles: dict[str, dict[str, object]] = {}
    for arch in sorted(arches):
        found = await configured_bundle(engine, arch)
        if found is not None:
            bundles[arch] = found.as_document()
            continue
        key = configured_key(engine.settings, arch)
        if key is not None and echo is not None:
            echo(
                f"{_INDENT}CONDA_REMOTE_INSTALLER names {key}, which is no bundle of asynccache: it is not used."
                " `asynccache installer publish` puts one there."
            )
        if arch == current_architecture():  # the one for another architecture is published there
            bundles[arch] = (await publish_bundle(engine)).as_document()
    return bundles


def as_json(document: Mapping[str, object]) -> str:
    """Return a manifest's text, the same for the same content."""
    return json.dumps(document, sort_keys=True)
