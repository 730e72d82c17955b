"""Wheels built from sdists, repositories and directories, and what the store gets of them."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from packaging.version import Version

from asynccache.config import Settings
from asynccache.engine import keyring
from asynccache.engine.engine import Engine
from asynccache.errors import BuildError, FetchError, IntegrityError, ResolveTimeoutError, UsageError
from asynccache.resolve.build.source_address import directory_digest
from asynccache.resolve.build.wheel_build import WheelBuilder
from asynccache.resolve.build.wheel_rename import built_version, rename_wheel
from asynccache.resolve.pypi.problem import read_pypi_problem
from asynccache.resolve.pypi.uv_resolver import UvResolver
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.resolver import SourceBuild
from asynccache.store import layout
from tests.support.keyring import write_keyring
from tests.support.pypi_index import PyPIIndex, write_distribution, write_sdist, write_source_tree
from tests.support.pypi_problems import HERE, helper_conda, pypi_problem
from tests.support.static_files import serve_files
from tests.support.waiting import alive, until_it_holds

SECONDS = 60.0
TARGET = PythonTarget(HERE, "{}.{}.{}".format(*sys.version_info), 31)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PyPIIndex]:
    with PyPIIndex(tmp_path / "index") as index:
        yield index


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    settings = Settings(cache_dir=tmp_path / "cache", store=str(tmp_path / "store"), attempts=1)
    async with Engine(settings) as engine:
        yield engine


@pytest.fixture
def builder(engine: Engine, index: PyPIIndex, tmp_path: Path) -> WheelBuilder:
    return builder_of(engine, index, tmp_path / "builds")


async def running_python() -> Path:
    return Path(sys.executable)


def builder_of(engine: Engine, index: PyPIIndex, directory: Path, *, locked: bool = False) -> WheelBuilder:
    directory.mkdir()
    problem = read_pypi_problem(pypi_problem(indexes=[index.url]), engine.host.settings)
    return WheelBuilder(
        engine.host,
        engine.store,
        engine.sources.fetcher,
        python=running_python,
        target=TARGET,
        problem=problem,
        directory=directory,
        locked=locked,
    )


def sdist_build(index: PyPIIndex, path: Path, name: str = "source-only", **more: str) -> SourceBuild:
    digest = more.pop("sha256", hashlib.sha256(path.read_bytes()).hexdigest())
    return SourceBuild(name, "1.5", index.file_url(path.name), sha256=digest, size=path.stat().st_size)


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


def repository_of(path: Path, name: str) -> str:
    write_source_tree(path, name, "0.5")
    git(path, "init", "-q", "-b", "main")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "first")
    first = git(path, "rev-parse", "HEAD")
    (path / "backend.py").write_text("raise SystemExit('a later commit')", "utf-8")
    git(path, "commit", "-qam", "second")
    git(path, "update-server-info")
    return first


async def keys(engine: Engine) -> list[str]:
    return sorted([info.key async for info in engine.store.scan("packages/")])


async def test_the_keyring_of_the_helper_environment_answers_for_what_a_build_needs(
    engine: Engine, index: PyPIIndex, builder: WheelBuilder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyring, "_FURTHER", {})
    write_distribution(index.directory, "needed")
    tree = write_source_tree(tmp_path / "tree", "from-tree")
    project = tree / "pyproject.toml"
    project.write_text(project.read_text("utf-8").replace("requires = []", 'requires = ["needed"]'), "utf-8")
    programs = write_keyring(tmp_path / "bin", index.host, "me", "of-the-cloud", by_address=True)
    (programs / "python").symlink_to(sys.executable)
    index.login = ("me", "of-the-cloud")

    async def python() -> Path:
        return programs / "python"

    builder.python = python
    (built,) = await builder.build([SourceBuild("from-tree", None, tree.as_uri())], SECONDS)
    assert built.wheel is not None


async def test_an_sdist_becomes_a_wheel_of_its_name_stored_beside_it(
    engine: Engine, index: PyPIIndex, builder: WheelBuilder
) -> None:
    path = write_sdist(index.directory, "source-only", "1.5")
    (built,) = await builder.build([sdist_build(index, path)], SECONDS)
    package = await builder.publish(built)
    stem = "source_only-1.5-py3-none-any"
    assert package.filename == stem
    assert (package.url, package.url_format) == (index.file_url(path.name), ".tar.gz")
    assert package.published_hash == hashlib.sha256(path.read_bytes()).hexdigest()
    below = f"packages/pypi/{index.host}/files/{path.name}"
    wheel_digest = package.hashes[".whl"]
    assert await keys(engine) == sorted(
        [
            f"{below}/{stem}.whl/{wheel_digest}/{stem}.whl",
            f"{below}/{stem}.tar.gz/{package.published_hash}/{stem}.tar.gz",
        ]
    )
    assert set(package.cached) == {".whl", ".tar.gz"}
    assert built.wheel is not None
    with zipfile.ZipFile(built.wheel) as archive:
        assert archive.read("source_only.py").decode() == f"BUILT_WITH = {sys.version_info[:2]!r}\n"


async def test_an_archive_of_a_tag_is_built_under_the_name_that_was_asked_for(
    engine: Engine, index: PyPIIndex, builder: WheelBuilder
) -> None:
    path = write_sdist(index.directory, "source-only", "1.5")
    path = path.rename(path.with_name("v1.5.tar.gz"))
    (built,) = await builder.build([sdist_build(index, path)], SECONDS)
    package = await builder.publish(built)
    assert (package.filename, package.url) == ("source_only-1.5-py3-none-any", index.file_url("v1.5.tar.gz"))
    assert set(package.cached) == {".whl", ".tar.gz"}


async def test_what_the_store_has_of_a_source_is_not_built_again(
    engine: Engine, index: PyPIIndex, builder: WheelBuilder, tmp_path: Path
) -> None:
    source = sdist_build(index, write_sdist(index.directory, "source-only", "1.5"))
    tree = write_source_tree(tmp_path / "tree", "from-tree", "0.3")
    sources = [source, SourceBuild("from-tree", None, tree.as_uri())]
    first = [await builder.publish(built) for built in await builder.build(sources, SECONDS)]
    stored = await keys(engine)
    index.requests.clear()
    again = builder_of(engine, index, tmp_path / "again")
    second = await again.build(sources, SECONDS)
    assert [built.wheel for built in second] == [None, None]
    assert [await again.publish(built) for built in second] == first
    assert await keys(engine) == stored
    assert not index.requests


async def test_of_two_builds_that_raced_the_one_in_the_store_counts(
    engine: Engine, index: PyPIIndex, builder: WheelBuilder, tmp_path: Path
) -> None:
    source = sdist_build(index, write_sdist(index.directory, "source-only", "1.5"))
    (mine,) = await builder.build([source], SECONDS)
    package = mine.package
    theirs = "ab" * 32
    address = layout.SourceAddress.parse(package.url, "pypi")
    key = layout.archive_key(address, f"{package.filename}.whl", theirs)
    await engine.store.put(key, b"their wheel")
    published = await builder.publish(mine)
    assert published.hashes[".whl"] == theirs
    assert published.cached[".whl"] == key
    assert len([k for k in await keys(engine) if k.endswith(".whl")]) == 1


async def test_an_sdist_with_other_bytes_is_refused_before_anything_of_it_runs(
    engine: Engine, index: PyPIIndex, builder: WheelBuilder, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    path = write_sdist(index.directory, "source-only", "1.5", before_build=f"open({str(ran)!r}, 'w').close()")
    with pytest.raises((IntegrityError, FetchError), match="sha256"):
        await builder.build([sdist_build(index, path, sha256="0" * 64)], SECONDS)
    assert not ran.exists()
    assert await keys(engine) == []


@pytest.mark.parametrize("transport", ["file", "http"])
async def test_a_repository_is_built_at_its_commit_under_a_fake_address_and_another_version(
    engine: Engine, builder: WheelBuilder, tmp_path: Path, transport: str
) -> None:
    repository = tmp_path / "repo"
    commit = repository_of(repository, "from-git")
    with serve_files(tmp_path) as host:
        address = f"http://{host}/repo/.git" if transport == "http" else repository.as_uri()
        (built,) = await builder.build([SourceBuild("from-git", "0.5", f"git+{address}@{commit}")], SECONDS)
    package = await builder.publish(built)
    expected = (
        f"http://_fake/{host}/repo/.git/{commit}" if transport == "http" else f"file://_fake/{repository}/{commit}"
    )
    assert package.url == expected
    assert package.url_format == ".whl"
    assert not package.downloadable
    version = Version(package.filename.split("-")[1])
    assert version.dev is not None
    assert version.local == "mfbuild"
    (key,) = await keys(engine)
    assert key.startswith("packages/pypi/_fake/")
    assert f"/{commit}/{package.filename}.whl/{package.hashes['.whl']}/" in key


async def test_a_directory_is_known_by_its_newest_file_and_left_as_it_was(
    engine: Engine, builder: WheelBuilder, tmp_path: Path
) -> None:
    tree = write_source_tree(tmp_path / "tree", "from-tree", "0.3")
    before = {path.name: path.stat().st_mtime_ns for path in tree.rglob("*")}
    state = directory_digest(tree)
    (built,) = await builder.build([SourceBuild("from-tree", None, tree.as_uri())], SECONDS)
    assert built.package.url == f"file://_fake/local-{state}/from-tree-0.3"
    assert {path.name: path.stat().st_mtime_ns for path in tree.rglob("*")} == before
    (tree / "build").mkdir()
    (tree / "build" / "x").touch()
    assert directory_digest(tree) == state
    (tree / "new.py").touch()
    assert directory_digest(tree) != state


async def test_sources_of_a_lock_have_the_addresses_that_locks_have(
    engine: Engine, index: PyPIIndex, tmp_path: Path
) -> None:
    tree = write_source_tree(tmp_path / "tree" / "sub" / "dir", "from-git", "0.3")
    repository = tmp_path / "tree"
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    commit = git(repository, "rev-parse", "HEAD")
    builder = builder_of(engine, index, tmp_path / "builds", locked=True)
    location = f"git+{repository.as_uri()}@{commit}"
    of_git, of_tree = await builder.build(
        [SourceBuild("from-git", None, location, "sub/dir"), SourceBuild("from-git", "0.3", tree.as_uri())], SECONDS
    )
    assert of_git.package.url == f"file://_fake/{repository}/{commit}/sub%2Fdir"
    assert of_tree.package.url == f"file://_fake/{tree}/from-git-0.3.whl"


async def test_a_local_wheel_keeps_its_name_under_its_digest(
    engine: Engine, builder: WheelBuilder, tmp_path: Path
) -> None:
    wheel = write_distribution(tmp_path, "lib", "1.0")
    (built,) = await builder.build([SourceBuild("lib", "1.0", wheel.as_uri())], SECONDS)
    package = await builder.publish(built)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert package.url == f"file://_fake/local-{digest}/lib-1.0-py3-none-any"
    assert package.filename == "lib-1.0-py3-none-any"
    assert wheel.exists()


async def test_all_wheels_that_do_not_fit_are_named_together(
    engine: Engine, builder: WheelBuilder, index: PyPIIndex, tmp_path: Path
) -> None:
    trees = [write_source_tree(tmp_path / n, n, tag="cp39-cp39-manylinux_2_17_x86_64") for n in ("one", "two")]
    sources = [SourceBuild(tree.name, None, tree.as_uri()) for tree in trees]
    with pytest.raises(BuildError, match=r"not compatible with the target architecture.*one-.*two-"):
        await builder.build(sources, SECONDS)


async def test_a_build_that_fails_shows_its_last_lines_and_all_failures_are_told(
    engine: Engine, builder: WheelBuilder, tmp_path: Path
) -> None:
    sources = []
    for name in ("one", "two"):
        tree = write_source_tree(tmp_path / name, name, before_build=f"raise SystemExit('no compiler for {name}')")
        sources.append(SourceBuild(name, None, tree.as_uri()))
    with pytest.raises(BuildError, match=r"(?s)2 wheels.*no compiler for one.*no compiler for two"):
        await builder.build(sources, SECONDS)


async def test_a_build_that_takes_too_long_is_killed_with_what_it_started(
    engine: Engine, builder: WheelBuilder, tmp_path: Path
) -> None:
    pid = tmp_path / "pid"
    before = f"import subprocess, time; p = subprocess.Popen(['sleep', '300']); open({str(pid)!r}, 'w').write(str(p.pid)); time.sleep(300)"  # noqa: E501
    tree = write_source_tree(tmp_path / "slow", "slow", before_build=before)
    with pytest.raises(ResolveTimeoutError):
        await builder.build([SourceBuild("slow", None, tree.as_uri())], 4.0)
    await until_it_holds(lambda: not alive(int(pid.read_text())))


async def test_another_architecture_is_refused(engine: Engine, index: PyPIIndex, tmp_path: Path) -> None:
    other = PythonTarget("osx-arm64" if HERE != "osx-arm64" else "linux-64", "3.11")
    problem = read_pypi_problem(pypi_problem(indexes=[index.url]), engine.host.settings)
    with pytest.raises(UsageError, match="across architectures"):
        WheelBuilder(
            engine.host,
            engine.store,
            engine.sources.fetcher,
            python=running_python,
            target=other,
            problem=problem,
            directory=tmp_path,
        )


async def test_what_uv_finds_as_source_can_be_built(
    engine: Engine, index: PyPIIndex, builder: WheelBuilder, tmp_path: Path
) -> None:
    write_sdist(index.directory, "source-only", "1.5", requires=["lib"])
    write_distribution(index.directory, "lib")
    commit = repository_of(tmp_path / "repo", "from-git")
    tree = write_source_tree(tmp_path / "tree", "from-tree", "0.3")
    local = write_distribution(tmp_path, "bare", "2.0")
    settings = engine.host.settings
    problem = pypi_problem(
        "source-only",
        f"from-git@git+{(tmp_path / 'repo').as_uri()}@{commit}",
        f"from-tree@{tree}",
        f"bare@{local}",
        indexes=[index.url],
    )
    solution = await UvResolver(settings, conda=helper_conda(settings)).resolve(problem)
    built = await builder.build(solution.builds, SECONDS)
    names = {each.package.filename.split("-")[0] for each in built}
    assert names == {"source_only", "from_git", "from_tree", "bare"}


def test_the_version_of_a_build_is_the_contracts() -> None:
    digest = "7c638811" + "0" * 56
    assert str(built_version(Version("1.0.0"), digest)) == "1.0.0.dev72638811+mfbuild"
    assert str(built_version(Version("1!1.2rc1.post3.dev4+a.b"), digest)) == "1!1.2rc1.post3.dev4+a.b.mfbuild"


def test_a_renamed_wheel_is_whole(tmp_path: Path) -> None:
    wheel = write_distribution(tmp_path, "foo", "1.0.0")
    (tmp_path / "out").mkdir()
    renamed = rename_wheel(wheel, tmp_path / "out")
    _, version, *rest = renamed.name.removesuffix(".whl").split("-")
    assert rest == ["py3", "none", "any"]
    with zipfile.ZipFile(renamed) as archive:
        information = f"foo-{version}.dist-info"
        assert f"Version: {version}\n" in archive.read(f"{information}/METADATA").decode()
        rows = dict(row.split(",", 1) for row in archive.read(f"{information}/RECORD").decode().splitlines())
        assert set(rows) == set(archive.namelist())
        assert rows[f"{information}/RECORD"] == ","
    broken = tmp_path / "bad-1-py3-none-any.whl"
    broken.write_bytes(b"no zip")
    with pytest.raises(BuildError):
        rename_wheel(broken, tmp_path / "out")
