"""What `make run` does: the main job, from nothing, on real packages, without an account or a server of yours.

It builds a small conda channel out of the running Python and some wheels from PyPI, serves it on 127.0.0.1, caches
packages into a local store in .conda format, resolves an environment with the built-in solver, makes it on disk out of
the store and runs Python in it. Each command is shown as you would type it.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from asynccache.errors import AsyncCacheError
from tests.support.channel import Channel, cached_channel
from tests.support.fault_server import server_process

HERE = Path(__file__).resolve().parents[1] / ".cache" / "first-run"
# a channel that is not next door: seconds before each answer, bytes per second
LATENCY, BANDWIDTH = 0.02, 5_000_000
_ENVIRONMENT = """\
channels:
  - {channel}
dependencies:
  - python
  - requests
"""
_PROGRAM = 'import requests, sys; print("requests", requests.__version__, "in", sys.prefix)'


def main() -> int:
    """Run the tour; return the exit code."""
    started = time.perf_counter()
    say("building a small conda channel from this Python and wheels from PyPI (kept for the next time)")
    try:
        channel = cached_channel("small")
    except AsyncCacheError as exc:
        say(f"error: {exc}")
        return exc.exit_code
    total = sum(p.path.stat().st_size for p in channel.packages)
    say(f"{len(channel.packages)} archives, {total / 1e6:.1f} MB, ready after {time.perf_counter() - started:.1f} s")
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir(parents=True)
    return asyncio.run(_tour(channel))


async def _tour(channel: Channel) -> int:
    distance = ["--latency", str(LATENCY), "--bandwidth", str(BANDWIDTH)]
    async with server_process(channel.root, *distance) as url:
        say(f"serving it at {url}, {LATENCY * 1000:.0f} ms away, {BANDWIDTH / 1e6:.0f} MB/s")
        lock = HERE / "environment.txt"
        # the older form of what is published in both, so that there is something to transmute
        chosen = {p.path.name.removesuffix(".conda").removesuffix(".tar.bz2"): p for p in reversed(channel.packages)}
        chosen |= {p.path.name.removesuffix(".tar.bz2"): p for p in channel.packages if p.path.suffix == ".bz2"}
        lines = [p.url(url) for p in chosen.values()]
        await asyncio.to_thread(lock.write_text, "\n".join(["@EXPLICIT", *lines]) + "\n")
        options = ["--store", relative(HERE / "store"), "--cache-dir", relative(HERE / "node")]
        store = options[:2]
        wanted = HERE / "environment.yml"
        await asyncio.to_thread(wanted.write_text, _ENVIRONMENT.format(channel=url))
        for title, command in (
            ("fetch, verify, transmute, publish", ["cache", "--from", relative(lock), "--format", ".conda", *options]),
            ("once more: everything is there", ["cache", "--from", relative(lock), "--format", ".conda", *options]),
            ("what is in the store", ["stat", *store]),
            ("is it whole", ["verify", *options]),
            (
                "resolve requirements, cache what they need, name it",
                ["resolve", relative(wanted), "--alias", "demo/env:v1", *options],
            ),
            ("make it on disk, out of the store", ["create", "demo/env:v1", *options]),
            ("run something in it", ["run", "demo/env:v1", *options, "--", "python", "-c", _PROGRAM]),
        ):
            say(title)
            if code := await asyncio.to_thread(_run, command):
                return code
    say("now your own: asynccache resolve environment.yml --alias team/env:v1")
    return 0


def _run(arguments: list[str]) -> int:
    print("$ asynccache", shlex.join(arguments), flush=True)
    command = [str(Path(sys.executable).with_name("asynccache")), *arguments]
    # the tour needs no channel but its own, and leaves the list of environments of a project around it alone
    environment = {**os.environ, "ASYNCCACHE_CHANNELS": "[]", "ASYNCCACHE_DATASTORE_ROOT": str(HERE)}
    code = subprocess.run(command, check=False, env=environment).returncode
    print(flush=True)
    return code


def relative(path: Path) -> str:
    """Write a path as seen from here, when it is below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def say(text: str) -> None:
    """Print a line of the tour."""
    print(f"--- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
