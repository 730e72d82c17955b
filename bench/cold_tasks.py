"""What the workers of the case from requirements to a running Python do, on a machine and a store that have nothing."""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.engine import events
from bench.task import Figures, Work

_LEFT_OUT: Final = ("feature-",)


def inputs(out: str, *, quick: bool) -> None:
    """Write where the tests' channel is, and what to ask of it."""
    from tests.support.channel import cached_channel  # noqa: PLC0415 - the measured processes need none of it

    channel = cached_channel("small" if quick else "full")
    names = sorted({p.name for p in channel.packages if not p.name.startswith(_LEFT_OUT)})
    Path(out, "inputs.json").write_text(json.dumps({"root": str(channel.root), "specs": names}))


async def create(settings: Settings, file: str, *, apart: bool = False) -> Figures:
    """Resolve a file, fill the store, make the environment, and start its Python.

    Args:
        settings: Of an empty store and an empty node.
        file: An environment.yml.
        apart: Make the environment after everything was cached, as a second command does.
    """
    from asynccache.api import ResolveOptions, Session  # noqa: PLC0415

    seen: list[events.Event] = []
    before, started = _read(), time.perf_counter()
    async with Session(settings, emit=seen.append) as session:
        resolved = await session.resolve(file, options=ResolveOptions(create=not apart))
        resolved.raise_for_failures()
        prefix = resolved.rows[0].prefix
    if apart:
        async with Session(settings, emit=seen.append) as session:
            prefix = (await session.create(resolved.environments[0])).prefix
    subprocess.run([f"{prefix}/bin/python", "-I", "-c", "pass"], check=True)  # noqa: ASYNC221 - nothing else runs
    fetched = [event for event in seen if isinstance(event, events.Fetched)]
    return {
        "run_wall": time.perf_counter() - started,
        "fetched": sum(e.bytes for e in fetched if e.source.startswith("http")),
        "read_back": sum(e.bytes for e in fetched if not e.source.startswith("http")),
        "read": _read() - before,
    }


def rattler(channel: str, prefix: str, cache: str, specs: Sequence[str]) -> Work:
    """Solve, fetch, extract and link with py-rattler alone, and start the Python; no store is filled."""
    library = importlib.import_module("rattler")
    client = importlib.import_module("rattler.networking").Client()

    async def make() -> None:
        records = await library.solve(
            sources=[library.Channel(channel)],
            specs=[library.MatchSpec(spec) for spec in specs],
            gateway=library.Gateway(cache_dir=f"{cache}/index"),
            platforms=["linux-64", "noarch"],
            virtual_packages=[v.into_generic() for v in library.VirtualPackage.detect()],
        )
        await library.install(
            records, prefix, cache_dir=f"{cache}/packages", installed_packages=[], execute_link_scripts=False,
            show_progress=False, client=client,
        )  # fmt: skip

    def work() -> Figures:
        before, started = _read(), time.perf_counter()
        asyncio.run(make())
        subprocess.run([f"{prefix}/bin/python", "-I", "-c", "pass"], check=True)
        return {"run_wall": time.perf_counter() - started, "read": _read() - before}

    return work


def _read() -> float:
    """Return how many bytes this process has read from files; 0 if the system does not say it."""
    try:
        lines = Path("/proc/self/io").read_text("ascii").splitlines()
    except OSError:
        return 0.0
    return float(dict(line.split(": ") for line in lines)["rchar"])
