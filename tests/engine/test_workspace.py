"""Working directories: what somebody uses is never removed, and where locks do not work nobody shares one."""

import os
from pathlib import Path

import pytest

from asynccache.engine.events import Event, LocksUnsupported
from asynccache.engine.workspace import ABANDONED_AFTER, Workspace
from asynccache.model.url import PackageURL
from asynccache.node.kernel_lock import KernelLock
from tests.support.file_locks import without_file_locks

URL = PackageURL.parse("https://host/channel/linux-64/numpy-1.26.4-h0_0.conda")[0]


def _aged(path: Path, seconds: float) -> Path:
    path.mkdir(parents=True)
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return path


def test_only_old_directories_that_nobody_uses_are_swept(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    old = _aged(workspace.path / "old", ABANDONED_AFTER + 60)
    used = _aged(workspace.path / "used", ABANDONED_AFTER + 60)
    young = _aged(workspace.path / "young", ABANDONED_AFTER - 60)
    lock = KernelLock(str(workspace.locks.path / "used"))
    assert lock.take()
    assert workspace.sweep() == {"used", "young"}
    assert [path.exists() for path in (old, used, young)] == [False, True, True]
    lock.release()
    assert workspace.sweep() == {"young"}
    assert [path.exists() for path in (used, young)] == [False, True]


def test_what_a_run_reads_once_is_removed_with_it_and_by_the_next_one_when_it_was_killed(tmp_path: Path) -> None:
    workspace, killed, next_one = Workspace(tmp_path), Workspace(tmp_path), Workspace(tmp_path)
    workspace.passing_file("a").touch()
    left = killed.passing_file("a")
    left.touch()
    assert next_one.sweep() == {path.name for path in workspace.path.iterdir()}
    assert killed._passing is not None
    os.close(killed._passing._descriptor)  # as the kernel does
    assert next_one.sweep() == {workspace.passing_file("b").parent.name}
    workspace.close()
    assert list(workspace.path.iterdir()) == []


def test_a_run_that_cannot_write_its_working_directory_reads_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "file").touch()
    workspace = Workspace(tmp_path / "file")
    path = workspace.passing_file("a")
    assert path.parent.parent == tmp_path
    workspace.close()
    assert not path.parent.exists()


async def test_without_locks_each_process_works_in_a_directory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_file_locks(monkeypatch)
    said = list[Event]()
    one, other = Workspace(tmp_path, emit=said.append), Workspace(tmp_path)
    async with one.locks.hold(one.name(URL)), other.locks.hold(other.name(URL)):
        places = [one.prepare(URL), other.prepare(URL)]
        assert len(set(places)) == 2
        (places[0] / "partial").touch()
        (places[1] / "partial").touch()
        one.discard_if_empty(URL)  # nobody would continue it
        assert [place.exists() for place in places] == [False, True]
        other.discard(URL)
    assert list(one.path.iterdir()) == []
    assert [type(event) for event in said] == [LocksUnsupported]
    assert str(said[0]).startswith(f"warning: files in {tmp_path / 'locks'} cannot be locked")
