"""What the workers of the catalog's cases do: environments made up in code, warmed, listed and looked up."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from asynccache.api import Session
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.model.package import split_filename
from asynccache.ops.environments import Environments

ARCH: Final = "linux-64"
LOOKUPS: Final = 200
Task = Callable[..., Awaitable[dict[str, float] | None]]


def prepare(name: str, settings: dict[str, Any], **arguments: Any) -> Callable[[], dict[str, float] | None]:
    """Return a task's work."""
    paths = {k: Path(v) for k, v in settings.items() if k in {"cache_dir", "datastore_root"}}
    chosen = Settings(**{**settings, **paths})

    def work() -> dict[str, float] | None:
        return asyncio.run(_run(TASKS[name], chosen, arguments))

    return work


async def _run(task: Task, settings: Settings, arguments: dict[str, Any]) -> dict[str, float] | None:
    async with Session(settings) as session:
        await session.open(writing=True)
        return await task(session, **arguments)


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


async def _warm(session: Session, packages: str, count: int, size: int, shared: int) -> dict[str, float]:
    entries = json.loads(await asyncio.to_thread(Path(packages).read_text, "utf-8"))
    environments = overlapping(entries, count, size, shared)
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


async def _fill_here(session: Session, count: int, size: int) -> dict[str, float]:
    catalog = Environments(session.settings, None)
    environments = numbered(count, size)
    await catalog.keep(environments, default=True)

    def name(manifest: Any) -> None:
        for number, environment in enumerate(environments):
            manifest.assign(Alias.parse(f"team/env{number}:v1"), (environment.id.req_id, environment.id.full_id))

    await asyncio.to_thread(catalog.manifest.update, name)
    return {"manifest_bytes": (await asyncio.to_thread(catalog.manifest.path.stat)).st_size}


async def _fill_store(session: Session, count: int, size: int) -> None:
    limit = asyncio.Semaphore(64)
    async with Engine(session.settings) as engine:
        keys = Environments(session.settings, engine.store).keys

        async def put(environment: ResolvedEnvironment) -> None:
            async with limit:
                await engine.store.put(keys.document(environment.id), environment.to_json(), if_absent=True)

        async with asyncio.TaskGroup() as group:
            for environment in numbered(count, size):
                group.create_task(put(environment))


async def _look_up(session: Session, count: int) -> dict[str, float]:
    seconds = []
    for number in range(LOOKUPS):
        wanted = f"team/env{number * 7919 % count}:v1"
        started = time.perf_counter()
        await session.find(wanted, arch=ARCH)
        seconds.append(time.perf_counter() - started)
    return {"first": seconds[0], "median": statistics.median(seconds), "most": max(seconds)}


async def _list(session: Session, *, remote: bool) -> dict[str, float]:
    before, started = session.store_requests, time.perf_counter()
    rows = [row async for row in session.list_environments(local=not remote, remote=remote)]
    return {
        "environments": len(rows),
        "run_wall": time.perf_counter() - started,
        "store_requests": session.store_requests - before,
    }


TASKS: Final[dict[str, Task]] = {
    "warm": _warm,
    "fill-manifest": _fill_here,
    "fill-store": _fill_store,
    "look-up": _look_up,
    "list": _list,
}
