"""Locks taken as they are: uv.lock as uv writes it, pylock.toml, and lists of conda packages."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.resolve.formats.locks import read_package_list
from asynccache.resolve.locked import Lock, LockedResolver, read_lock
from asynccache.resolve.pypi.uv_program import find_uv, own_environment
from asynccache.resolve.resolver import Solution
from tests.support.pypi_index import PyPIIndex, write_distribution, write_sdist, write_source_tree
from tests.support.pypi_problems import HERE, helper_conda, pypi_problem

OTHER = "osx-arm64" if HERE != "osx-arm64" else "linux-64"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PyPIIndex]:
    with PyPIIndex(tmp_path / "index") as index:
        yield index


def uv(project: Path, index: PyPIIndex, *arguments: str) -> str:
    env = own_environment(os.environ) | {"UV_DEFAULT_INDEX": index.url, "UV_CACHE_DIR": str(project.parent / "uvc")}
    done = subprocess.run(
        [find_uv(), "--no-config", "-q", *arguments], cwd=project, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def locked(project: Path, index: PyPIIndex, dependencies: str, more: str = "") -> Lock:
    """Lock a project with uv and read what it wrote."""
    project.mkdir(exist_ok=True)
    (project / "pyproject.toml").write_text(
        f'[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = {dependencies}\n{more}',
        "utf-8",
    )
    uv(project, index, "lock")
    path = project / "uv.lock"
    return read_lock(str(path), path.read_text("utf-8"))


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


def stems(solution: Solution) -> list[str]:
    return [package.filename for package in solution.packages if package.kind == "pypi"]


async def test_a_uv_lock_gives_each_architecture_and_python_its_own(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(
        index.directory, "app", requires=["mac; sys_platform == 'darwin'", "old; python_version < '3.11'"]
    )
    for name in ("mac", "old"):
        write_distribution(index.directory, name)
    for tag in (
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-cp311-macosx_11_0_arm64",
        "cp310-cp310-manylinux_2_17_x86_64",
    ):
        write_distribution(index.directory, "native", tag=tag)
    lock = locked(tmp_path / "project", index, '["app", "native"]')
    assert lock.format.name == "uv.lock"
    assert stems(lock.solution("linux-64", "3.11.9")) == [
        "app-1.0-py3-none-any",
        "native-1.0-cp311-cp311-manylinux_2_17_x86_64",
    ]
    assert stems(lock.solution("osx-arm64", "3.11.9")) == [
        "app-1.0-py3-none-any",
        "mac-1.0-py3-none-any",
        "native-1.0-cp311-cp311-macosx_11_0_arm64",
    ]
    assert "old-1.0-py3-none-any" in stems(lock.solution("linux-64", "3.10.14"))


async def test_a_uv_lock_follows_extras_groups_and_forks(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(index.directory, "app", extras={"x": ["extra-lib"], "y": ["never"]})
    for name in ("extra-lib", "never", "tester", "documenter"):
        write_distribution(index.directory, name)
    write_distribution(index.directory, "forked", "1.0")
    write_distribution(index.directory, "forked", "2.0")
    forked = "\"forked<2; sys_platform == 'darwin'\", \"forked>=2; sys_platform != 'darwin'\""
    groups = '[dependency-groups]\ndev = ["tester"]\ndocs = ["documenter"]\n'
    lock = locked(tmp_path / "project", index, f'["app[x]", {forked}]', groups)
    expected = ["app-1.0-py3-none-any", "extra_lib-1.0-py3-none-any", "{}", "tester-1.0-py3-none-any"]
    assert stems(lock.solution("linux-64", "3.11.9")) == [e.format("forked-2.0-py3-none-any") for e in expected]
    assert stems(lock.solution("osx-arm64", "3.11.9")) == [e.format("forked-1.0-py3-none-any") for e in expected]


async def test_who_only_caches_takes_from_a_uv_lock_what_resolving_takes(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(index.directory, "app", requires=["lib>=1"])
    for name in ("lib", "extra-lib", "tester", "documenter"):
        write_distribution(index.directory, name)
    more = (
        '[project.optional-dependencies]\nx = ["extra-lib"]\n'
        '[dependency-groups]\ndev = ["tester"]\ndocs = ["documenter"]\n'
    )
    lock = locked(tmp_path / "project", index, '["app"]', more)

    def cached(**selection: Any) -> list[str]:
        found = read_package_list(lock.name, lock.text, arches=(HERE,), python="3.11.9", **selection)
        return [str(package.url) for package in found]

    def names(urls: list[str]) -> list[str]:
        return [url.rpartition("/")[2].split("-")[0] for url in urls]

    assert cached() == [package.url for package in lock.solution(HERE, "3.11.9").packages]
    assert names(cached(extras=frozenset({"x"}))) == ["app", "extra_lib", "lib", "tester"]
    assert names(cached(groups=frozenset({"docs"}))) == ["app", "documenter", "lib"]
    for wrong in ({"extras": frozenset({"y"})}, {"groups": frozenset({"y"})}):
        with pytest.raises(UsageError, match=r"it has not all the .* asked for: expected y"):
            cached(**wrong)


async def test_source_trees_of_a_uv_lock_are_no_archives(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(index.directory, "lib")
    tree = write_source_tree(tmp_path / "tree", "from-tree", "0.3")
    more = f'[tool.uv.sources]\nfrom-tree = {{ path = "{tree}" }}\n'
    lock = locked(tmp_path / "project", index, '["from-tree", "lib"]', more)
    with pytest.raises(UsageError, match=r"package from-tree: .* is a source directory, which has no archive"):
        read_package_list(lock.name, lock.text, python="3.11.9")
    found = read_package_list(lock.name, lock.text, python="3.11.9", skip_sources=True)
    assert [package.name.name for package in found] == ["lib"]
    (skipped,) = found.skipped
    assert skipped.endswith("is no archive")


async def test_a_uv_lock_holds_what_uv_exports(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(index.directory, "app", requires=["lib>=1"], extras={"x": ["extra-lib"]})
    for name in ("lib", "extra-lib"):
        write_distribution(index.directory, name)
    project = tmp_path / "project"
    lock = locked(project, index, '["app[x]"]')
    exported = tomllib.loads(uv(project, index, "export", "--frozen", "--format", "pylock.toml"))
    named = sorted(package["name"] for package in exported["packages"])
    assert [stem.split("-")[0].replace("_", "-") for stem in stems(lock.solution(HERE, "3.11.9"))] == named


async def test_digests_of_a_lock_are_recorded_as_other_readers_expect_and_make_it_its_own(
    index: PyPIIndex, tmp_path: Path
) -> None:
    wheel = write_distribution(index.directory, "lib")
    lock = locked(tmp_path / "project", index, '["lib"]')
    (package,) = lock.solution(HERE, "3.11.9").packages
    assert package.hashes == {"sha256": hashlib.sha256(wheel.read_bytes()).hexdigest()}
    assert package.published_hash is None
    assert lock.unique_keys == {"uv_lock_content_hash": hashlib.sha256(lock.text.encode()).hexdigest()}


async def test_sources_of_a_uv_lock_are_builds_here_and_refused_elsewhere(index: PyPIIndex, tmp_path: Path) -> None:
    write_sdist(index.directory, "source-only", "1.5")
    tree = write_source_tree(tmp_path / "tree", "from-tree", "0.3")
    more = f'[tool.uv.sources]\nfrom-tree = {{ path = "{tree}" }}\n'
    lock = locked(tmp_path / "project", index, '["source-only", "from-tree"]', more)
    builds = {build.name: build for build in lock.solution(HERE, "3.11.9").builds}
    assert builds["source-only"].location == index.file_url("source_only-1.5.tar.gz")
    assert len(builds["source-only"].sha256 or "") == 64
    assert builds["from-tree"].location == tree.as_uri()
    with pytest.raises(UsageError, match="across architectures"):
        lock.solution(OTHER, "3.11.9")


async def test_a_repository_in_a_uv_lock_is_pinned(index: PyPIIndex, tmp_path: Path) -> None:
    repository = write_source_tree(tmp_path / "repo" / "sub", "from-git", "0.5").parent
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    commit = git(repository, "rev-parse", "HEAD")
    requirement = f'["from-git @ git+{repository.as_uri()}@main#subdirectory=sub"]'
    hatch = "[tool.hatch.metadata]\nallow-direct-references = true\n"
    (build,) = locked(tmp_path / "project", index, requirement, hatch).solution(HERE, "3.11.9").builds
    assert build.location == f"git+{repository.as_uri()}@{commit}"
    assert build.subdirectory == "sub"


async def test_a_lock_for_other_pythons_or_platforms_is_refused(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(index.directory, "native", tag="cp311-cp311-manylinux_2_17_x86_64")
    write_distribution(index.directory, "lib")
    lock = locked(tmp_path / "project", index, "[\"native; sys_platform == 'linux'\"]")
    with pytest.raises(UsageError, match=r"uv\.lock.*does not hold for linux-64 with Python 3\.9\.1"):
        lock.solution("linux-64", "3.9.1")
    with pytest.raises(
        UsageError, match=r"package native.*does not hold for linux-aarch64.*No wheel found.*found native-1"
    ):
        lock.solution("linux-aarch64", "3.11.9")
    assert lock.solution("osx-arm64", "3.11.9").packages == ()
    only = "[tool.uv]\nenvironments = [\"sys_platform == 'darwin'\"]\n"
    darwin = locked(tmp_path / "second", index, '["lib"]', only)
    assert stems(darwin.solution("osx-arm64", "3.11.9")) == ["lib-1.0-py3-none-any"]


async def test_an_editable_dependency_is_refused(index: PyPIIndex, tmp_path: Path) -> None:
    tree = write_source_tree(tmp_path / "tree", "from-tree", "0.3")
    more = f'[tool.uv.sources]\nfrom-tree = {{ path = "{tree}" }}\n'
    lock = locked(tmp_path / "project", index, '["from-tree"]', more)
    lock = read_lock(lock.name, lock.text.replace("directory =", "editable ="))
    with pytest.raises(UsageError, match=r"package from-tree.*Cannot include an editable PYPI package"):
        lock.solution(HERE, "3.11.9")


@pytest.mark.parametrize(
    "text",
    [
        "version = 2\n[[package]]\n",
        "version = 1\n[[package]\n",
        'version = 1\n[[package]]\nname = "a"\n',
        'version = 1\n[[package]]\nname = "a"\nsource = { registry = "https://h" }\n',
        'version = 1\n[[package]]\nname = "a"\nsource = { virtual = "." }\ndependencies = [{ name = "b" }]\n',
        'version = 1\nsupported-markers = ["x"]\n[[package]]\nname = "a"\nsource = { virtual = "." }\n',
    ],
)
def test_a_uv_lock_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(UsageError, match=r"uv\.lock"):
        read_lock("uv.lock", text).solution("linux-64", "3.11.9")


async def test_python_and_the_helpers_come_after_the_packages_of_a_pypi_lock(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(index.directory, "lib")
    settings = Settings(cache_dir=tmp_path / "cache")
    lock = locked(tmp_path / "project", index, '["lib"]')
    resolver = LockedResolver(lock, settings, conda=helper_conda(settings))
    solution = await resolver.resolve(pypi_problem("lib", indexes=[index.url], python="3.10.*"))
    assert [package.kind for package in solution.packages][:2] == ["pypi", "conda"]
    assert "python-3.10.14-h1_0" in {package.filename for package in solution.packages}
    assert solution.resolver == "locked"


async def test_a_pylock_is_read_for_its_target(index: PyPIIndex, tmp_path: Path) -> None:
    write_distribution(index.directory, "app", requires=["mac; sys_platform == 'darwin'"])
    write_distribution(index.directory, "mac")
    project = tmp_path / "project"
    locked(project, index, '["app"]')
    uv(project, index, "export", "--frozen", "--format", "pylock.toml", "-o", "pylock.toml")
    path = project / "pylock.toml"
    lock = read_lock(str(path), path.read_text("utf-8"))
    assert lock.unique_keys == {}
    assert stems(lock.solution("linux-64", "3.11.9")) == ["app-1.0-py3-none-any"]
    assert stems(lock.solution("osx-arm64", "3.11.9")) == ["app-1.0-py3-none-any", "mac-1.0-py3-none-any"]
    assert set(lock.solution("linux-64", "3.11.9").packages[0].hashes) == {"sha256"}


CONDA = "https://conda.anaconda.org/conda-forge"
MD5 = "0" * 32


async def test_an_explicit_list_is_taken_in_its_order_and_for_its_architecture_only(tmp_path: Path) -> None:
    text = (
        f"@EXPLICIT\n{CONDA}/linux-64/python-3.11.9-h1_0.conda#{MD5}\n{CONDA}/noarch/b-1-0.conda#{MD5}\n"
        f"{CONDA}/noarch/a-1-0.tar.bz2#{MD5}\n"
    )
    lock = read_lock("list.txt", text)
    settings = Settings(cache_dir=tmp_path)
    solution = await LockedResolver(lock, settings).resolve(pypi_problem(arch="linux-64"))
    assert [p.filename for p in solution.packages] == ["python-3.11.9-h1_0", "b-1-0", "a-1-0"]
    assert solution.packages[0].hashes == {".conda": MD5}
    with pytest.raises(UsageError, match=r"list\.txt.*no package for osx-arm64|not for osx-arm64"):
        read_lock("list.txt", f"@EXPLICIT\n{CONDA}/linux-64/python-3.11.9-h1_0.conda#{MD5}\n").solution("osx-arm64")


def test_a_wheel_of_a_list_has_to_fit(tmp_path: Path) -> None:
    wheel = "https://h/x-1-cp310-cp310-manylinux_2_17_x86_64.whl#sha256=" + "0" * 64
    text = f"@EXPLICIT\n{CONDA}/linux-64/python-3.11.9-h1_0.conda#{MD5}\n{wheel}\n"
    with pytest.raises(UsageError, match=r"wheels that do not fit linux-64 with Python 3\.11\.9.*x-1"):
        read_lock("list.txt", text).solution("linux-64")
