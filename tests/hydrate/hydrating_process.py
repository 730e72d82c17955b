"""Hydrates in a process of its own, or kills such processes at random moments.

    python -m tests.hydrate.hydrating_process create STORE CACHE DOCUMENT PREFIX
    python -m tests.hydrate.hydrating_process killed STORE DIRECTORY DOCUMENT KILLS SEED

`create` prints one JSON line: what `hydrate` returned and the bytes that were fetched. `killed` forks children from a
process that has imported everything, so that most of a child's life is the work itself, and prints what it found left
over or broken.
"""

import asyncio
import json
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.engine.events import Event, Fetched, LockWaited
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.hydrated import Hydrated
from asynccache.hydrate.prefix import read_marker
from asynccache.model.environment import ResolvedEnvironment
from asynccache.ops.naming import read_document

KILLS_A_PREFIX = 5  # later kills fall into later parts of the work
AIMS = ("starting", "extracting", "linking")  # from when on the moment is random: else short stages are never met


async def create(store: str, cache: Path, environment: ResolvedEnvironment, prefix: Path) -> dict[str, object]:
    """Hydrate; return what is printed."""
    events: list[Event] = []
    async with Engine(Settings(store=store, cache_dir=cache), emit=events.append) as engine:
        done: Hydrated = await hydrate(engine.host, engine.sources, environment, prefix)
    fetched = sum(e.bytes for e in events if isinstance(e, Fetched))
    waited = [e.holder for e in events if isinstance(e, LockWaited) and str(prefix) in e.package]
    return {**done.as_document(), "fetched": fetched, "holders": waited}


def listing(prefix: Path) -> list[str]:
    """Return every path of a tree with what tells a whole one from a broken one."""
    found = []
    for path in sorted(prefix.rglob("*")):
        status = path.lstat()
        size = "" if path.is_dir() or path.parent.name == "conda-meta" or path.suffix == ".pyc" else status.st_size
        if "__pycache__" not in path.parts:
            found.append(f"{path.relative_to(prefix)} {status.st_mode:o} {size}")
    return found


def _killed(store: str, directory: Path, environment: ResolvedEnvironment, kills: int, seed: str) -> dict[str, object]:
    source, hit, broken, stages = random.Random(seed), 0, list[str](), Counter[str]()
    reference = directory / "whole" / "env"
    import aiohttp  # noqa: F401 - what children import lazily is there

    started = time.monotonic()
    broken += _ended(_forked(store, directory / "whole" / "cache", environment, reference))
    whole = time.monotonic() - started
    expected = listing(reference)
    number = on_this = 0
    while hit < kills and number < 5 * kills:
        place = directory / f"{number:04}"  # as long as `whole` is not: files hold their prefix
        prefix = place.with_name(f"k{number:04}") / "env"
        pid = _forked(store, place / "cache", environment, prefix)
        _wait(prefix, AIMS[hit % len(AIMS)], source.uniform(0, whole))
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            hit, on_this = hit + 1, on_this + 1
            stages[_stage(prefix)] += 1
        elif status:
            broken.append(f"a run ended with status {status}")
        else:
            whole *= 0.7  # it was slower when it was measured
        if read_marker(prefix) is not None and listing(prefix) != expected:
            broken.append(f"{prefix} has a marker and is not whole")
        if done or on_this == KILLS_A_PREFIX:
            broken += _ended(_forked(store, place / "cache", environment, prefix))
            if listing(prefix) != expected:
                broken.append(f"{prefix} is not whole: {set(listing(prefix)) ^ set(expected)}")
            for where in (prefix.parent, place / "cache" / "work", place / "cache" / "locks"):
                left = [p.name for p in where.iterdir() if p.name != "env"]
                broken += [f"{where} holds {name}" for name in left]
            shutil.rmtree(place)
            shutil.rmtree(prefix.parent)
            number, on_this = number + 1, 0
    return {"hit": hit, "prefixes": number, "seconds": whole, "stages": stages, "broken": broken}


def _wait(prefix: Path, aim: str, seconds: float) -> None:
    """Wait until a stage is reached, at most ten seconds, and then for a part of `seconds` that shrinks with it."""
    ends = time.monotonic() + 10
    while aim != "starting" and _stage(prefix) in AIMS[: AIMS.index(aim)] and time.monotonic() < ends:
        time.sleep(0.005)
    time.sleep(seconds / (1 if aim == "starting" else 10))


def _forked(store: str, cache: Path, environment: ResolvedEnvironment, prefix: Path) -> int:
    """Hydrate in a child. The parent never does: the threads that this starts would be missing in later children."""
    pid = os.fork()
    if not pid:
        try:
            asyncio.run(create(store, cache, environment, prefix))
        except BaseException as exc:  # noqa: BLE001 - nothing of the parent may run in the child
            print(exc, file=sys.stderr)  # noqa: T201 - shown when the test fails
            os._exit(1)
        os._exit(0)
    return pid


def _ended(pid: int) -> list[str]:
    status = os.waitpid(pid, 0)[1]
    return [f"a run ended with status {status}"] if status else []


def _stage(prefix: Path) -> str:
    """Tell how far a killed process had come."""
    if prefix.exists():
        return "complete" if read_marker(prefix) is not None else "in place"
    building = next(prefix.parent.glob(".env.asynccache-*"), None) if prefix.parent.exists() else None
    if building is None:
        return "starting"
    try:
        return "linking" if len(list(building.iterdir())) > 1 else "extracting"
    except FileNotFoundError:
        return "in place"


def main() -> None:
    """Do what the arguments say."""
    mode, store, directory, document, *rest = sys.argv[1:]
    environment = read_document(Path(document), None)
    if mode == "create":
        result = asyncio.run(create(store, Path(directory), environment, Path(rest[0])))
    else:
        result = _killed(store, Path(directory), environment, int(rest[0]), rest[1])
    print(json.dumps(result))  # noqa: T201 - its result


if __name__ == "__main__":
    main()
