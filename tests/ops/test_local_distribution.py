"""The installation of conda's programs that a team keeps in its store comes to a workstation whole, once."""

import asyncio
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import ArchiveError, AsyncCacheError, LockTimeoutError, ResolverMissingError
from asynccache.model.platform import current_architecture
from asynccache.ops.local_distribution import install_local_distribution
from asynccache.ops.opening import Opening
from asynccache.resolve.find_programs import find_program

KEY = f"conda-local/conda-{current_architecture()}.tgz"


def archive(name: str = "bin/micromamba") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        content = b"#!/bin/sh\nexit 0\n"
        member.size, member.mode = len(content), 0o755
        tar.addfile(member, io.BytesIO(content))
    return data.getvalue()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=str(tmp_path / "store"),
        cache_dir=tmp_path / "cache",
        conda_local_path=tmp_path / "tools/conda",
        local_dist_dirname="conda-local",
        local_dist="conda-{arch}.tgz",
    )


async def put(settings: Settings, data: bytes) -> None:
    async with Engine(settings) as engine:
        await engine.store.put(KEY, data)


async def install(settings: Settings) -> Path | None:
    async with Opening(settings) as opening:
        return await install_local_distribution(opening)


async def test_it_is_unpacked_marked_and_found(settings: Settings, tmp_path: Path) -> None:
    await put(settings, archive())
    half = tmp_path / "tools/conda/bin"
    half.mkdir(parents=True)
    (half / "left-by-somebody").touch()

    root = await install(settings)

    assert root == tmp_path / "tools/conda"
    program = find_program("micromamba", settings)
    assert program is not None
    assert program.path == root / "bin/micromamba"
    assert json.loads((root / ".metaflow-local-env").read_text())["src"] == f"{tmp_path}/store/{KEY}"
    assert [path.name for path in (root / "bin").iterdir()] == ["micromamba"]
    assert sorted(path.name for path in (tmp_path / "tools").iterdir()) == ["conda"]
    assert await install(settings) is None


async def test_of_many_who_want_it_one_installs_it(settings: Settings, tmp_path: Path) -> None:
    await put(settings, archive())
    places = [replace(settings, cache_dir=tmp_path / str(number)) for number in range(6)]
    found = await asyncio.gather(*map(install, places))
    assert len([root for root in found if root is not None]) == 1


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (None, ResolverMissingError, "CONDA_LOCAL_DIST names conda-local/conda-"),
        (b"no archive at all", ArchiveError, "cannot be unpacked"),
        (archive("../outside"), ArchiveError, "cannot be unpacked"),
    ],
)
async def test_what_cannot_be_installed_is_told_and_leaves_nothing(
    settings: Settings, tmp_path: Path, data: bytes | None, error: type[AsyncCacheError], told: str
) -> None:
    (tmp_path / "store").mkdir()
    if data is not None:
        await put(settings, data)
    with pytest.raises(error, match=told):
        await install(settings)
    assert [path.name for path in (tmp_path / "tools").iterdir()] == []
    assert not (tmp_path / "outside").exists()


async def test_without_the_setting_nothing_is_fetched(settings: Settings, tmp_path: Path) -> None:
    assert await install(replace(settings, local_dist=None)) is None
    assert await install(replace(settings, conda_local_path=None)) is None
    assert not (tmp_path / "tools").exists()


async def test_the_lock_of_other_programs_is_honoured_and_stays_theirs(settings: Settings, tmp_path: Path) -> None:
    await put(settings, archive())
    lock = tmp_path / "tools" / ".conda-install.lock"
    lock.parent.mkdir()
    lock.touch()  # as the other program makes it: empty

    with pytest.raises(LockTimeoutError, match=r"\.conda-install\.lock was held by another program"):
        await install(replace(settings, lock_timeout=0.2))

    assert [path.name for path in lock.parent.iterdir()] == [".conda-install.lock"]
    lock.unlink()
    assert await install(settings) == tmp_path / "tools/conda"
    assert [path.name for path in lock.parent.iterdir()] == ["conda"]
