"""Directories that last as long as a block."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from asynccache.errors import DiskError
from asynccache.runtime.scratch import scratch_directory


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
