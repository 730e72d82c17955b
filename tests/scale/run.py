"""A backfill of many packages on SeaweedFS, killed again and again, each time resumed with another working directory.

    python -m tests.scale.run --packages 20000 --kills 20 --seed 1

Says what it took and what must not be: something missed, something done twice beyond what was in flight, memory that
grows with the number of packages. Then four shards list the store, and the requests and keys are counted.
"""

from __future__ import annotations

import argparse
import asyncio
import bz2
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from asynccache.api import Format, Session, Settings, Shard
from asynccache.model.root import StoreRoot
from asynccache.ops.backfill import Selection
from asynccache.ops.shards import make_plan, range_of
from asynccache.runtime.clock import Clock
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.options import StoreOptions
from asynccache.store.s3 import S3Store
from tests.support.command_line import ASYNCCACHE
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.object_servers import ObjectServer, weed_server

CHANNEL: Final = "packages/conda/conda.example.org/ch/noarch"
IN_FLIGHT: Final = 16
SHARDS: Final = 4
MOST_MEMORY: Final = 200 << 20  # bytes
_RUN: Final = "scale"
_PUTS: Final = 24  # at once
_PAGE: Final = 1000  # keys


@dataclass(slots=True)
class Result:
    """What it took.

    Attributes:
        packages: How many the store has.
        kills: Of a running process.
        seconds: Of all processes together.
        memory: Peak resident size of each process that did something, in bytes, in order.
        transmuted: How often a package was begun to be transmuted.
        uploaded: Archives that were uploaded.
        uploaded_twice: Of these, archives that somebody had uploaded before.
        complete: Packages that have both formats in the end.
        report: What the journals say in the end.
        plan_requests: Listings that dividing among four shards took.
        plan_keys: Keys that they gave.
        shard_requests: Listings of each shard.
        shard_keys: Keys that each took.
        wrong: What must not be.
    """

    packages: int
    kills: int = 0
    seconds: float = 0.0
    memory: list[int] = field(default_factory=list)
    transmuted: int = 0
    uploaded: int = 0
    uploaded_twice: int = 0
    complete: int = 0
    report: dict[str, object] = field(default_factory=dict)
    plan_requests: int = 0
    plan_keys: int = 0
    shard_requests: list[int] = field(default_factory=list)
    shard_keys: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


async def fill(root: StoreRoot, packages: int, directory: Path) -> None:
    """Write so many small packages into a store, as .tar.bz2."""
    room = asyncio.Semaphore(_PUTS)
    metadata = Metadata(name="p00000", version="1", build="0", noarch="generic")
    (path,) = write_package(directory, metadata, [Member("a", b"a")], [Format.TAR_BZ2])
    tar = bz2.decompress(path.read_bytes())

    def made(number: int) -> tuple[str, bytes]:
        name = f"p{number:05}"
        return f"{name}-1-0.tar.bz2", bz2.compress(tar.replace(b"p00000", name.encode()), 1)

    async with S3Store(root, StoreOptions(connections=_PUTS)) as store, asyncio.TaskGroup() as group:

        async def put(name: str, data: bytes) -> None:
            digest = hashlib.md5(data).hexdigest()
            try:
                await store.put(f"{CHANNEL}/{name}/{name}/{digest}/{name}", data)
            finally:
                room.release()

        for number in range(packages):
            await room.acquire()
            name, data = await asyncio.to_thread(made, number)
            group.create_task(put(name, data))


