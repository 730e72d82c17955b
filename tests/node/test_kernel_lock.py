"""One holder at a time, whatever becomes of a lock's file meanwhile; and what is said where there are no locks."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import DiskError, LockTimeoutError
from asynccache.node.kernel_lock import (
    Holder,
    KernelLock,
    LocksUnsupportedError,
    give_back,
    held,
    pauses,
    take,
    take_at,
    wait,
)
from tests.support.file_locks import LOCK_FAILURES, without_file_locks


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)


def test_a_file_that_was_replaced_while_it_was_opened_is_not_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first, second = KernelLock(str(path)), KernelLock(str(path))
    assert first.take()
    opened: list[int] = []

    def open_and_be_late() -> int:
        descriptor = _opened(path)
        if not opened:
            # right after it was opened its holder removes it, and another takes the one that is there then
            first.release()
            assert second.take()
        opened.append(descriptor)
        return descriptor

    assert take_at(str(path), open_and_be_late) is None
    assert len(opened) == 2
    assert path.exists()
    second.release()


def test_a_file_that_was_removed_while_it_was_opened_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    opened: list[int] = []

    def open_and_be_late() -> int:
        descriptor = _opened(path)
        if not opened:
            path.unlink()
        opened.append(descriptor)
        return descriptor

    descriptor = take_at(str(path), open_and_be_late)
    assert descriptor is not None
    assert os.fstat(descriptor).st_ino == path.stat().st_ino
    assert len(opened) == 2
    give_back(descriptor)


def test_a_file_that_is_always_another_one_is_no_endless_loop(tmp_path: Path) -> None:
    path = tmp_path / "lock"

    def open_and_be_late() -> int:
        descriptor = _opened(path)
        path.unlink()
        return descriptor

    with pytest.raises(LocksUnsupportedError, match="another one at every look"):
        take_at(str(path), open_and_be_late)


def test_the_file_names_its_holder_and_is_gone_afterwards(tmp_path: Path) -> None:
    lock = KernelLock(str(tmp_path / "made" / "lock"))
    assert lock.take()
    assert lock.is_held()
    holder = Holder.read(lock.path)
    assert (holder.pid, holder.host) == (os.getpid(), os.uname().nodename)
    assert str(holder).startswith(f"process {os.getpid()} on {os.uname().nodename} since 20")
    assert not KernelLock(lock.path).take()
    lock.release()
    lock.release()
    assert not lock.is_held()
    assert list((tmp_path / "made").iterdir()) == []


def test_a_forked_child_does_not_keep_a_lock_that_was_released(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    descriptor = _opened(path)
    assert take(descriptor, str(path))
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor], text=True
    ) as child:
        give_back(descriptor)
        other = _opened(path)
        assert take(other, str(path))
        os.close(other)
        child.communicate("\n")


def test_sweeping_removes_the_file_of_nobody_and_leaves_that_of_a_holder(tmp_path: Path) -> None:
    lock = KernelLock(str(tmp_path / "lock"))
    lock.sweep()
    assert lock.take()
    KernelLock(lock.path).sweep()
    assert lock.is_held()
    assert Path(lock.path).exists()
    lock.release()
    Path(lock.path).touch()
    KernelLock(lock.path).sweep()
    assert not Path(lock.path).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_the_file_of_another_user_can_be_locked(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch(0o444)
    lock = KernelLock(str(path))
    assert lock.take()
    assert not KernelLock(str(path)).take()
    lock.release()


def test_who_waits_in_vain_is_told_for_whom(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with (
        held(path, 1.0, "the thing"),
        pytest.raises(LockTimeoutError, match=rf"waited 0.05 seconds for the thing, which process {os.getpid()} on"),
        held(path, 0.05, "the thing"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_waiting_is_said_after_a_second_and_every_half_minute() -> None:
    times, said = [100.0], list[float]()
    for pause in pauses(100.0, 100.0, lambda: times[-1], said.append):
        times.append(times[-1] + pause)
    assert [round(seconds) for seconds in said] == [1, 31, 61, 91]
    assert times[-1] == pytest.approx(200.0, abs=0.01)


def test_a_descriptor_of_zero_is_a_result() -> None:
    results = iter([None, 0])
    assert wait(lambda: next(results), 10.0) == 0


@pytest.mark.parametrize("failure", LOCK_FAILURES)
def test_a_file_system_without_locks_is_one_sentence_and_leaves_no_file(
    failure: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_file_locks(monkeypatch, failure)
    lock = KernelLock(str(tmp_path / "lock"))
    with pytest.raises(DiskError) as caught:
        lock.take()
    assert str(caught.value) == (
        f"files in {tmp_path} cannot be locked ({os.strerror(failure)}); use a directory on a file system with file"
        " locks, such as a local disk"
    )
    assert caught.value.exit_code == 8
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "lock").touch()
    lock.sweep()
    assert lock.is_held(), "nobody can tell, so nothing is removed"
    assert (tmp_path / "lock").exists()


def test_a_lock_that_is_held_is_not_taken_for_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_file_locks(monkeypatch, errno.EWOULDBLOCK)
    assert not KernelLock(str(tmp_path / "lock")).take()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match=r"the lock directory .*file/below cannot be made|the lock .* cannot be made"):
        KernelLock(str(tmp_path / "file" / "below" / "lock")).take()
