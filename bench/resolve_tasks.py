"""What the workers of the resolving cases do: requests solved without caching, together or one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asynccache.config import Settings
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_request import ResolveOptions, Wanted
from asynccache.resolve.assemble import Machine, assemble
from asynccache.resolve.requirements import Requirements


def prepare(
    requests: Mapping[str, Sequence[str]], settings: dict[str, Any], *, apart: bool = False
) -> Callable[[], dict[str, float]]:
    """Return a task's work.

    Args:
        requests: Name -> conda packages; Python 3.12 comes with all of them.
        settings: As `Settings` takes them.
        apart: One after the other, instead of all at once.
    """
    chosen = Settings(**{**settings, "cache_dir": Path(settings["cache_dir"])})
    machine = Machine(detected=(), pip_entries=())
    wanted = [
        Wanted(
            name,
            assemble(
                Requirements.of({"conda": dict.fromkeys(packages, "")}),
                arches=["linux-64"],
                settings=chosen,
                datastore=None,
                python="3.12.*",
                machine=machine,
            ),
        )
        for name, packages in requests.items()
    ]
    options = ResolveOptions(force=True, dry_run=True)

    async def together() -> dict[str, float]:
        started = time.perf_counter()
        resolved = await resolve(chosen, wanted, options=options)
        resolved.raise_for_failures()
        return {
            "run_wall": time.perf_counter() - started,
            "packages": sum(len(environment.packages) for environment in resolved.environments),
        }

    async def one_by_one() -> dict[str, float]:
        seconds = []
        for each in wanted:
            started = time.perf_counter()
            (await resolve(chosen, [each], options=options)).raise_for_failures()
            seconds.append(time.perf_counter() - started)
        return {"run_wall": sum(seconds), "slowest": max(seconds)}

    def work() -> dict[str, float]:
        return asyncio.run(one_by_one() if apart else together())

    return work
