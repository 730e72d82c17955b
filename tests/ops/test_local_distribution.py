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
from asynccache.resolve.conda.find_programs import find_program, require_program

KEY = f"conda-local/conda-{current_architecture()}.tgz"


def archive(name: str = "bin/micromamba", content: bytes = b"#!/bin/sh\nexit 0\n") -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
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
    (tmp_path / "tools/conda").mkdir(parents=True)

    root = await install(settings)

    assert root == tmp_path / "tools/conda"
    program = find_program("micromamba", settings)
    assert program is not None
    assert program.path == root / "bin/micromamba"
    assert json.loads((root / ".metaflow-local-env").read_text())["src"] == f"{tmp_path}/store/{KEY}"
    assert [path.name for path in (root / "bin").iterdir()] == ["micromamba"]
    assert sorted(path.name for path in (tmp_path / "tools").iterdir()) == ["conda"]
    assert await install(settings) is None


async def test_what_is_not_ours_is_refused_and_stays(settings: Settings, tmp_path: Path) -> None:
    await put(settings, archive())
    thesis = tmp_path / "tools/conda/bin/thesis"
    thesis.parent.mkdir(parents=True)
    thesis.touch()
    with pytest.raises(
        ResolverMissingError, match=r"tools/conda, which holds something that is no installation of ours"
    ):
        await install(settings)
    assert thesis.exists()


async def test_one_top_directory_is_the_installation(settings: Settings) -> None:
    await put(settings, archive("conda-2026/bin/micromamba"))
    root = await install(settings)
    assert root is not None
    assert (root / "bin/micromamba").is_file()
    assert not (root / "conda-2026").exists()


async def test_a_corrected_archive_is_used_and_what_was_gathered_stays(settings: Settings, tmp_path: Path) -> None:
    await put(settings, archive())
    root = await install(settings)
    assert root is not None
    (root / "envs/mine").mkdir(parents=True)
    assert await install(settings) is None
    await put(settings, archive(content=b"#!/bin/sh\nexit 1\n"))
    assert await install(settings) == root
    assert (root / "bin/micromamba").read_bytes().endswith(b"exit 1\n")
    assert (root / "envs/mine").is_dir()
    assert sorted(path.name for path in (tmp_path / "tools").iterdir()) == ["conda"]
    (root / ".metaflow-local-env").write_text('{"src": "s3://b/k", "install_time": "2026-11-21T02:47:05"}')
    assert await install(settings) is None  # another program's


async def test_an_installation_without_the_wanted_program_is_not_complete(settings: Settings, tmp_path: Path) -> None:
    await put(settings, archive("bin/conda"))
    asked = replace(settings, conda_dependency_resolver="micromamba")
    with pytest.raises(ResolverMissingError, match=rf"expected {tmp_path}/tools/conda/bin/micromamba, found bin"):
        await install(asked)
    assert not (tmp_path / "tools/conda").exists()
    with pytest.raises(
        ResolverMissingError, match=rf"for micromamba at {tmp_path}/tools/conda/bin/micromamba: .* whole"
    ):
        require_program("micromamba", asked)
    await put(settings, archive())
    assert await install(asked) == tmp_path / "tools/conda"


async def test_of_many_who_want_it_one_installs_it(settings: Settings, tmp_path: Path) -> None:
    await put(settings, archive())
    places = [replace(settings, cache_dir=tmp_path / str(number)) for number in range(6)]
    found = await asyncio.gather(*map(install, places))
    assert len([root for root in found if root is not None]) == 1


@pytest.mark.parametrize(
    ("data", "error", "told"),
    [
        (None, ResolverMissingError, "the setting local_dist names conda-local/conda-"),
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
    assert list(tmp_path.glob("tools/*")) == []
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
