"""What the workers of the resolving cases do: requests solved without caching, together or one after the other."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from asynccache.config import Settings
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_request import ResolveOptions, Wanted
from asynccache.resolve.requests.assemble import Machine, assemble
from asynccache.resolve.requests.requirements import Requirements
from bench.task import Figures


async def solve(settings: Settings, requests: Mapping[str, Sequence[str]], *, apart: bool = False) -> Figures:
    """Resolve requests without caching anything.

    Args:
        settings: Name the index.
        requests: Name -> conda packages; Python 3.12 comes with all of them.
        apart: One after the other, instead of all at once.
    """
    machine = Machine(detected=(), pip_entries=())
    wanted = [
        Wanted(
            name,
            assemble(
                Requirements.of({"conda": dict.fromkeys(packages, "")}),
                arches=["linux-64"],
                settings=settings,
                datastore=None,
                python="3.12.*",
                machine=machine,
            ),
        )
        for name, packages in requests.items()
    ]
    options = ResolveOptions(dry_run=True)  # `force` would read the index again
    seconds, packages_found = [], 0
    for each in [[one] for one in wanted] if apart else [wanted]:
        started = time.perf_counter()
        resolved = await resolve(settings, each, options=options)
        resolved.raise_for_failures()
        seconds.append(time.perf_counter() - started)
        packages_found += sum(len(environment.packages) for environment in resolved.environments)
    slowest = {"slowest": max(seconds)} if apart else {}
    return {"run_wall": sum(seconds), "packages": packages_found, **slowest}
