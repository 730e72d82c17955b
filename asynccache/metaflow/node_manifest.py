"""What nodes are told of a flow's environments; packs are made for those that run elsewhere."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ConfigurationError
from asynccache.model.environment import ResolvedEnvironment

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
        AsyncCacheError: A pack cannot be made or stored.
    """
    from asynccache.engine.engine import store_root  # noqa: PLC0415 - not for flows that run here

    root = store_root(settings)
    document: dict[str, object] = {
        "version": 1,
        "root": root,
        "endpoint_url": settings.s3_endpoint_url,
        "envs_dirname": settings.envs_dirname,
        "lock_timeout": settings.lock_timeout,
        "steps": {step: [each.id.req_id, each.id.full_id] for step, each in by_step.items()},
    }
    environments = {each.id: each for each in by_step.values()}
    if not environments:
        return document
    if getattr(settings, "pack", "auto") != "never":
        document["packs"] = await _packs(settings, list(environments.values()), echo)
    return document


async def _packs(
    settings: Settings, environments: list[ResolvedEnvironment], echo: Any
) -> dict[str, dict[str, object]]:
    from asynccache.engine.engine import Engine  # noqa: PLC0415 - not for flows that run here
    from asynccache.hydrate.pack import pack  # noqa: PLC0415

    started = time.monotonic()
    async with Engine(settings) as engine, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_packed(pack, engine, each)) for each in environments]
    packs: dict[str, dict[str, object]] = {}
    made = 0
    for environment, task in zip(environments, running, strict=True):
        done = task.result()
        if isinstance(done, AsyncCacheError):
            raise ConfigurationError(
                f"{environment.id} cannot be packed for nodes: {done}", hint="set CONDA_PACK=never to do without"
            ) from done
        made += bool(done.created)
        key = f"{environment.id.req_id}:{environment.id.full_id}:{environment.id.arch}"
        packs[key] = {"key": done.key, "size": done.size, "digest": done.digest}
        for note in done.notes[:3] if echo is not None and done.created else ():
            echo(_INDENT + note)
    if made and echo is not None:
        seconds = round(time.monotonic() - started)
        echo(f"{_INDENT}Packing {made} environment{'s' if made > 1 else ''} for nodes ... done in {seconds} seconds.")
    return packs


async def _packed(pack: Any, engine: Any, environment: ResolvedEnvironment) -> Any:
    try:
        return await pack(engine, environment)
    except AsyncCacheError as exc:
        return exc


def as_json(document: Mapping[str, object]) -> str:
    """Return a manifest's text, the same for the same content."""
    return json.dumps(document, sort_keys=True)
