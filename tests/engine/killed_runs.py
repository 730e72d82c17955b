"""Kills a caching process at random moments, again and again, and looks at what it left each time.

    python -m tests.engine.killed_runs STORE CACHE URLS.json KILLS SEED

Children are forked from a process that has imported everything, so that most of a child's life is the run itself.
Prints one JSON line: kills that hit a running child, stores that were filled meanwhile, what was found damaged.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.package import Format, Package
from tests.support.stores import damaged_in

KILLS_A_STORE = 5  # later kills fall into later parts of the run


async def _run(store: str, cache: Path, urls: list[str]) -> None:
    async with Engine(Settings(store=store, cache_dir=cache)) as engine:
        report = await engine.cache([Package.from_url(u) for u in urls], wanted=Format.CONDA)
        report.raise_for_failures()


def _child(store: str, cache: Path, urls: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        asyncio.run(_run(store, cache, urls))
        code = 0
    finally:
        os._exit(code)


def main() -> None:
    store, directory, list_file, kills, seed = sys.argv[1:]
    cache = Path(directory)
    urls = json.loads(Path(list_file).read_text())
    source, hit, damaged = random.Random(seed), 0, list[str]()
    asyncio.run(_run(store + "-warm", cache / "warm", urls[:2]))  # imports what is imported lazily
    started = time.monotonic()
    asyncio.run(_run(store + "-whole", cache / "whole", urls))
    whole = time.monotonic() - started
    number = on_this_store = 0
    while hit < int(kills) and number < 5 * int(kills):
        root = f"{store}-{number}"
        pid = _child(root, cache, urls)
        time.sleep(source.uniform(0, whole))
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            hit, on_this_store = hit + 1, on_this_store + 1
        elif status:
            raise SystemExit(f"a run ended with status {status}")
        else:
            whole *= 0.7  # it was slower when it was measured
        damaged += damaged_in(Path(root))
        if done or on_this_store == KILLS_A_STORE:
            asyncio.run(_run(root, cache, urls))
            damaged += damaged_in(Path(root))
            number, on_this_store = number + 1, 0
    asyncio.run(_run(f"{store}-{number}", cache, urls))
    print(json.dumps({"hit": hit, "stores": number + 1, "damaged": damaged}))  # noqa: T201 - its result


if __name__ == "__main__":
    main()
