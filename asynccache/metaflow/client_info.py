"""What Metaflow's client says of the environment that a task ran in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from asynccache.errors import AsyncCacheError
from asynccache.metaflow.launch_settings import launch_settings
from asynccache.metaflow.loop_thread import LoopThread

_SECONDS = 60.0


def client_info(ids: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return identity, requirements and packages of an environment, as plain values.

    Args:
        ids: (req_id, full_id, arch).
        metadata: Fields of the task.
    """
    info: dict[str, Any] = {"type": "conda", "req_id": ids[0], "full_id": ids[1], "arch": ids[2]}
    loop = LoopThread()
    try:
        settings = launch_settings(metadata.get("ds-type", "local")).settings
        name = f"{ids[0]}:{ids[1]}"
        environment = loop.verb(settings, lambda s: asyncio.wait_for(s.find(name, arch=ids[2]), _SECONDS))
    except (AsyncCacheError, TimeoutError) as exc:
        return {**info, "error": str(exc)}
    finally:
        loop.close()
    from asynccache.model.package import parse_stem  # noqa: PLC0415 - as what was just asked

    names = [(p.kind, parse_stem(p.kind, p.filename)) for p in environment.packages]
    return {
        **info,
        "resolved_on": environment.resolved_on.isoformat(),
        "resolved_by": environment.resolved_by,
        "requested": {category: list(values) for category, values in environment.request.deps.items()},
        "packages": {kind: {n.name: n.version for k, n in names if k == kind} for kind in ("conda", "pypi")},
    }
