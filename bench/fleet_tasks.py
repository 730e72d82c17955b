"""What the workers of the case about fleets do."""

from __future__ import annotations

import asyncio
import random

from asynccache.config import Settings
from bench.fleet import Hydrate, environment, from_pack, from_packages, one_by_one, simulate
from bench.task import Figures

_WAYS: dict[str, tuple[Hydrate, bool]] = {
    "pack": (from_pack, True),
    "packages": (from_packages, True),
    "one by one": (one_by_one, False),
}


async def start(settings: Settings, *, way: str, nodes: int, tasks: int, each: int, scale: float) -> Figures:
    """Let a fleet start in virtual time (see `bench.fleet.simulate`)."""
    del settings
    hydrate, shared = _WAYS[way]
    wanted = environment(each, random.Random(1))
    outcome = await asyncio.to_thread(
        simulate, hydrate, wanted, nodes=nodes, tasks=tasks, shared=shared, scale=scale
    )  # fmt: skip
    return {
        "requests_each": outcome.requests_per_node,
        "requests_most": float(max(outcome.requests)),
        "p50": outcome.percentile(0.5),
        "p99": outcome.percentile(0.99),
        "failures": float(outcome.failures),
        "refused": float(outcome.refused),
    }
