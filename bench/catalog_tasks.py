"""What the workers of the catalog's cases do: environments made up in code, warmed, listed and looked up."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from asynccache.api import Session
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.model.package import split_filename
from asynccache.ops.environments import Environments
from asynccache.runtime.tasks import run_together
from bench.task import Figures

ARCH: Final = "linux-64"
LOOKUPS: Final = 200


def overlapping(packages: Sequence[dict[str, Any]], count: int, size: int, shared: int) -> list[ResolvedEnvironment]:
    """Return environments of `size` packages of which the first `shared` are the same in all of them."""
    own = size - shared
    made = []
    for number in range(count):
        begin = shared + number * own
        chosen = [*packages[:shared], *packages[begin : begin + own]]
        found = tuple(_package(str(entry["url"]), str(entry["md5"])) for entry in chosen)
        made.append(_environment(number, found))
    return made


def numbered(count: int, size: int) -> list[ResolvedEnvironment]:
    """Return environments whose packages exist in name only."""
    base = [
        _package(f"https://conda.anaconda.org/conda-forge/linux-64/package-{n:03}-1.{n}-h{n:07}_0.conda", f"{n:032x}")
        for n in range(size)
    ]
    return [
        _environment(number, (*base[1:], replace(base[0], hashes={".conda": f"{number:032x}"})))
        for number in range(count)
    ]


def _package(url: str, md5: str) -> EnvironmentPackage:
    stem, fmt = split_filename(url.rsplit("/", 1)[-1])
    path = url.partition("://")[2]
    key = f"packages/conda/{path}/{stem}{fmt}/{md5}/{stem}{fmt}"
    cached = {str(fmt): key} if "anaconda" in url else {}
    return EnvironmentPackage("conda", stem, url, str(fmt), {str(fmt): md5}, cached)


def _environment(number: int, packages: tuple[EnvironmentPackage, ...]) -> ResolvedEnvironment:
    request = Request({"conda": [f"name-{number}==1", "python==3.11.*"]}, {"conda": ["conda-forge"]})
    when = datetime(2026, 1, 1) + timedelta(minutes=number)  # noqa: DTZ001 - documents carry local time
    unnamed = ResolvedEnvironment(
        EnvID(request.req_id, "0" * 40, ARCH), request, packages, when, f"user{number % 7}", (ARCH,), "conda-only"
    )
    return replace(unnamed, id=EnvID(request.req_id, unnamed.computed_full_id(), ARCH))


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Session]:
    """Open a session with its store: that is not measured."""
    async with Session(settings) as session:
        await session.open(writing=True)
        yield session


async def warm(settings: Settings, packages: Sequence[dict[str, Any]], count: int, size: int, shared: int) -> Figures:
    """Warm environments that share most of their packages into the store."""
    environments = overlapping(packages, count, size, shared)
    async with _opened(settings) as session:
        warmed = await session.warm(*environments, to="remote", pack=False)
        warmed.raise_for_failures()
        readiness = warmed.readiness
        return {
            "fetched": readiness.fetched_bytes,
            "distinct": readiness.distinct,
            "named": sum(row.packages for row in readiness.rows),
            "run_wall": readiness.seconds,
            "store_requests": session.store_requests,
        }


async def fill_manifest(settings: Settings, count: int, size: int) -> Figures:
    """Note many environments on this machine, each with a name."""
    catalog = Environments(settings, None)
    environments = numbered(count, size)
    await catalog.keep(environments, default=True)

    def name(manifest: Any) -> None:
        for number, environment in enumerate(environments):
            manifest.assign(Alias.parse(f"team/env{number}:v1"), (environment.id.req_id, environment.id.full_id))

    await asyncio.to_thread(catalog.manifest.update, name)
    return {"manifest_bytes": (await asyncio.to_thread(catalog.manifest.path.stat)).st_size}


async def fill_store(settings: Settings, count: int, size: int) -> None:
    """Write the documents of many environments into the store."""
    async with Engine(settings) as engine:
        keys = Environments(settings, engine.store).keys

        async def put(environment: ResolvedEnvironment) -> None:
            async with engine.budgets.uploads.borrow():
                await engine.store.put(keys.document(environment.id), environment.to_json(), if_absent=True)

        await run_together([put(environment) for environment in numbered(count, size)])


async def look_up(settings: Settings, count: int) -> Figures:
    """Find environments by name, one after the other."""
    seconds = []
    async with _opened(settings) as session:
        for number in range(LOOKUPS):
            wanted = f"team/env{number * 7919 % count}:v1"
            started = time.perf_counter()
            await session.find(wanted, arch=ARCH)
            seconds.append(time.perf_counter() - started)
    return {"first": seconds[0], "median": statistics.median(seconds), "most": max(seconds)}


async def list_all(settings: Settings, *, remote: bool) -> Figures:
    """List the environments of this machine, or those of the store."""
    async with _opened(settings) as session:
        before, started = session.store_requests, time.perf_counter()
        rows = [row async for row in session.list_environments(local=not remote, remote=remote)]
        return {
            "environments": len(rows),
            "run_wall": time.perf_counter() - started,
            "store_requests": session.store_requests - before,
        }
