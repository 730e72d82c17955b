"""Environments of PyPI packages, solved by uv against an index on this machine."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.errors import (
    BuildError,
    IndexRefusedError,
    IndexUnreachableError,
    IntegrityError,
    PackageUnknownError,
    ResolverFailedError,
    ResolveTimeoutError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.environment import ResolvedEnvironment
from asynccache.resolve.pypi import uv_resolver
from asynccache.resolve.pypi.uv_program import UvProgram
from asynccache.resolve.pypi.uv_resolver import UvResolver
from asynccache.resolve.resolver import Solution
from tests.support.pypi_index import PyPIIndex, write_distribution, write_sdist, write_source_tree
from tests.support.pypi_problems import HERE, as_environment, helper_conda, pypi_problem

SECRET = "hunter2/of the?index"
LINUX = HERE == "linux-64"


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PyPIIndex]:
    with PyPIIndex(tmp_path / "index") as index:
        yield index


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", attempts=1)


@pytest.fixture
def resolver(settings: Settings) -> UvResolver:
    return UvResolver(settings, conda=helper_conda(settings))


def pypi(solution: Solution) -> list[str]:
    return [package.filename for package in solution.packages if package.kind == "pypi"]


def conda(solution: Solution) -> set[str]:
    return {package.filename.rsplit("-", 2)[0] for package in solution.packages if package.kind == "conda"}


async def test_pypi_packages_come_first_with_sha256_and_size_then_the_helper_environment(
    index: PyPIIndex, resolver: UvResolver
) -> None:
    write_distribution(index.directory, "app", requires=["lib>=1"])
    wheel = write_distribution(index.directory, "lib", "2.0")
    solution = await resolver.resolve(pypi_problem("app", indexes=[index.url]))
    assert pypi(solution) == ["app-1.0-py3-none-any", "lib-2.0-py3-none-any"]
    assert [p.kind for p in solution.packages[:2]] == ["pypi", "pypi"]
    assert conda(solution) >= {"python", "pip", "wheel", "tomli", "setuptools", "uv"}
    assert "setuptools-81.0-py_0" in {p.filename for p in solution.packages}
    lib = solution.packages[1]
    assert lib.url == index.file_url(wheel.name)
    assert len(lib.hashes[".whl"]) == 64
    assert solution.sizes[lib.url] == wheel.stat().st_size
    assert solution.resolver == "uv"


async def test_links_of_the_machine_count_beside_the_indexes(
    index: PyPIIndex, resolver: UvResolver, tmp_path: Path
) -> None:
    write_distribution(tmp_path / "links", "app")
    problem = pypi_problem("app", indexes=[index.url], pip_flags=(f"--find-links {tmp_path / 'links'}",))
    assert pypi(await resolver.resolve(problem)) == ["app-1.0-py3-none-any"]


async def test_a_yanked_pin_is_noted(index: PyPIIndex, resolver: UvResolver) -> None:
    index.yanked[write_distribution(index.directory, "app").name] = "it is broken"
    solution = await resolver.resolve(pypi_problem("app==1.0", indexes=[index.url]))
    assert pypi(solution) == ["app-1.0-py3-none-any"]
    assert solution.notes == ("app==1.0 is yanked: its authors took it back (it is broken)",)


async def test_extras_bring_what_they_need(index: PyPIIndex, resolver: UvResolver) -> None:
    write_distribution(index.directory, "app", extras={"fast": ["speed"], "more": ["other"]})
    write_distribution(index.directory, "speed")
    write_distribution(index.directory, "other")
    solution = await resolver.resolve(pypi_problem("app[fast]", indexes=[index.url]))
    assert pypi(solution) == ["app-1.0-py3-none-any", "speed-1.0-py3-none-any"]


async def test_markers_are_those_of_the_target_and_not_of_this_machine(index: PyPIIndex, resolver: UvResolver) -> None:
    needs = [
        "mac; sys_platform == 'darwin'",
        "arm; platform_machine == 'aarch64'",
        "old; python_version < '3.11'",
        "patch; python_full_version >= '3.10.14' and python_version == '3.10'",
    ]
    write_distribution(index.directory, "app", requires=needs)
    for name in ("mac", "arm", "old", "patch"):
        write_distribution(index.directory, name)

    async def found(arch: str, python: str) -> set[str]:
        solution = await resolver.resolve(pypi_problem("app", indexes=[index.url], arch=arch, python=python))
        return {name.split("-")[0] for name in pypi(solution)} - {"app"}

    # the exact Python is the one that conda gives: 3.10.14
    assert await found("osx-arm64", "3.10.*") == {"mac", "old", "patch"}
    assert await found("linux-aarch64", "3.11.*") == {"arm"}
    assert await found("linux-64", "3.12.*") == set()


async def test_a_marker_of_the_request_holds_for_the_target(index: PyPIIndex, resolver: UvResolver) -> None:
    write_distribution(index.directory, "mac")
    write_distribution(index.directory, "lib")
    request = ("lib", "mac;sys_platform == 'darwin'")
    assert pypi(await resolver.resolve(pypi_problem(*request, indexes=[index.url], arch="osx-arm64"))) == [
        "lib-1.0-py3-none-any",
        "mac-1.0-py3-none-any",
    ]
    assert pypi(await resolver.resolve(pypi_problem(*request, indexes=[index.url], arch="linux-64"))) == [
        "lib-1.0-py3-none-any"
    ]


async def test_the_wheel_suits_the_architecture_the_python_and_the_glibc_that_was_asked_for(
    index: PyPIIndex, resolver: UvResolver
) -> None:
    for tag in (
        "cp311-cp311-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_28_x86_64",
        "cp311-cp311-manylinux_2_35_x86_64",
        "cp311-cp311-macosx_11_0_arm64",
        "cp310-cp310-manylinux_2_17_x86_64",
    ):
        write_distribution(index.directory, "native", tag=tag)

    async def found(arch: str, python: str, glibc: str) -> list[str]:
        problem = pypi_problem("native", indexes=[index.url], arch=arch, python=python, glibc=glibc)
        return [name.rpartition("-")[2] for name in pypi(await resolver.resolve(problem))]

    assert await found("linux-64", "3.11.*", "2.36=0") == ["manylinux_2_35_x86_64"]
    assert await found("linux-64", "3.11.*", "2.31=0") == ["manylinux_2_28_x86_64"]
    assert await found("linux-64", "3.11.*", "2.27=0") == ["manylinux_2_17_x86_64"]
    assert await found("linux-64", "3.10.*", "2.36=0") == ["manylinux_2_17_x86_64"]
    assert await found("osx-arm64", "3.11.*", "") == ["macosx_11_0_arm64"]


async def test_a_version_that_needs_a_newer_glibc_than_asked_for_is_left_out_also_between_those_that_uv_names(
    index: PyPIIndex, resolver: UvResolver
) -> None:
    write_distribution(index.directory, "native", "1.0", tag="cp311-cp311-manylinux_2_24_x86_64")
    write_distribution(index.directory, "native", "2.0", tag="cp311-cp311-manylinux_2_28_x86_64")
    problem = pypi_problem("native", indexes=[index.url], arch="linux-64", glibc="2.27=0")
    assert pypi(await resolver.resolve(problem)) == ["native-1.0-cp311-cp311-manylinux_2_24_x86_64"]


async def test_the_best_version_of_all_indexes_is_taken_and_of_equals_that_of_the_first(
    index: PyPIIndex, resolver: UvResolver, tmp_path: Path
) -> None:
    write_distribution(index.directory, "lib", "1.0")
    write_distribution(index.directory, "same", "1.0")
    with PyPIIndex(tmp_path / "second", json_api=False) as second:
        write_distribution(second.directory, "lib", "2.0")
        write_distribution(second.directory, "same", "1.0")
        solution = await resolver.resolve(pypi_problem("lib", "same", indexes=[index.url, second.url]))
        hosts = {p.filename.split("-")[0]: p.url.split("/")[2] for p in solution.packages if p.kind == "pypi"}
        assert hosts == {"lib": second.host, "same": index.host}
        solution = await resolver.resolve(pypi_problem("same", indexes=[second.url, index.url]))
        assert solution.packages[0].url.split("/")[2] == second.host


async def test_prereleases_are_taken_only_when_asked_for(index: PyPIIndex, resolver: UvResolver) -> None:
    write_distribution(index.directory, "lib", "1.0")
    write_distribution(index.directory, "lib", "2.0rc1")
    assert pypi(await resolver.resolve(pypi_problem("lib", indexes=[index.url]))) == ["lib-1.0-py3-none-any"]
    asked = await resolver.resolve(pypi_problem("lib", indexes=[index.url], extras=["--pre"]))
    assert pypi(asked) == ["lib-2.0rc1-py3-none-any"]


async def test_what_was_published_later_is_left_out(index: PyPIIndex, resolver: UvResolver) -> None:
    for version, year in (("1.0", 2022), ("2.0", 2025)):
        path = write_distribution(index.directory, "lib", version)
        index.uploaded[path.name] = datetime(year, 1, 1, tzinfo=UTC)
    limit = datetime(2024, 1, 1, tzinfo=UTC)
    problem = pypi_problem("lib", indexes=[index.url], exclude_newer=limit)
    assert pypi(await resolver.resolve(problem)) == ["lib-1.0-py3-none-any"]


async def test_find_links_without_an_index_ask_no_index(index: PyPIIndex, resolver: UvResolver, tmp_path: Path) -> None:
    write_distribution(index.directory, "lib", "2.0")
    write_distribution(tmp_path / "links", "lib", "1.0")
    flags = ["--no-index", f"--find-links {tmp_path / 'links'}"]
    solution = await resolver.resolve(pypi_problem("lib", indexes=[index.url], extras=flags))
    assert pypi(solution) == ["lib-1.0-py3-none-any"]
    assert not index.requests
    with_index = await resolver.resolve(pypi_problem("lib", indexes=[index.url], extras=flags[1:]))
    assert pypi(with_index) == ["lib-2.0-py3-none-any"]


async def test_a_flag_that_nobody_knows_is_refused(index: PyPIIndex, resolver: UvResolver) -> None:
    with pytest.raises(UsageError, match=r"--no-deps"):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url], extras=["--no-deps"]))


async def test_credentials_come_from_the_settings_and_are_nowhere_in_the_result(
    index: PyPIIndex, settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    write_distribution(index.directory, "lib")
    index.login = ("me", SECRET)
    with_auth = replace(settings, auth={index.host: ["me", SECRET]})
    solution = await UvResolver(with_auth, conda=helper_conda(settings)).resolve(
        pypi_problem("lib", indexes=[index.url])
    )
    assert solution.packages[0].url == index.file_url("lib-1.0-py3-none-any.whl")
    assert "hunter2" not in repr(solution)
    assert "hunter2" not in "".join(capfd.readouterr())


async def test_credentials_come_from_netrc(
    index: PyPIIndex, resolver: UvResolver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_distribution(index.directory, "lib")
    index.login = ("me", "secret")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n", "utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert pypi(await resolver.resolve(pypi_problem("lib", indexes=[index.url]))) == ["lib-1.0-py3-none-any"]


async def test_an_index_that_refuses_is_named_and_its_password_is_not(index: PyPIIndex, settings: Settings) -> None:
    write_distribution(index.directory, "lib")
    index.login = ("me", "right")
    wrong = UvResolver(replace(settings, auth={index.host: ["me", SECRET]}), conda=helper_conda(settings))
    with pytest.raises(IndexUnreachableError, match=rf"{index.url} refuses \(40[13]\).*setting auth") as caught:
        await wrong.resolve(pypi_problem("lib", indexes=[index.url]))
    assert "hunter2" not in str(caught.value)
    assert SECRET not in str(caught.value)


async def test_a_second_index_that_refuses_is_no_missing_version(
    index: PyPIIndex, settings: Settings, tmp_path: Path
) -> None:
    write_distribution(index.directory, "lib", "0.9")
    with PyPIIndex(tmp_path / "own", login=("me", "right")) as own:
        write_distribution(own.directory, "lib", "1.0")
        wrong = UvResolver(replace(settings, auth={own.host: ["me", SECRET]}), conda=helper_conda(settings))
        for spec in ("lib==1.0", "lib>0.9"):
            with pytest.raises(IndexRefusedError, match=rf"(?s){own.url} refuses \(401\); without it:\n.*lib.*auth"):
                await wrong.resolve(pypi_problem(spec, indexes=[index.url, own.url]))


async def test_constraints_bound_what_is_brought_and_digests_what_is_taken(
    index: PyPIIndex, resolver: UvResolver
) -> None:
    write_distribution(index.directory, "app", requires=["lib"])
    for version in ("1.0", "2.0", "3.0"):
        wheel = write_distribution(index.directory, "lib", version)
    flags = ["--constraint lib<3", '--constraint lib<2; python_version < "3"', "--constraint other==1"]
    found = await resolver.resolve(pypi_problem("app", indexes=[index.url], extras=flags))
    assert pypi(found) == ["app-1.0-py3-none-any", "lib-2.0-py3-none-any"]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    for allowed, error in (
        (digest, nullcontext()),
        ("0" * 64, pytest.raises(IntegrityError, match=rf"lib-3.* {digest}")),
    ):
        with error:
            await resolver.resolve(
                pypi_problem("lib", indexes=[index.url], extras=[f"--hash lib {allowed},{'1' * 64}"])
            )


async def test_an_index_that_fails_or_is_gone_is_named(index: PyPIIndex, resolver: UvResolver) -> None:
    index.status = 503
    with pytest.raises(IndexUnreachableError, match=rf"the index {index.url} cannot be read: HTTP 503"):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url]))
    with pytest.raises(IndexUnreachableError, match=r"the index http://127.0.0.1:9/simple cannot be read: .*refused"):
        await resolver.resolve(pypi_problem("lib", indexes=["http://127.0.0.1:9/simple"]))


async def test_an_unknown_package_is_named_with_the_indexes_that_were_searched(
    index: PyPIIndex, resolver: UvResolver
) -> None:
    write_distribution(index.directory, "app", requires=["nothing-like-it"])
    with pytest.raises(PackageUnknownError, match=rf"no index has 'nothing-like-it' .*searched {index.url}") as caught:
        await resolver.resolve(pypi_problem("app", indexes=[index.url]))
    assert "app" in str(caught.value)


async def test_a_contradiction_is_told_in_words(index: PyPIIndex, resolver: UvResolver) -> None:
    write_distribution(index.directory, "app", requires=["lib<2"])
    for version in ("1.0", "2.0"):
        write_distribution(index.directory, "lib", version)
    with pytest.raises(UnsatisfiableError) as caught:
        await resolver.resolve(pypi_problem("app", "lib==2", indexes=[index.url]))
    text = str(caught.value)
    assert "cannot be met" in text
    assert "lib" in text
    assert "error:" not in text
    assert "cause:" not in text


async def test_a_package_for_another_python_only_is_told_so(index: PyPIIndex, resolver: UvResolver) -> None:
    write_distribution(index.directory, "future", requires_python=">=3.12")
    with pytest.raises(UnsatisfiableError, match=r"Python 3.11.9 does not satisfy Python>=3.12"):
        await resolver.resolve(pypi_problem("future", indexes=[index.url]))


async def test_a_time_limit_is_kept(index: PyPIIndex, resolver: UvResolver) -> None:
    index.delay = 3600.0
    with pytest.raises(ResolveTimeoutError):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url], timeout=0.5))


async def test_a_crash_shows_the_last_lines(
    settings: Settings, index: PyPIIndex, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "uv"
    program.write_text("#!/bin/sh\necho 'GET https://me:pw@host/x' >&2\nkill -SEGV $$\n", "utf-8")
    program.chmod(0o755)
    resolver = UvResolver(settings, conda=helper_conda(settings))
    monkeypatch.setattr(uv_resolver, "UvProgram", partial(UvProgram, path=program))
    with pytest.raises(ResolverFailedError, match=r"ended by signal 11; its last lines:\nGET https://host/x$"):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url]))


async def test_offline_serves_what_was_asked_before_and_says_what_is_missing(
    index: PyPIIndex, resolver: UvResolver
) -> None:
    write_distribution(index.directory, "lib")
    online = await resolver.resolve(pypi_problem("lib", indexes=[index.url]))
    index.requests.clear()
    assert await resolver.resolve(pypi_problem("lib", indexes=[index.url], offline=True)) == online
    with pytest.raises(IndexUnreachableError, match=r"resolve once without --offline"):
        await resolver.resolve(pypi_problem("other", indexes=[index.url], offline=True))
    assert not index.requests


async def test_an_sdist_is_returned_as_a_build_with_what_it_needs(index: PyPIIndex, resolver: UvResolver) -> None:
    path = write_sdist(index.directory, "source-only", "1.5", requires=["lib<2"])
    write_distribution(index.directory, "lib", "1.0")
    write_distribution(index.directory, "lib", "2.0")
    solution = await resolver.resolve(pypi_problem("source-only", indexes=[index.url]))
    assert pypi(solution) == ["lib-1.0-py3-none-any"]
    (build,) = solution.builds
    assert (build.name, build.version, build.location) == ("source-only", "1.5", index.file_url(path.name))
    assert build.size == path.stat().st_size
    assert len(build.sha256 or "") == 64


def git(repository: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.strip()


async def test_a_repository_is_pinned_to_its_commit_and_a_directory_to_its_address(
    index: PyPIIndex, resolver: UvResolver, tmp_path: Path
) -> None:
    write_distribution(index.directory, "lib", "1.0")
    repository = write_source_tree(tmp_path / "repo", "from-git", "0.5", requires=["lib"])
    git(repository, "init", "-q", "-b", "main")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "first")
    tree = write_source_tree(tmp_path / "tree", "from-tree", "0.3")
    solution = await resolver.resolve(
        pypi_problem(f"from-git@git+{repository.as_uri()}#main", f"from-tree@{tree}", indexes=[index.url])
    )
    assert pypi(solution) == ["lib-1.0-py3-none-any"]
    builds = {build.name: build.location for build in solution.builds}
    commit = git(repository, "rev-parse", "HEAD")
    assert builds == {"from-git": f"git+{repository.as_uri()}@{commit}", "from-tree": tree.as_uri()}


async def test_sources_and_local_files_are_refused_for_another_architecture(
    index: PyPIIndex, resolver: UvResolver, tmp_path: Path
) -> None:
    write_sdist(index.directory, "source-only")
    tree = write_source_tree(tmp_path / "tree", "from-tree")
    other = "osx-arm64" if HERE != "osx-arm64" else "linux-64"
    expected = r"Cannot resolve environment across architectures as it depends on local files or non-wheel packages"
    for requirement in ("source-only", f"from-tree@{tree}", "x@git+https://host/x.git"):
        with pytest.raises(UsageError, match=expected):
            await resolver.resolve(pypi_problem(requirement, indexes=[index.url], arch=other))


async def test_a_source_whose_build_fails_is_named_with_the_reason(
    index: PyPIIndex, resolver: UvResolver, tmp_path: Path
) -> None:
    tree = write_source_tree(tmp_path / "tree", "broken")
    (tree / "backend.py").write_text("raise SystemExit('no compiler here')", "utf-8")
    with pytest.raises(BuildError, match=r"(?s)broken @ file://.*no compiler here"):
        await resolver.resolve(pypi_problem(f"broken@{tree}", indexes=[index.url]))


async def test_the_targets_python_is_made_only_for_sources_and_another_python(
    index: PyPIIndex, settings: Settings, tmp_path: Path
) -> None:
    from tests.support.interpreters import find_interpreter

    interpreter = find_interpreter("3.10")
    if interpreter is None:
        pytest.skip("no Python 3.10 on this machine")
    write_distribution(index.directory, "lib")
    tree = write_source_tree(tmp_path / "tree", "picky")
    backend = tree / "backend.py"
    backend.write_text("import sys\nassert sys.version_info[:2] == (3, 10)\n" + backend.read_text("utf-8"), "utf-8")
    asked: list[ResolvedEnvironment] = []

    async def prefix(environment: ResolvedEnvironment) -> Path:
        asked.append(environment)
        return interpreter.parent.parent

    resolver = UvResolver(settings, prefix=prefix, conda=helper_conda(settings))
    await resolver.resolve(pypi_problem("lib", indexes=[index.url], python="3.10.*"))
    assert not asked
    solution = await resolver.resolve(pypi_problem("lib", f"picky@{tree}", indexes=[index.url], python="3.10.*"))
    assert [build.name for build in solution.builds] == ["picky"]
    assert [p.kind for p in asked[0].packages] == ["conda"] * len(asked[0].packages)
    assert asked[0].computed_full_id() == asked[0].id.full_id


async def test_what_is_not_python_must_not_bring_python(index: PyPIIndex, resolver: UvResolver) -> None:
    write_distribution(index.directory, "lib")
    solution = await resolver.resolve(pypi_problem("lib", indexes=[index.url], npconda=["tool"]))
    assert "tool" in conda(solution)
    with pytest.raises(UsageError, match=r"need python.*needs-python.*mixed"):
        await resolver.resolve(pypi_problem("lib", indexes=[index.url], npconda=["needs-python"]))


async def test_a_base_is_kept_and_only_added_to(index: PyPIIndex, resolver: UvResolver) -> None:
    write_distribution(index.directory, "lib", "1.0")
    base_problem = pypi_problem("lib", indexes=[index.url])
    base = as_environment(base_problem, await resolver.resolve(base_problem))
    write_distribution(index.directory, "lib", "2.0")
    write_distribution(index.directory, "app", requires=["lib"])
    write_distribution(index.directory, "hungry", requires=["lib>=2"])
    solution = await resolver.resolve(pypi_problem("lib", "app", indexes=[index.url], base=base))
    assert pypi(solution) == ["lib-1.0-py3-none-any", "app-1.0-py3-none-any"]
    assert all(package in solution.packages for package in base.packages)
    with pytest.raises(UnsatisfiableError, match="lib"):
        await resolver.resolve(pypi_problem("lib", "hungry", indexes=[index.url], base=base))


async def test_a_package_that_was_built_for_the_base_is_kept_without_being_built_again(
    index: PyPIIndex, resolver: UvResolver
) -> None:
    write_distribution(index.directory, "lib", "1.0")
    problem = pypi_problem("lib", indexes=[index.url])
    base = as_environment(problem, await resolver.resolve(problem))
    built = replace(
        base.packages[0], filename="lib-1.0.dev7+mfbuild-py3-none-any", url="https://_fake/host/lib.git/0123"
    )
    base = replace(base, packages=(built, *base.packages[1:]))
    write_distribution(index.directory, "app", requires=["lib"])
    # the development release of a build is below 1.0, and counts all the same because it is named by address
    solution = await resolver.resolve(pypi_problem("app", indexes=[index.url], base=base))
    assert pypi(solution) == ["lib-1.0.dev7+mfbuild-py3-none-any", "app-1.0-py3-none-any"]
    assert not solution.builds
