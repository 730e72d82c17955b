"""Ctrl-C while environments are made: what was begun is given up, and nothing keeps the process alive."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from asynccache.node.environments import MARKER
from tests.support.environments import environment_of
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.small_channel import SyntheticChannel, write_small_channel
from tests.support.waiting import until_it_holds

# a shell lets what it runs in the background ignore the signal, and so would all that is started from there
_HEARS = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
_LAUNCH = """
import sys, time
from pathlib import Path
from asynccache.config import Settings
from asynccache.metaflow.local_hydration import LocalEnvironments
from asynccache.metaflow.loop_thread import LoopThread
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID

directory, *ids = sys.argv[1:]
loop = LoopThread()
settings = Settings(store=f"{directory}/store", cache_dir=Path(directory) / "cache")
local = LocalEnvironments(settings, loop, lambda line: print(line, flush=True))
local.want(ResolvedEnvironment.from_json(EnvID(*ids), (Path(directory) / "document").read_bytes()))
try:
    time.sleep(3600)
except KeyboardInterrupt:
    local.close(interrupted=True)
    loop.close(interrupted=True)
    raise SystemExit(1)
"""
# what no thread can be told to stop: a disk that does not answer
_STUCK = """
import asyncio, time
from asynccache.metaflow.loop_thread import LoopThread

async def work():
    print("begun", flush=True)
    await asyncio.to_thread(time.sleep, 3600)

loop = LoopThread()
loop.call(asyncio.sleep(0))
{first}
loop.call(work())
"""
# as if it came just before the main thread waits: it is noted, and ends no wait
_UNNOTICED = "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})"


async def interrupted(process: asyncio.subprocess.Process) -> str:
    """Interrupt a process and return all that it said; it has to end although nothing that it waits for does."""
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    async with asyncio.timeout(45):
        said = (await process.stdout.read()).decode()
        assert await process.wait() in {1, -signal.SIGINT}
    return said


@asynccontextmanager
async def started(code: str, *words: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _HEARS + code, *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def channel(tmp_path: Path) -> SyntheticChannel:
    return write_small_channel(tmp_path / "channel")


@pytest.fixture
async def server(channel: SyntheticChannel) -> AsyncIterator[FaultServer]:
    """Begins to answer, and never ends."""
    async with FaultServer(channel.root, faults=[Fault(Kind.STALL_BODY)]) as server:
        yield server


async def test_what_is_being_made_is_given_up(tmp_path: Path, channel: SyntheticChannel, server: FaultServer) -> None:
    environment = environment_of(channel.packages(server.url, 4))
    (tmp_path / "document").write_bytes(environment.to_json())
    (tmp_path / "store").mkdir()
    async with started(_LAUNCH, str(tmp_path), *environment.id.as_list()) as process:
        await until_it_holds(lambda: len(server.requests) > 0)
        said = await interrupted(process)
    asked = len(server.requests)
    assert "Traceback" not in said
    assert "could not be made" not in said
    assert list(tmp_path.rglob(MARKER)) == []
    assert [path.name for path in (tmp_path / "cache" / "envs").glob("*") if not path.name.startswith(".")] == []
    assert len(server.requests) == asked


@pytest.mark.parametrize("first", ["", _UNNOTICED], ids=["while it waits", "just before it waits"])
async def test_work_that_cannot_be_stopped_keeps_no_process_alive(first: str) -> None:
    async with started(_STUCK.format(first=first)) as process:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"begun\n"
        await interrupted(process)
