"""What the workers of the catalog's cases do: environments made up in code, warmed, listed and looked up."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

from asynccache.api import Session
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.alias import Alias
from asynccache.model.digest import Digests
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Package
from asynccache.ops.catalog import Catalog
from asynccache.runtime.tasks import run_together
from bench.engine_tasks import Entry, package_of
from bench.task import Figures
from tests.support.environments import environment_of

ARCH: Final = "linux-64"
LOOKUPS: Final = 200


def overlapping(packages: Sequence[Entry], count: int, size: int, shared: int) -> list[ResolvedEnvironment]:
    """Return environments of `size` packages of which the first `shared` are the same in all of them."""
    known, own = [package_of(entry) for entry in packages], size - shared
    begins = range(shared, shared + count * own, own)
    return [_numbered(number, [*known[:shared], *known[at : at + own]]) for number, at in enumerate(begins)]


def imaginary(count: int, size: int) -> Iterator[ResolvedEnvironment]:
    """Yield environments whose packages exist in name only, with keys in a store."""
    host = "conda.anaconda.org/conda-forge/linux-64"
    names = [f"package-{number:03}-1.{number}-h{number:07}_0.conda" for number in range(size)]
    for number in range(count):
        digests = [f"{number:032x}", *(f"{n:032x}" for n in range(count, count + size - 1))]
        known = [Package.from_url(f"https://{host}/{n}", Digests(md5=d)) for n, d in zip(names, digests, strict=True)]
        environment = _numbered(number, known)
        keys = [f"packages/conda/{host}/{n}/{d}/{n}" for n, d in zip(names, digests, strict=True)]
        recorded = [p.with_cached(".conda", key) for p, key in zip(environment.packages, keys, strict=True)]
        yield replace(environment, packages=tuple(recorded))


def _numbered(number: int, packages: Sequence[Package]) -> ResolvedEnvironment:
    user, day = f"user{number % 7}", 1 + number % 28
    return environment_of(packages, f"name-{number}==1", "python==3.11.*", arch=ARCH, by=user, day=day)


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Session]:
    """Open a session with its store: that is not measured."""
    async with Session(settings) as session:
        await session.open(writing=True)
        yield session


async def warm(settings: Settings, packages: Sequence[Entry], count: int, size: int, shared: int) -> Figures:
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
    catalog = Catalog(settings, None)
    environments = list(imaginary(count, size))
    await catalog.keep(environments, default=True)

    def name(manifest: Any) -> None:
        for number, environment in enumerate(environments):
            manifest.assign(Alias.parse(f"team/env{number}:v1"), (environment.id.req_id, environment.id.full_id))

    await asyncio.to_thread(catalog.manifest.update, name)
    return {"manifest_bytes": (await asyncio.to_thread(catalog.manifest.path.stat)).st_size}


async def fill_store(settings: Settings, count: int, size: int) -> None:
    """Write the documents of many environments into the store."""
    async with Engine(settings) as engine:
        keys = Catalog(settings, engine.store).keys

        async def put(environment: ResolvedEnvironment) -> None:
            async with engine.host.budgets.uploads.borrow():
                await engine.store.put(keys.document(environment.id), environment.to_json(), if_absent=True)

        await run_together([put(environment) for environment in imaginary(count, size)])


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
