"""One holder at a time, also among processes, and none after a kill."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import LockTimeoutError
from asynccache.node.kernel_lock import Holder, take
from asynccache.runtime.clock import VirtualClock
from asynccache.runtime.locks import LockDirectory, LockObserver
from tests.support.file_locks import LOCK_FAILURES, without_file_locks

HOLD = """
import asyncio, sys
from pathlib import Path
from asynccache.runtime.locks import LockDirectory
async def main():
    async with LockDirectory(Path(sys.argv[1])).hold("numpy"):
        print("held", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""
COUNT = """
import asyncio, sys
from pathlib import Path
from asynccache.runtime.locks import LockDirectory
async def main():
    counter = Path(sys.argv[2])
    for _ in range(40):
        async with LockDirectory(Path(sys.argv[1])).hold("counter"):
            counter.write_text(str(int(counter.read_text()) + 1))
asyncio.run(main())
"""


def _start(code: str, *arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def _held_by_other(path: Path) -> subprocess.Popen[str]:
    process = _start(HOLD, path)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


async def test_coroutines_of_one_process_take_turns(tmp_path: Path) -> None:
    locks, inside, contended = LockDirectory(tmp_path), 0, list[bool]()

    async def work() -> None:
        nonlocal inside
        async with locks.hold("a") as turn:
            contended.append(turn.waited)
            assert turn.exclusive
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.001)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(work())
    assert contended == [False] + [True] * 9


async def test_processes_take_turns(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [_start(COUNT, tmp_path / "locks", counter) for _ in range(4)]
    assert [p.wait(60) for p in processes] == [0] * 4
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    assert counter.read_text() == "160"


async def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    with _held_by_other(tmp_path) as process:
        assert LockDirectory(tmp_path).is_held("numpy")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        async with LockDirectory(tmp_path, timeout=3600).hold("numpy"):
            pass


async def test_the_file_of_a_killed_holder_is_swept_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    locks = LockDirectory(tmp_path)
    locks.sweep("numpy")
    holder = _held_by_other(tmp_path)
    locks.sweep("numpy")
    assert locks.is_held("numpy")
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    assert [path.name for path in tmp_path.iterdir()] == ["numpy"]
    locks.sweep("numpy")
    assert list(tmp_path.iterdir()) == []


async def test_giving_up_names_the_holder_and_what_to_do(tmp_path: Path) -> None:
    with _held_by_other(tmp_path) as process:
        locks = LockDirectory(tmp_path, timeout=0.2)
        with pytest.raises(
            LockTimeoutError, match=rf"numpy-1.26, which process {process.pid} on .* raise lock_timeout"
        ):
            async with locks.hold("numpy", label="numpy-1.26"):
                pass
        process.kill()


class Observer(LockObserver):
    def __init__(self) -> None:
        self.waited: list[tuple[str, Holder, float]] = []
        self.without: list[tuple[str, str]] = []

    def waiting(self, label: str, holder: Holder, seconds: float) -> None:
        self.waited.append((label, holder, seconds))

    def unsupported(self, directory: str, reason: str) -> None:
        self.without.append((directory, reason))


async def test_waiting_says_for_whom(tmp_path: Path) -> None:
    observer = Observer()
    with _held_by_other(tmp_path) as process:
        locks = LockDirectory(tmp_path, timeout=100, clock=VirtualClock(), observer=observer)
        with pytest.raises(LockTimeoutError):
            async with locks.hold("numpy"):
                pass
        process.kill()
        assert [round(seconds) for _, _, seconds in observer.waited] == [1, 31, 61, 91]
        assert observer.waited[0][1].pid == process.pid


@pytest.mark.parametrize("failure", LOCK_FAILURES)
async def test_without_locks_coroutines_still_take_turns_and_each_directory_is_named_once(
    failure: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_file_locks(monkeypatch, failure)
    observer, inside, turns = Observer(), 0, list[bool]()
    locks = LockDirectory(tmp_path / "here", observer=observer)

    async def work(name: str | Path) -> None:
        nonlocal inside
        async with locks.hold(name) as turn:
            turns.append(turn.exclusive)
            inside += 1
            assert inside == 1
            await asyncio.sleep(0.001)
            inside -= 1

    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(work("a"))
    await work(tmp_path / "there" / "b")
    assert turns == [False] * 6
    assert observer.without == [(str(tmp_path / name), os.strerror(failure)) for name in ("here", "there")]
    assert not locks.supported
    assert list((tmp_path / "here").iterdir()) == []


async def test_sharing_waits_for_who_is_alone_and_goes_on_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = LockDirectory(tmp_path, timeout=1, clock=VirtualClock())
    path = tmp_path / "used"
    with path.open("w") as one, path.open() as two, path.open() as alone:
        async with (
            locks.share(one.fileno(), path, label="clean"),
            locks.share(two.fileno(), path, label="clean"),
        ):
            assert not take(alone.fileno(), str(path))
        one.close()
        two.close()
        assert take(alone.fileno(), str(path))
        with (
            path.open() as late,
            pytest.raises(LockTimeoutError, match="waited 1 seconds for another process to clean"),
        ):
            async with locks.share(late.fileno(), path, label="clean"):
                pass
        without_file_locks(monkeypatch)
        with path.open() as late:
            async with locks.share(late.fileno(), path, label="clean"):
                pass


async def test_nothing_is_left_in_the_directory_after_release(tmp_path: Path) -> None:
    locks = LockDirectory(tmp_path)
    async with locks.hold("a"):
        assert locks.is_held("a")
    assert list(tmp_path.iterdir()) == []
    assert not locks.is_held("a")


async def test_a_cancelled_holder_releases(tmp_path: Path) -> None:
    locks = LockDirectory(tmp_path)

    async def hold() -> None:
        async with locks.hold("a"):
            await asyncio.sleep(60)

    task = asyncio.ensure_future(hold())
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not locks.is_held("a")
