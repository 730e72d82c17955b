"""Directories that last as long as a block."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import DiskError
from asynccache.runtime.scratch import OwnDirectory, scratch_directory, sweep_dead, sweep_temporary, this_host


async def test_a_directory_lasts_as_long_as_its_block_and_its_parent_is_made(tmp_path: Path) -> None:
    async with scratch_directory("build-", tmp_path / "work") as directory:
        (directory / "deep" / "er").mkdir(parents=True)
        (directory / "deep" / "file").write_bytes(b"x")
        assert directory.parent == tmp_path / "work"
        assert directory.name.startswith("build-")
        assert directory.stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "work").iterdir()) == []


async def test_nothing_is_left_by_a_block_that_fails_or_is_cancelled(tmp_path: Path) -> None:
    entered = asyncio.Event()

    async def wait() -> None:
        async with scratch_directory("x-", tmp_path):
            entered.set()
            await asyncio.Event().wait()

    with pytest.raises(ValueError, match="wrong"):
        async with scratch_directory("x-", tmp_path):
            raise ValueError("wrong")
    task = asyncio.ensure_future(wait())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_a_parent_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="file"):
        async with scratch_directory("x-", tmp_path / "file" / "work"):
            pass


KILLED = """
import os, signal, sys
from pathlib import Path
from asynccache.runtime.scratch import OwnDirectory
directory = OwnDirectory(Path(sys.argv[1]), sys.argv[2])
(directory.path / "file").write_bytes(b"x" * 1000)
print(directory.path.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _left_by_a_killed_process(parent: Path, prefix: str) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(parent), prefix], capture_output=True, text=True, timeout=60, check=False
    )
    return parent / done.stdout.strip()


def _aged(path: Path, seconds: float) -> Path:
    path.mkdir()
    os.utime(path, (path.stat().st_mtime - seconds,) * 2)
    return path


def test_what_a_killed_process_left_is_removed_at_once_and_what_a_living_one_uses_never(tmp_path: Path) -> None:
    left = _left_by_a_killed_process(tmp_path, "pack-")
    mine = OwnDirectory(tmp_path, "pack-")
    os.utime(mine.path, (0, 0))
    other = _aged(tmp_path / "0123456789abcdef", 1e6)  # of another kind
    assert left.is_dir()
    assert sweep_dead(tmp_path, 3600.0) == {mine.path.name}
    assert [path.exists() for path in (left, mine.path, other)] == [False, True, True]
    mine.close()
    assert not mine.path.exists()


def test_of_a_process_on_another_host_age_decides(tmp_path: Path) -> None:
    old = _aged(tmp_path / "pack-elsewhere-12-0123abcd", 7200)
    young = _aged(tmp_path / "pack-elsewhere-12-0123abce", 1800)
    assert this_host() != "elsewhere"
    assert sweep_dead(tmp_path, 3600.0) == {young.name}
    assert not old.exists()


def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    (tmp_path / f"pack-{this_host()}-12-0123abcd").symlink_to(target)
    sweep_dead(tmp_path, 0.0)
    assert (target / "file").exists()


def test_the_temporary_directory_is_swept_of_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left = _left_by_a_killed_process(tmp_path, "asynccache-uv-")
    earlier, young = _aged(tmp_path / "asynccache-bundle-x1", 7200), _aged(tmp_path / "asynccache-bundle-x2", 60)
    others = [_aged(tmp_path / name, 7200) for name in ("asynccache-run-x", "bundle-host-1-0123abcd", "work")]
    sweep_temporary(3600.0)
    assert [path.exists() for path in (left, earlier, young, *others)] == [False, False, True, True, True, True]
