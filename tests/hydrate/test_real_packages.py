"""Published packages of many years are linked by us exactly as the library links them from the original archive."""

import asyncio
import hashlib
import os
import stat
from pathlib import Path

import pytest
from rattler import RepoDataRecord, install
from rattler.networking import Client
from rattler.package_cache import PackageCache
from rattler.platform import Subdir

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError
from asynccache.hydrate.tree import link_tree
from tests.support.effort import share
from tests.support.hydration import environment_with, packages_of
from tests.support.testdata import RealPackage, real_packages

REAL = share(real_packages(), 6)
PREFIX = "/opt/environments/some-name"
IGNORED = {"CACHEDIR.TAG"}  # written by the library for a prefix of its own making


def _tree(root: Path) -> dict[str, tuple[str, int, str]]:
    """Return path -> (type, mode, digest or target) of everything but metadata, which holds other paths."""
    found = {}
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory) / name
            relative = str(path.relative_to(root))
            status = path.lstat()
            if relative.startswith(("conda-meta", ".asynccache")) or relative in IGNORED:
                continue
            if stat.S_ISLNK(status.st_mode):
                found[relative] = ("link", 0, str(path.readlink()))
            elif stat.S_ISDIR(status.st_mode):
                found[relative] = ("directory", stat.S_IMODE(status.st_mode) & ~0o022, "")
            else:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                # what everybody may write is closed to others here, as conda does it; the library leaves it open
                found[relative] = ("file", stat.S_IMODE(status.st_mode) & ~0o022, digest)
    return found


async def _theirs(path: Path, target: Path, cache: Path, arch: str) -> dict[str, tuple[str, int, str]]:
    record = await RepoDataRecord.from_package_archive(path)
    record.url = path.as_uri()
    await install(
        [record],
        target,
        package_cache=PackageCache(cache),
        platform=Subdir(arch),
        show_progress=False,
        client=Client(),
        alternative_target_prefix=PREFIX,
    )
    return _tree(target)


def _id(package: RealPackage) -> str:
    return f"{package.path.parent.name}/{package.path.name}"


def _arch(package: RealPackage) -> str:
    subdir = package.fields.get("subdir") or package.path.parent.name
    known = ("linux-64", "linux-aarch64", "osx-64", "osx-arm64", "linux-32", "win-64")
    return next((a for a in known if a in f"{subdir}/{package.path}"), "linux-64")


@pytest.mark.skipif(not REAL, reason="the collection of real packages is not here")
@pytest.mark.slow
@pytest.mark.parametrize("package", REAL, ids=_id)
def test_a_published_package_is_linked_as_from_the_original_archive(package: RealPackage, tmp_path: Path) -> None:
    asyncio.run(_compare(package, tmp_path))


async def _compare(package: RealPackage, tmp_path: Path) -> None:
    arch = _arch(package)
    if arch == "win-64":
        pytest.skip("a package for Windows")
    theirs: dict[str, tuple[str, int, str]] | None = None
    reason = ""
    try:
        theirs = await _theirs(package.path, tmp_path / "theirs", tmp_path / "their-cache", arch)
    except BaseException as exc:  # noqa: BLE001 - the library's errors have no common base
        reason = str(exc)
    refusal = await _ours(package, tmp_path, arch)
    if refusal is not None:
        assert theirs is None, f"refused what the library links: {refusal}"
        assert package.path.name.partition(".")[0] in str(refusal)
    elif theirs is None:
        # the library asks more of an archive's names when it reads its record than when it unpacks it
        assert "component is missing" in reason
    else:
        assert _tree(tmp_path / "ours") == theirs


async def _ours(package: RealPackage, tmp_path: Path, arch: str) -> AsyncCacheError | None:
    """Link a package; return why it is refused, None when it is not."""
    settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache", attempts=1)
    async with Engine(settings) as engine:
        try:
            environment = environment_with(packages_of([package.path]), arch=arch)
            await link_tree(engine.host, engine.sources, environment, tmp_path / "ours", PREFIX)
        except AsyncCacheError as exc:
            return exc
    return None
