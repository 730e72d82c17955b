"""A cache directory that several users can write: what one of them leaves there runs for no other."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from asynccache.config import Settings
from asynccache.engine.derived import DerivedArchives
from asynccache.engine.engine import Engine
from asynccache.engine.verified import Verified
from asynccache.errors import IntegrityError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.owned import close_to_others
from asynccache.hydrate.packages import NodePackages
from asynccache.model.digest import Digests
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Format
from asynccache.node.user import others_can_write
from asynccache.runtime.threads import Threads
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.hydration import cached, packages_of

OTHER = 4242  # a user and a group that nobody is
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user, which root can")
FILES = [Member("bin/p0", b"#!/bin/sh\necho good\n", executable=True), Member("lib/deep/data", b"good")]


@pytest.fixture(autouse=True)
def _group_umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


def engine_in(root: Path, **more: object) -> Engine:
    settings = {"store": str(root / "store"), "cache_dir": root / "cache", "pack": "never", **more}
    return Engine(Settings(**settings))  # type: ignore[arg-type]


async def environment_in(engine: Engine, root: Path) -> ResolvedEnvironment:
    (root / "channel").mkdir(exist_ok=True)
    about = Metadata(name="p0", version="1.0", build="0")
    return await cached(engine, packages_of(write_package(root / "channel", about, FILES, [Format.CONDA])))


async def extracted_in(root: Path) -> Path:
    """Extract the package; return its directory."""
    async with engine_in(root) as engine:
        environment = await environment_in(engine, root)
        (found,) = await NodePackages(engine.host, engine.sources).ensure(environment.packages)
    return found.path


async def used_in(root: Path, **more: object) -> tuple[Path, str]:
    """Return the directory that is linked from, and what its program says."""
    async with engine_in(root, **more) as engine:
        environment = await environment_in(engine, root)
        (found,) = await NodePackages(engine.host, engine.sources).ensure(environment.packages)
        made = await hydrate(engine.host, engine.sources, environment, root / f"prefix-{uuid4().hex}")
    assert (made.prefix / "lib" / "deep" / "data").read_bytes() == b"good"
    return found.path, (made.prefix / "bin" / "p0").read_text().split()[-1]


def plant(package: Path) -> None:
    program = package / "bin" / "p0"
    program.write_text(program.read_text().replace("good", "evil"))


def give(path: Path, user: int = OTHER, group: int = OTHER) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, user, group, follow_symlinks=False)


@as_root
async def test_what_another_user_extracted_is_not_linked(tmp_path: Path) -> None:
    package = await extracted_in(tmp_path)
    plant(package)
    give(package)
    used, said = await used_in(tmp_path)
    assert (said, used != package) == ("good", True)
    assert used.relative_to(tmp_path / "cache" / "pkgs").parts[0].startswith("by-digest")
    assert "evil" in (package / "bin" / "p0").read_text()  # it is his
    assert await used_in(tmp_path) == (used, "good")  # once for each user


@as_root
async def test_where_the_second_place_is_another_users_too_each_has_his_own(tmp_path: Path) -> None:
    first = await extracted_in(tmp_path)
    give(first)
    second, _said = await used_in(tmp_path)
    plant(second)
    give(second.parent.parent)
    third, said = await used_in(tmp_path)
    assert said == "good"
    assert third.relative_to(tmp_path / "cache" / "pkgs").parts[0] == f"by-digest-{os.geteuid()}"


@as_root
@pytest.mark.parametrize("where", ["", "info", "info/asynccache.json"])
@pytest.mark.parametrize("how", ["owner", "group", "everybody"])
async def test_what_another_user_could_have_changed_is_not_linked(tmp_path: Path, where: str, how: str) -> None:
    package = await extracted_in(tmp_path)
    plant(package)
    path = package / where
    if how == "owner":
        os.chown(path, OTHER, -1)
    elif how == "group":
        os.chown(path, -1, OTHER)
        path.chmod(path.stat().st_mode | stat.S_IWGRP)
    else:
        path.chmod(path.stat().st_mode | stat.S_IWOTH)
    used, said = await used_in(tmp_path)
    assert (said, used != package) == ("good", True)


@as_root
async def test_what_another_program_extracted_is_looked_at_as_a_whole(tmp_path: Path) -> None:
    package = await extracted_in(tmp_path)
    (package / "info" / "asynccache.json").unlink()
    assert (await used_in(tmp_path))[0] == package
    os.chown(package / "lib" / "deep", -1, OTHER)
    (package / "lib" / "deep").chmod(0o775)
    assert (await used_in(tmp_path, link_scripts=False))[0] != package


@as_root
async def test_packages_of_a_directory_that_was_named_are_its_owners(tmp_path: Path) -> None:
    package = await extracted_in(tmp_path)
    named = package.parent.rename(tmp_path / "named")
    give(named, OTHER, os.getegid())
    used, _said = await used_in(tmp_path, package_dirs=[str(named)])
    assert used == named / package.name
    os.chown(used, OTHER + 1, -1)
    used, _said = await used_in(tmp_path, package_dirs=[str(named)], link_scripts=False)
    assert used.is_relative_to(tmp_path / "cache")


@as_root
async def test_what_is_extracted_is_closed_to_the_group_that_shares_the_directory(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", -1, OTHER)
    (tmp_path / "cache").chmod(0o2775)
    package = await extracted_in(tmp_path)
    assert package.stat().st_gid == OTHER
    assert [path for path in (package, *package.rglob("*")) if others_can_write(path.lstat())] == []
    assert (await used_in(tmp_path))[0] == package


@as_root
def test_what_somebody_put_into_a_package_that_is_made_is_found(tmp_path: Path) -> None:
    (tmp_path / "tree" / "bin").mkdir(parents=True)
    (tmp_path / "tree" / "bin" / "p0").write_text("evil")
    os.chown(tmp_path / "tree" / "bin" / "p0", OTHER, OTHER)
    with pytest.raises(IntegrityError, match="another user"):
        close_to_others(tmp_path / "tree")


STATEMENT = (Digests(md5="1" * 32, sha256="1" * 64, size=1), Digests(md5="2" * 32, sha256="2" * 64, size=1))


async def remembered(cache_dir: Path) -> frozenset[str]:
    with Threads(1) as threads:
        forms = DerivedArchives(cache_dir, (), threads)
        await forms.load()
        return forms.allowed(STATEMENT[0], "2" * 32)


async def remember(cache_dir: Path) -> None:
    with Threads(1) as threads:
        forms = DerivedArchives(cache_dir, (), threads)
        await forms.add(*STATEMENT)
        await forms.save()


async def test_what_this_user_compared_is_remembered_in_a_file_of_his_own(tmp_path: Path) -> None:
    await remember(tmp_path)
    assert await remembered(tmp_path) == {"2" * 64}
    assert stat.S_IMODE((tmp_path / "vouched.sqlite").stat().st_mode) == 0o600


@as_root
@pytest.mark.parametrize("how", ["owner", "group", "link"])
async def test_a_memory_that_another_user_wrote_vouches_for_nothing(tmp_path: Path, how: str) -> None:
    await remember(tmp_path)
    path = tmp_path / "vouched.sqlite"
    if how == "owner":
        os.chown(path, OTHER, OTHER)
    elif how == "group":
        os.chown(path, -1, OTHER)
        path.chmod(0o660)
    else:
        path.rename(tmp_path / "elsewhere")
        path.symlink_to("elsewhere")
    assert await remembered(tmp_path) == frozenset()


@as_root
async def test_where_others_can_write_the_directory_the_memory_lies_in_the_home_directory(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    await remember(shared)  # while it was this user's
    os.chown(shared, -1, OTHER)
    shared.chmod(0o2775)
    assert await remembered(shared) == frozenset()
    await remember(shared)
    assert await remembered(shared) == {"2" * 64}
    assert (Path.home() / ".cache" / "asynccache" / "vouched.sqlite").is_file()


@pytest.mark.parametrize(("mode", "shared"), [(0o2775, True), (0o755, False)])
def test_what_saves_reading_can_be_written_by_the_group_that_shares_it(tmp_path: Path, mode: int, shared: bool) -> None:
    os.umask(0o022)
    directory = tmp_path / "cache"
    directory.mkdir()
    directory.chmod(mode)
    Verified.shared(directory).add("place", [("name", "version")])
    path = directory / "verified.sqlite"
    assert bool(path.stat().st_mode & stat.S_IWGRP) is shared
    with sqlite3.connect(path) as connection:
        assert connection.execute("select name from verified").fetchall() == [("name",)]
    connection.close()


def test_a_group_is_others_unless_it_is_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    path.chmod(0o644)
    assert not others_can_write(path.stat())
    path.chmod(0o646)
    assert others_can_write(path.stat())
    if os.geteuid() == 0:
        path.chmod(0o664)
        assert not others_can_write(path.stat())
        os.chown(path, -1, OTHER)
        assert others_can_write(path.stat())
        os.chown(path, OTHER, 0)
        assert others_can_write(path.stat())
        path.chmod(0o644)
        assert not others_can_write(path.stat(), OTHER)
