"""Collecting in a local store beside processes that make environments out of it, with everything else that may happen.

    python -m tests.collecting.run --steps 10000 --seed 1

Each step is one that `tests/ops/test_collect_stateful.py` may take; time passes by a clock that is moved by hand. Four
processes make environments that are named or leased all the time, again and again, each in a new directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final

from asynccache.api import Session, Settings
from asynccache.catalog.leases import Lease
from asynccache.errors import AsyncCacheError
from asynccache.ops.leasing import write_lease
from asynccache.store import journal
from asynccache.store.base import Condition, ObjectInfo, same_version
from asynccache.store.local import LocalStore
from tests.support.collecting import ENVIRONMENTS, NAMES, WatchedStore, World, all_at_once, environment, ids

HYDRATING: Final = 4
KEPT: Final = (0, 2)  # environments that are named and leased all the time; both for Linux
_DEEDS: Final = ("publish", "name", "deploy", "launch", "hydrate", "rewrite")
_WHAT: Final = (
    *_DEEDS, "publish", "others", "unname", "unname", "undeploy", "wait", "wait", "collect", "sweep", "sweep", "sweep"
)  # fmt: skip
_SHARDS: Final = (1, 1, 2, 3)  # that collect at once
_TOTALS_EVERY: Final = 500  # steps between two lines that say how far it is
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


class WatchedLocal(LocalStore, WatchedStore):
    """A directory whose objects are as old as a clock says that is moved by hand."""

    def __init__(self, root: Path) -> None:
        self.watch()
        super().__init__(root)

    def timestamp(self) -> float:
        """See `Store.timestamp`."""
        self.time += 2.0  # whoever names waits for the claim of a killed sweep by looking again and again
        return self.time

    def contents(self) -> dict[str, ObjectInfo]:
        """Return everything but the journal, which grows with every step and says nothing of what must stay."""
        found = {}
        root = str(self.root.directory)
        for directory, names, files in os.walk(root):
            below = directory[len(root) + 1 :]
            names[:] = [
                name for name in names if f"{below}/{name}/" != journal.PREFIX and not (below or name).startswith(".")
            ]
            for file in files:
                key = f"{below}/{file}"
                with suppress(FileNotFoundError):  # a thread of the sweep has just removed it
                    status = os.stat(f"{directory}/{file}")  # noqa: PTH116 - some hundred thousand of them
                    found[key] = ObjectInfo(key, status.st_size, None, status.st_mtime)
        return found

    def data(self, key: str) -> bytes:
        """Return an object."""
        return (self.root.directory / key).read_bytes()

    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        await super()._put(key, data, condition)
        os.utime(self.root.directory / key, (self.time, self.time))
        info = await self.head(key)
        assert info is not None
        return info

    async def _delete_same(self, key: str, known: ObjectInfo | None) -> bool:
        await self.before_removal()
        there = await self.head(key)
        if there is not None and (known is None or same_version(there, known)):
            self.removing(key)
        return await super()._delete_same(key, known)


def hydrate(store: str, directory: Path, until: Path) -> None:
    """Make environments again and again until a file is there; print how many, and what went wrong."""
    os.nice(10)  # who collects is to come to its steps, however few processors there are
    made, wrong = 0, list[str]()
    while not until.exists():
        number = KEPT[made % len(KEPT)]
        with tempfile.TemporaryDirectory(dir=directory) as name:

            async def one(number: int = number, name: str = name) -> None:
                settings = Settings(store=store, cache_dir=Path(name, "cache"), username="node")
                async with Session(settings) as session:
                    await session.create(":".join(ids(number)), Path(name, "made"), arch=environment(number).id.arch)

            try:
                asyncio.run(one())
            except Exception as exc:  # noqa: BLE001 - whatever it is must not be
                wrong.append(f"{type(exc).__name__}: {exc}")
        made += 1
    sys.stdout.write(json.dumps({"made": made, "wrong": wrong}))


async def keep(world: World) -> None:
    """Publish, name and lease what is made all the time."""
    for number in KEPT:
        await world.publish(number)
        await world.name(number, f"kept/env{number}:v1")
        lease = Lease.new(world.store, "kept", f"flow{number}", [environment(number).id])
        await write_lease(world.store, world.keys, lease)


async def step(world: World, chance: random.Random, taken: Counter[str]) -> None:
    """Let something happen."""
    what = chance.choice(_WHAT)
    taken[what] += 1
    number, name = chance.randrange(ENVIRONMENTS), chance.choice(NAMES)
    if what == "name":
        await world.name(number, name)
    elif what in _DEEDS:
        await getattr(world, what)(number)
    elif what == "others":
        await world.publish_as_others(number)
    elif what == "unname":
        await world.unname(name)
    elif what == "undeploy":
        await world.undeploy()
    elif what == "wait":
        world.store.time += chance.choice([60, _HOUR, 3 * _HOUR, 20 * _DAY, 31 * _DAY])
    else:
        if what == "sweep":
            if chance.random() < 0.5:
                await world.undeploy()
                for each in NAMES:
                    await world.unname(each)
            world.store.time += 31 * _DAY
            await all_at_once(world, world.collecting(chance.choice(_SHARDS)))
            world.store.time += 2 * _HOUR
        world.store.chance = random.Random(chance.random())
        deeds = [chance.choice(_DEEDS) for _ in range(chance.randrange(4))]
        others = [
            world.name(chance.randrange(ENVIRONMENTS), name)
            if deed == "name"
            else getattr(world, deed)(chance.randrange(ENVIRONMENTS))
            for deed in deeds
        ]
        shards, kill_at = chance.choice(_SHARDS), chance.choice([None, None, 0, 3])
        await all_at_once(world, [*world.collecting(shards, kill_at), *others])
    world.check()


async def run(directory: Path, steps: int, seed: int, seconds: float = math.inf) -> dict[str, object]:
    """Take so many steps, fewer when the time is up; return what they were and what must not be."""
    taken: Counter[str] = Counter()
    stop, began = directory / "stop", time.monotonic()
    async with WatchedLocal(directory / "store") as store:
        world = World.new(directory / "here", store)
        await keep(world)
        command = [sys.executable, "-m", "tests.collecting.run", "--hydrate", str(directory / "store"), str(stop)]
        nodes = [
            subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: ASYNC220 - nobody else waits here
            for _ in range(HYDRATING)
        ]
        chance = random.Random(seed)
        wrong: list[str] = []
        try:
            while taken.total() < steps and time.monotonic() - began < seconds:
                await step(world, chance, taken)
                if taken.total() % _TOTALS_EVERY == 0:
                    sys.stderr.write(f"{taken.total()} steps, {time.monotonic() - began:.0f} s\n")
        except (AssertionError, ExceptionGroup) as exc:
            wrong.append(f"after {taken.total()} steps: {exc!r}")
        except AsyncCacheError as exc:
            wrong.append(f"after {taken.total()} steps: {exc!r} {getattr(exc, 'errors', '')!r}")
        finally:
            stop.touch()
            said = [json.loads(node.communicate(timeout=300)[0]) for node in nodes]
    wrong += [text for each in said for text in each["wrong"]]
    removed = Counter(key.split("/", 1)[0] + ("/document" if key.endswith("/env") else "") for key in world.removed)
    return {
        "steps": taken.total(),
        "taken": taken,
        "removed": removed,
        "made": sum(each["made"] for each in said),
        "seconds": round(time.monotonic() - began),
        "wrong": wrong,
    }


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="end then, with fewer steps")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hydrate", nargs=2, help=argparse.SUPPRESS)
    said = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="asynccache-collecting-") as name:
        if said.hydrate:
            hydrate(said.hydrate[0], Path(name), Path(said.hydrate[1]))
            return 0
        found = asyncio.run(run(Path(name), said.steps, said.seed, said.seconds))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 1 if found["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
