"""Environments of PyPI packages, solved by pip, and that it agrees with uv."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.errors import (
    IndexRefusedError,
    IndexUnreachableError,
    IntegrityError,
    PackageUnknownError,
    ResolverFailedError,
    ResolverMissingError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.environment import ResolvedEnvironment
from asynccache.resolve.pypi.pip_resolver import PipResolver, read_report
from asynccache.resolve.pypi.uv_resolver import UvResolver
from asynccache.resolve.resolver import Solution
from tests.support.keyring import write_keyring
from tests.support.pypi_index import PyPIIndex, write_distribution, write_sdist, write_source_tree
from tests.support.pypi_problems import HERE, as_environment, helper_conda, pypi_problem

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="no pip in this Python")
PYTHON = "{}.{}.*".format(*sys.version_info)
SECRET = "hunter2/of the?index"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PyPIIndex]:
    with PyPIIndex(tmp_path / "index") as index:
        yield index


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", attempts=1)


@pytest.fixture
def resolver(settings: Settings) -> PipResolver:
    return PipResolver(settings, conda=helper_conda(settings))


def pypi(solution: Solution) -> list[str]:
    return [package.filename for package in solution.packages if package.kind == "pypi"]


@pytest.mark.long
async def test_pip_and_uv_agree_on_pinned_input(index: PyPIIndex, settings: Settings, resolver: PipResolver) -> None:
    write_distribution(index.directory, "app", "1.0", requires=["lib>=1,<3"], extras={"x": ["extra-lib==1.0"]})
    write_distribution(index.directory, "extra-lib", "1.0")
    for version in ("1.0", "2.0", "3.0"):
        write_distribution(index.directory, "lib", version)
    write_sdist(index.directory, "source-only", "1.5")
    problem = pypi_problem("app[x]==1.0", "lib==2.0", "source-only==1.5", indexes=[index.url], python=PYTHON)
    by_pip = await resolver.resolve(problem)
    by_uv = await UvResolver(settings, conda=helper_conda(settings)).resolve(problem)
    assert by_pip.packages == by_uv.packages
    assert [replace(b, size=None) for b in by_pip.builds] == [replace(b, size=None) for b in by_uv.builds]
    assert pypi(by_pip) == ["app-1.0-py3-none-any", "extra_lib-1.0-py3-none-any", "lib-2.0-py3-none-any"]
    assert by_pip.resolver == "pip"


@pytest.mark.long
async def test_a_yanked_pin_is_noted(index: PyPIIndex, resolver: PipResolver) -> None:
    index.yanked[write_distribution(index.directory, "app").name] = "it is broken"
    solution = await resolver.resolve(pypi_problem("app==1.0", indexes=[index.url], python=PYTHON))
    assert solution.notes == ("app==1.0 is yanked: its authors took it back (it is broken)",)


async def test_markers_and_tags_are_those_of_another_architecture(index: PyPIIndex, resolver: PipResolver) -> None:
    write_distribution(
        index.directory, "app", requires=["mac; sys_platform == 'darwin'", "lin; sys_platform == 'linux'"]
    )
    for name in ("mac", "lin"):
        write_distribution(index.directory, name)
    tag = "cp{}{}".format(*sys.version_info)
    write_distribution(index.directory, "native", tag=f"{tag}-{tag}-macosx_11_0_arm64")
    write_distribution(index.directory, "native", tag=f"{tag}-{tag}-manylinux_2_17_aarch64")
    for arch, expected in (("osx-arm64", "mac"), ("linux-aarch64", "lin")):
        if arch == HERE:
            continue
        solution = await resolver.resolve(pypi_problem("app", "native", indexes=[index.url], python=PYTHON, arch=arch))
        assert [name.split("-")[0] for name in pypi(solution)] == sorted(["app", expected, "native"])
    other = "osx-arm64" if HERE != "osx-arm64" else "linux-64"
    tree = write_source_tree(index.directory.parent / "tree", "from-tree")
    with pytest.raises(UsageError, match="across architectures"):
        await resolver.resolve(pypi_problem(f"from-tree@{tree}", indexes=[index.url], python=PYTHON, arch=other))


async def test_flags_reach_pip(index: PyPIIndex, resolver: PipResolver, tmp_path: Path) -> None:
    write_distribution(index.directory, "lib", "1.0")
    write_distribution(index.directory, "lib", "2.0rc1")
    write_distribution(tmp_path / "links", "lib", "0.5")
    plain = await resolver.resolve(pypi_problem("lib", indexes=[index.url], python=PYTHON))
    early = await resolver.resolve(pypi_problem("lib", indexes=[index.url], python=PYTHON, extras=["--pre"]))
    assert (pypi(plain), pypi(early)) == (["lib-1.0-py3-none-any"], ["lib-2.0rc1-py3-none-any"])
    index.requests.clear()
    flags = ["--no-index", f"-f {tmp_path / 'links'}"]
    alone = await resolver.resolve(pypi_problem("lib", indexes=[index.url], python=PYTHON, extras=flags))
    # a wheel of this machine only has to be brought to the store as what was built is
    assert [build.location for build in alone.builds] == [(tmp_path / "links" / "lib-0.5-py3-none-any.whl").as_uri()]
    assert not index.requests


async def test_credentials_are_used_and_nowhere_shown(index: PyPIIndex, settings: Settings) -> None:
    write_distribution(index.directory, "lib")
    index.login = ("me", SECRET)
    problem = pypi_problem("lib", indexes=[index.url], python=PYTHON)
    right = PipResolver(replace(settings, auth={index.host: ["me", SECRET]}), conda=helper_conda(settings))
    solution = await right.resolve(problem)
    assert solution.packages[0].url == index.file_url("lib-1.0-py3-none-any.whl")
    index.login = ("me", "another")
    with pytest.raises(IndexUnreachableError, match=r"refuses \(401\)") as caught:
        await right.resolve(problem)
    assert "hunter2" not in str(caught.value)


@pytest.mark.long
async def test_a_second_index_that_refuses_is_no_missing_version(
    index: PyPIIndex, settings: Settings, tmp_path: Path
) -> None:
    write_distribution(index.directory, "lib", "0.9")
    with PyPIIndex(tmp_path / "own", login=("me", "right")) as own:
        wrong = PipResolver(replace(settings, auth={own.host: ["me", SECRET]}), conda=helper_conda(settings))
        with pytest.raises(IndexRefusedError, match=rf"{own.url} refuses \(401\); without it:\n.*lib==1.0"):
            await wrong.resolve(pypi_problem("lib==1.0", indexes=[index.url, own.url], python=PYTHON))


@pytest.mark.long
async def test_constraints_bound_what_is_brought_and_digests_what_is_taken(
    index: PyPIIndex, resolver: PipResolver
) -> None:
    write_distribution(index.directory, "app", requires=["lib"])
    for version in ("1.0", "2.0", "3.0"):
        wheel = write_distribution(index.directory, "lib", version)
    flags = ["--constraint lib<3", '--constraint lib<2; python_version < "3"', "--constraint other==1"]
    found = await resolver.resolve(pypi_problem("app", indexes=[index.url], extras=flags, python=PYTHON))
    assert pypi(found) == ["app-1.0-py3-none-any", "lib-2.0-py3-none-any"]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for allowed, error in (
        (digest, nullcontext()),
        ("0" * 64, pytest.raises(IntegrityError, match=rf"lib-3.* {digest}")),
    ):
        with error:
            await resolver.resolve(
                pypi_problem("lib", indexes=[index.url], extras=[f"--hash lib {allowed},{'1' * 64}"], python=PYTHON)
            )


async def test_failures_have_their_causes(index: PyPIIndex, resolver: PipResolver) -> None:
    write_distribution(index.directory, "app", requires=["lib<2"])
    for version in ("1.0", "2.0"):
        write_distribution(index.directory, "lib", version)
    with pytest.raises(UnsatisfiableError, match=r"(?s)cannot be met.*lib"):
        await resolver.resolve(pypi_problem("app", "lib==2.0", indexes=[index.url], python=PYTHON))
    with pytest.raises(UnsatisfiableError, match="lib"):
        await resolver.resolve(pypi_problem("lib==9", indexes=[index.url], python=PYTHON))
    with pytest.raises(PackageUnknownError, match=rf"'nothing-like-it'.*searched {index.url}"):
        await resolver.resolve(pypi_problem("nothing-like-it", indexes=[index.url], python=PYTHON))
    with pytest.raises(IndexUnreachableError, match=r"http://127.0.0.1:9/simple cannot be read"):
        await resolver.resolve(pypi_problem("lib", indexes=["http://127.0.0.1:9/simple"], python=PYTHON))


async def test_what_pip_cannot_do_is_refused(index: PyPIIndex, resolver: PipResolver) -> None:
    with pytest.raises(UsageError, match=r"pip cannot work offline.*uv"):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url], offline=True))
    with pytest.raises(UsageError, match=r"pip cannot leave out.*uv"):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url], exclude_newer=datetime(2024, 1, 1, tzinfo=UTC)))
    other = "3.10.*" if sys.version_info[:2] != (3, 10) else "3.11.*"
    with pytest.raises(ResolverMissingError, match="uv"):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url], python=other))


async def test_pip_of_the_helper_environment_is_used(index: PyPIIndex, settings: Settings) -> None:
    write_distribution(index.directory, "lib")
    asked: list[ResolvedEnvironment] = []

    async def prefix(environment: ResolvedEnvironment) -> Path:
        asked.append(environment)
        return Path(sys.prefix)

    resolver = PipResolver(settings, prefix=prefix, conda=helper_conda(settings))
    other = "osx-arm64" if HERE != "osx-arm64" else "linux-64"
    for arch in (HERE, other):
        assert pypi(await resolver.resolve(pypi_problem("lib", indexes=[index.url], python=PYTHON, arch=arch)))
    assert [environment.id.arch for environment in asked] == [HERE, HERE]
    assert all("pip-24.0-py_0" in {p.filename for p in environment.packages} for environment in asked)


async def test_a_base_is_kept(index: PyPIIndex, resolver: PipResolver) -> None:
    write_distribution(index.directory, "lib", "1.0")
    problem = pypi_problem("lib", indexes=[index.url], python=PYTHON)
    base = as_environment(problem, await resolver.resolve(problem))
    write_distribution(index.directory, "lib", "2.0")
    write_distribution(index.directory, "app", requires=["lib"])
    solution = await resolver.resolve(pypi_problem("lib", "app", indexes=[index.url], python=PYTHON, base=base))
    assert pypi(solution) == ["lib-1.0-py3-none-any", "app-1.0-py3-none-any"]
    assert all(package in solution.packages for package in base.packages)


def test_what_a_report_gives_only_an_md5_of_keeps_it_and_what_it_gives_nothing_of_is_refused() -> None:
    def entry(filename: str, hashes: dict[str, str]) -> dict[str, object]:
        information = {"url": f"http://127.0.0.1/{filename}", "archive_info": {"hashes": hashes}}
        return {"download_info": information, "metadata": {"name": filename[:3], "version": "1.0"}}

    md5 = {"md5": "0" * 32}
    found = read_report({"install": [entry("lib-1.0-py3-none-any.whl", md5), entry("app-1.0.tar.gz", md5)]})
    assert (found.packages[0].hashes, found.builds[0].md5) == (md5, md5["md5"])
    with pytest.raises(ResolverFailedError, match="Cannot find hash 'sha256'"):
        read_report({"install": [entry("lib-1.0-py3-none-any.whl", {"sha512": "0" * 128})]})


async def test_the_keyring_is_asked_for_an_index_that_refuses(
    index: PyPIIndex, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_distribution(index.directory, "lib")
    index.login = ("me", "s3cret-word")
    programs = write_keyring(tmp_path / "programs", index.host, *index.login)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    solution = await PipResolver(settings, conda=helper_conda(settings)).resolve(
        pypi_problem("lib", indexes=[index.url], python=PYTHON)
    )
    assert solution.packages[0].filename == "lib-1.0-py3-none-any"
    assert "s3cret" not in repr(solution)
