"""What must not happen, whatever breaks: a wrong object, a lost package, a lock that stays, a hang."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import DiskError, FetchError, FetchRefusedError, IntegrityError
from asynccache.model.package import Format
from asynccache.runtime.locks import LockDirectory
from asynccache.store.memory import MemoryStore
from tests.support.effort import tries
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in, damaged_in, leftovers_in

Make = Callable[..., Settings]
STALLS = (Kind.STALL_BODY, Kind.STALL_HEADERS)
KILLS = tries(12, 200)


@pytest.mark.slow
@pytest.mark.timeout(280)
async def test_killed_at_any_moment_a_rerun_completes_and_nothing_is_damaged(
    channel: SyntheticChannel, tmp_path: Path
) -> None:
    async with FaultServer(channel.root, latency=0.005) as server:
        (tmp_path / "urls.json").write_text(
            json.dumps([f"{p.url}#sha256={p.digests.sha256}" for p in channel.packages(server.url)])
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.engine.killed_runs",
            str(tmp_path / "store"), str(tmp_path / "cache"), str(tmp_path / "urls.json"), str(KILLS), "7",
            stdout=subprocess.PIPE,
        )  # fmt: skip
        output, _ = await process.communicate()
    assert process.returncode == 0
    result = json.loads(output)
    assert result["damaged"] == []
    assert result["hit"] == KILLS
    for number in range(result["stores"]):
        root = tmp_path / f"store-{number}"
        assert len(archives_in(root)) == 30
        assert leftovers_in(root) == []
    locks = LockDirectory(tmp_path / "cache" / "locks")
    assert not any(locks.is_held(p.name) for p in locks.path.iterdir())
    assert [p for p in (tmp_path / "cache" / "work").rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.DROP, times=1),
        Fault(Kind.RESET, times=1),
        Fault(Kind.SHORT, times=1),
        Fault(Kind.FLIP, times=1),
        Fault(Kind.HTML, times=1),
        Fault(Kind.STATUS, status=503, times=2),
        Fault(Kind.STATUS, status=429, retry_after=0.0, times=2),
        Fault(Kind.WRONG_RANGE, method="GET", times=1),
    ],
    ids=lambda f: f"{f.kind}-{f.status}" if f.kind is Kind.STATUS else str(f.kind),
)
async def test_a_fault_that_passes_leaves_no_trace(
    channel: SyntheticChannel, settings: Make, tmp_path: Path, fault: Fault
) -> None:
    async with FaultServer(channel.root, faults=[fault]) as server, Engine(settings()) as engine:
        report = await engine.cache(channel.packages(server.url)[-4:], wanted=Format.CONDA)
    report.raise_for_failures()
    assert report.retries > 0 or fault.kind is Kind.WRONG_RANGE
    assert len(archives_in(tmp_path / "store")) == 4
    assert damaged_in(tmp_path / "store") == []


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault(Kind.DROP, after=0.3), FetchError, "could not be fetched in 5 tries"),
        (Fault(Kind.SHORT), IntegrityError, "wrong size: expected"),
        (Fault(Kind.FLIP), IntegrityError, "wrong sha256: expected"),
        (Fault(Kind.HTML), IntegrityError, "HTML page instead of"),
        (Fault(Kind.STATUS, status=503), FetchError, "answered status 503 Service Unavailable"),
        (Fault(Kind.STATUS, status=429, retry_after=7200), FetchError, "asks to wait 7200 seconds"),
        (Fault(Kind.STATUS, status=403), FetchRefusedError, "found status 403 Forbidden"),
        (Fault(Kind.STALL_BODY, seconds=30), FetchError, "stalled"),
        (Fault(Kind.STALL_HEADERS, seconds=30), FetchError, "stalled"),
    ],
    ids=lambda v: str(v.kind) if isinstance(v, Fault) else None,
)
async def test_a_fault_that_stays_gives_one_clear_error_and_nothing_else(
    channel: SyntheticChannel, settings: Make, tmp_path: Path, fault: Fault, error: type[Exception], words: str
) -> None:
    async with (
        FaultServer(channel.root, faults=[fault]) as server,
        Engine(settings(read_timeout=0.3 if fault.kind in STALLS else 30.0, attempts=5)) as engine,
    ):
        package = channel.packages(server.url)[-3]
        report = await engine.cache([package], wanted=Format.CONDA)
    with pytest.raises(error, match=words) as caught:
        report.raise_for_failures()
    assert str(package.url) in str(caught.value)
    assert archives_in(tmp_path / "store") == []
    assert leftovers_in(tmp_path / "store") == []


async def test_a_storm_of_503_and_429_is_survived(channel: SyntheticChannel, settings: Make, tmp_path: Path) -> None:
    storm = [Fault(Kind.STATUS, status=503, rate=0.3), Fault(Kind.STATUS, status=429, retry_after=0.0, rate=0.3)]
    async with (
        FaultServer(channel.root, faults=storm, seed=3) as server,
        Engine(settings(attempts=30)) as engine,
    ):
        (await engine.cache(channel.packages(server.url), wanted=Format.CONDA)).raise_for_failures()
    assert len(archives_in(tmp_path / "store")) == 30


async def test_cancelled_at_any_await_nothing_is_half_made(channel: SyntheticChannel, settings: Make) -> None:
    cancelled = 0
    async with FaultServer(channel.root) as server:
        for steps in [*range(0, 120, 4), *range(120, 1200, 60)]:
            store = MemoryStore()
            configured = settings()
            async with store, Engine(configured, store=store) as engine:
                task = asyncio.ensure_future(engine.cache(channel.packages(server.url, 4), wanted=Format.CONDA))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                done = await asyncio.gather(task, return_exceptions=True)
                cancelled += isinstance(done[0], asyncio.CancelledError)
                assert engine.host.budgets.in_flight.used == 0
                assert engine.host.budgets.memory.used == 0
                assert engine.host.budgets.temp.used == 0
                async for info in store.scan("packages/"):
                    body = await store.get(info.key)
                    assert len(body) == info.size
            work = [p for p in (configured.cache_dir / "work").rglob("*") if p.is_file()]
            assert all(p.name.endswith((".part", ".part.json")) for p in work), work
            locks = configured.cache_dir / "locks"
            assert not locks.exists() or list(locks.iterdir()) == []
    assert cancelled > 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    path = tmp_path / "small"
    path.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(path)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system needs root and tmpfs")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


async def test_a_full_working_disk_is_one_clear_error_and_nothing_is_visible(
    channel: SyntheticChannel, settings: Make, small_disk: Path, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server, Engine(settings(cache_dir=small_disk / "cache")) as engine:
        package = channel.packages(server.url)[-1]
        (small_disk / "ballast").write_bytes(bytes(int(2.6 * (1 << 20))))
        report = await engine.cache([package], wanted=Format.CONDA)
    with pytest.raises(DiskError, match=r"free some space or set cache_dir"):
        report.raise_for_failures()
    assert archives_in(tmp_path / "store") == []


async def test_a_full_store_disk_is_one_clear_error_and_nothing_is_visible(
    channel: SyntheticChannel, settings: Make, small_disk: Path
) -> None:
    async with FaultServer(channel.root) as server, Engine(settings(store=str(small_disk / "store"))) as engine:
        packages = channel.packages(server.url)
        (small_disk / "ballast").write_bytes(bytes(int(2.9 * (1 << 20))))
        report = await engine.cache(packages, wanted=Format.CONDA)
    assert report.failures
    assert all("full" in str(e) or "space" in str(e) for e in report.failures.values()), report.failures
    assert damaged_in(small_disk / "store") == []
    assert leftovers_in(small_disk / "store") == []