def backfill(
    server: ObjectServer, root: str, directory: Path, *, packages: int, kills: int, source: random.Random
) -> Result:
    """Backfill a store whose process is killed so often; the next one has another working directory."""
    result = Result(packages)
    words = ["backfill", "--to", ".conda", "--store", root, "--s3-endpoint-url", server.url, "--run-id", _RUN, "--json"]
    transmuted, uploaded = Counter[str](), Counter[str]()
    started = time.monotonic()
    number = 0
    while True:
        home = directory / f"home{number}"
        home.mkdir()
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "XDG_"))}
        environ |= {"HOME": str(home), "ASYNCCACHE_IN_FLIGHT": str(IN_FLIGHT), **server.environment}
        with (directory / "errors").open("wb") as errors:
            process = subprocess.Popen([ASYNCCACHE, *words], stdout=subprocess.PIPE, stderr=errors, env=environ)
        assert process.stdout is not None
        peak = [0]
        watching = threading.Thread(target=_watch, args=(process, peak))
        watching.start()
        most = max(1, 2 * packages // (kills + 1) - IN_FLIGHT)
        left = source.randint(1, most) if result.kills < kills else None  # packages until it is killed
        for line in process.stdout:
            event = json.loads(line)
            if event.get("event") == "PhaseStarted" and event["phase"] == "transmute":
                transmuted[event["package"]] += 1
            elif event.get("event") == "Uploaded":
                uploaded[event["key"]] += bool(event["created"])
            elif event.get("event") == "PackageDone" and left is not None:
                left -= 1
                if left == 0:
                    process.kill()
                    result.kills += 1
        process.stdout.close()
        code = process.wait()
        watching.join()
        result.memory.append(peak[0])
        shutil.rmtree(home)
        number += 1
        if code >= 0:
            break
    result.seconds = time.monotonic() - started
    if code:
        result.wrong.append(f"the last run ended with {code}: {(directory / 'errors').read_text()[-500:]}")
    result.transmuted = sum(transmuted.values())
    result.uploaded = sum(count > 0 for key, count in uploaded.items())
    result.uploaded_twice = sum(count > 1 for count in uploaded.values())
    return result


def _watch(process: subprocess.Popen[bytes], peak: list[int]) -> None:
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text("ascii")
        except OSError:
            break
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                peak[0] = max(peak[0], int(line.split()[1]) << 10)
        time.sleep(0.05)


class _Counted:
    """Counts the listings of a store."""

    def __init__(self, store: Store) -> None:
        self.requests = self.keys = 0
        self._list = store.list_page
        store.list_page = self._page  # type: ignore[method-assign]

    async def _page(self, prefix: str, *, start_after: str = "", limit: int = _PAGE) -> list[ObjectInfo]:
        page = await self._list(prefix, start_after=start_after, limit=limit)
        self.requests += 1
        self.keys += len(page)
        return page


async def list_in_shards(root: StoreRoot, result: Result) -> list[str]:
    """Plan four shards, let each list its part, and count; return all keys that they took."""
    division = Selection(Format.CONDA, None, Shard(1, SHARDS), "listing").division("packages")
    taken: list[str] = []
    async with S3Store(root) as store:
        counted = _Counted(store)
        await make_plan(store, division)
        result.plan_requests, result.plan_keys = counted.requests, counted.keys
        for index in range(1, SHARDS + 1):
            keys = await range_of(store, division, Shard(index, SHARDS), Clock())
            before, had = counted.requests, len(taken)
            taken += [info.key async for info in keys.scan(store, division.prefix)]
            result.shard_requests.append(counted.requests - before)
            result.shard_keys.append(len(taken) - had)
    return taken


def judge(result: Result, keys: list[str]) -> None:
    """Find out what must not be."""
    packages, wrong = result.packages, result.wrong
    if result.complete != packages:
        wrong.append(f"{packages - result.complete} packages were missed")
    done = {name: result.report.get(name) for name in ("packages", "failed", "complete")}
    if done != {"packages": packages, "failed": 0, "complete": True}:
        wrong.append(f"the report does not add up: {result.report}")
    in_flight = result.kills * IN_FLIGHT
    if result.transmuted > packages + in_flight:
        wrong.append(f"{result.transmuted - packages} packages were done twice, {in_flight} were in flight at kills")
    if result.uploaded_twice:
        wrong.append(f"{result.uploaded_twice} archives were uploaded twice")
    if max(result.memory) > MOST_MEMORY:
        wrong.append(f"a process had {max(result.memory) >> 20} MiB")
    if len(keys) != len(set(keys)) or len(keys) != 2 * packages:
        wrong.append(f"four shards took {len(keys)} keys, {len(set(keys))} of them different, of {2 * packages}")
    most = -(-2 * packages // _PAGE) + SHARDS
    if sum(result.shard_requests) > most:
        wrong.append(f"four shards took {sum(result.shard_requests)} listings, {most} are enough")


@asynccontextmanager
async def _session(server: ObjectServer, root: str, directory: Path) -> AsyncIterator[Session]:
    async with Session(Settings(store=root, s3_endpoint_url=server.url, cache_dir=directory / "looking")) as session:
        yield session


async def run(server: ObjectServer, root: str, directory: Path, *, packages: int, kills: int, seed: int) -> Result:
    """Do all of it; variables of the process must let AWS clients find the server's credentials."""
    place = StoreRoot.parse(root, endpoint=server.url)
    started = time.monotonic()
    await fill(place, packages, directory)
    print(f"{packages} packages written in {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201
    source = random.Random(seed)
    killed = partial(backfill, server, root, directory, packages=packages, kills=kills, source=source)
    result = await asyncio.to_thread(killed)
    async with _session(server, root, directory) as session:
        result.report = (await session.backfill_run(".conda", run_id=_RUN)).as_document()
        result.complete = (await session.stat()).both_forms
    judge(result, await list_in_shards(place, result))
    return result


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale.run", description="Backfill many packages.")
    parser.add_argument("--packages", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scale-") as directory, weed_server() as server:
        os.environ.update(server.environment)
        root = f"s3://{server.create_bucket('scale')}/conda_env"
        result = asyncio.run(
            run(
                server, root, Path(directory),
                packages=arguments.packages, kills=arguments.kills, seed=arguments.seed,
            )
        )  # fmt: skip
    for name, value in asdict(result).items():
        print(f"{name:>15}: {value}")  # noqa: T201 - its result
    sys.exit(bool(result.wrong) or result.kills < arguments.kills)


if __name__ == "__main__":
    main()
