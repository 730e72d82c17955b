"""What the workers of the cases about large stores do."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Coroutine

from asynccache.catalog.keys import CatalogKeys
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.package import Format
from asynccache.ops.audit import Auditor
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.collect import Collector
from asynccache.ops.collect_rules import Rules
from asynccache.ops.contents import totals
from asynccache.ops.report import report_on
from bench.generated_store import GeneratedStore
from bench.task import Figures, cpu_seconds


async def _stat(engine: Engine) -> int:
    return (await totals(engine.store, engine.host.settings.packages_dirname)).packages


async def _audit(engine: Engine) -> int:
    result = await Auditor(engine.host, engine.sources, print).run()
    result.raise_for_failures()
    return result.archives


async def _gc(engine: Engine) -> int:
    """Nothing is kept: all documents and archives are candidates, which is the most that can be held."""
    rules, dirname = Rules(unreferenced=True, also="*"), engine.host.settings.packages_dirname
    result = await Collector(engine.store, rules, CatalogKeys(engine.host.settings.envs_dirname), dirname).look()
    if result.marked.by_kind["package"].objects != result.archives:
        raise AssertionError("something was kept")
    return result.archives


async def _report(engine: Engine) -> int:
    """Nothing is kept: all of it is what `gc` would free."""
    rules, dirname = Rules(unreferenced=True, also="*"), engine.host.settings.packages_dirname
    keys = CatalogKeys(engine.host.settings.envs_dirname)
    collector = Collector(engine.store, rules, keys, dirname)
    found = await report_on(engine.store, rules, collector, keys, dirname, engine.store.timestamp())
    found.raise_for_failures()
    if found.garbage is None or found.garbage.by_kind["package"].objects != found.archives:
        raise AssertionError("something was kept")
    return found.archives


async def _backfill(engine: Engine) -> int:
    job = Backfill(engine, Selection(Format.CONDA))
    async for _todo in job.todo():
        pass
    return job.plan.todo


_TASKS: dict[str, Callable[[Engine], Coroutine[None, None, int]]] = {
    "stat": _stat,
    "audit": _audit,
    "backfill": _backfill,
    "gc": _gc,
    "report": _report,
}


async def on_a_store(settings: Settings, *, what: str, archives: int) -> Figures:
    """Do one task on a store of so many archives; seconds and requests for each thousand of them."""
    async with GeneratedStore(archives) as store, Engine(settings, store=store) as engine:
        cpu, began = cpu_seconds(), time.perf_counter()
        counted = await _TASKS[what](engine)
        if counted != archives:
            raise AssertionError(f"{counted} of {archives} archives")
        thousands = archives / 1000
        return {
            "cpu_each": (cpu_seconds() - cpu) / thousands,
            "wall_each": (time.perf_counter() - began) / thousands,
            "requests_each": store.requests / thousands,
            "peak_own": float(_peak()),
        }


def _peak() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
