"""Tasks on the engine: a whole run, and each of its stages alone with the same budgets.

A stage alone gets the engine's own parts (fetcher, transmuter, store) and lends from the same budgets, with nothing of
the other stages in its way: that is what a whole run is compared with.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

from asynccache.archive import transmute as transmute_archive
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.digest import Digests
from asynccache.model.package import KEY_ALGORITHM, Format, Package
from asynccache.runtime.tasks import run_together
from asynccache.store import layout
from bench.task import Figures, cpu_seconds

SAMPLE_SECONDS: Final = 0.005  # how often the event loop is asked for a sign of life
Entry = dict[str, Any]
"""Of a list of packages: url, md5, sha256, size, and the local path where the task wants one."""


def package_of(entry: Entry) -> Package:
    """Return the package of an entry."""
    return Package.from_url(entry["url"], Digests(md5=entry["md5"], sha256=entry["sha256"], size=entry["size"]))


async def cache(settings: Settings, packages: Sequence[Entry], *, to: str = ".conda") -> Figures:
    """Cache everything; the sampler records how long the loop was not free meanwhile."""
    lags: list[float] = []
    async with Engine(settings) as engine:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(_sample_lag(lags, stop))
            started, cpu = time.perf_counter(), cpu_seconds()
            report = await engine.cache([package_of(e) for e in packages], wanted=Format(to))
            wall, cpu = time.perf_counter() - started, cpu_seconds() - cpu
            stop.set()
        report.raise_for_failures()
        lags.sort()
        figures = {
            "run_wall": wall,
            "run_cpu": cpu,
            "store_requests": float(report.requests["store"]),
            "source_requests": float(report.requests["sources"]),
            "hits": float(report.hits),
            "uploaded_bytes": float(report.uploaded_bytes),
            "in_flight": float(engine.host.budgets.in_flight.peak),
            "lag_median": _quantile(lags, 0.5),
            "lag_99": _quantile(lags, 0.99),
            "lag_most": lags[-1],
            "lag_samples": float(len(lags)),
        }
        for phase, totals in report.phases.items():
            figures[f"{phase}_busy"] = totals.busy_seconds
            figures[f"{phase}_span"] = totals.span_seconds
        return figures


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def _sample_lag(lags: list[float], stop: asyncio.Event) -> None:
    while not stop.is_set() or not lags:
        started = time.perf_counter()
        await asyncio.sleep(SAMPLE_SECONDS)
        lags.append(max(0.0, time.perf_counter() - started - SAMPLE_SECONDS))


async def _all(packages: Sequence[Entry], one: Callable[[Entry], Coroutine[Any, Any, None]]) -> Figures:
    """Start with the largest, as the engine does."""
    started, cpu = time.perf_counter(), cpu_seconds()
    await run_together([one(entry) for entry in sorted(packages, key=lambda e: int(e["size"]), reverse=True)])
    return {"run_wall": time.perf_counter() - started, "run_cpu": cpu_seconds() - cpu}


async def fetch_only(settings: Settings, packages: Sequence[Entry]) -> Figures:
    """Fetch and verify everything."""
    async with Engine(settings) as engine:

        async def one(entry: Entry) -> None:
            package = package_of(entry)
            async with engine.host.budgets.in_flight.borrow():
                directory = await engine.host.threads.run(engine.host.workspace.prepare, package.url)
                await engine.sources.fetcher.fetch(package, directory / package.filename)

        return await _all(packages, one)


async def transmute_only(settings: Settings, packages: Sequence[Entry], *, to: str = ".conda") -> Figures:
    """Convert what is not in the wanted format yet; results go to `cache_dir`."""
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    async with Engine(settings) as engine:

        async def one(entry: Entry) -> None:
            source, package = Path(entry["path"]), package_of(entry)
            target = settings.cache_dir / (package.stem + to)
            level, verify = settings.zstd_level, settings.verify_transmute
            async with engine.host.budgets.in_flight.borrow(), engine.host.budgets.cpu.borrow_up_to(2) as cores:
                await engine.host.threads.work(
                    lambda stop: transmute_archive(
                        source, target, level=level, verify=verify, threads=cores, cancelled=stop
                    )
                )

        return await _all([e for e in packages if not e["path"].endswith(to)], one)


async def upload_only(settings: Settings, packages: Sequence[Entry]) -> Figures:
    """Publish files that are there, in their final form."""
    settings.cache_dir.mkdir(parents=True, exist_ok=True)
    copies = {}
    for entry in packages:  # the store may take the file itself, so each gets one that nothing else needs
        copies[entry["path"]] = shutil.copy(entry["path"], settings.cache_dir)
    async with Engine(settings) as engine:

        async def one(entry: Entry) -> None:
            package, path = package_of(entry), Path(copies[entry["path"]])
            key = layout.key_for(package, package.url_format, entry[KEY_ALGORITHM[package.kind]])
            async with (
                engine.host.budgets.uploads.borrow(),
                engine.host.budgets.memory.borrow(min(entry["size"], 32 << 20)),
            ):
                await engine.store.upload(key, path, package.digests, if_absent=True, consume=True)

        return await _all(packages, one)


async def put_filler(settings: Settings, packages: Sequence[Entry], *, copies: int) -> Figures:
    """Write small objects of packages that no run asks for, beside those of `packages`."""
    async with Engine(settings) as engine:

        async def one(entry: Entry) -> None:
            for number in range(copies):
                other = package_of({**entry, "url": entry["url"].replace("synthetic-", f"neighbour-{number}-")})
                await engine.store.put(layout.key_for(other, other.url_format, entry["md5"]), b"filler")

        return await _all(packages, one)
