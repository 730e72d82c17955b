"""What every resolver of conda packages does, asked of the built-in one and the programs' stubs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.errors import (
    IndexUnreachableError,
    PackageUnknownError,
    ResolverFailedError,
    ResolveTimeoutError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.resolve.conda.executable import CondaExecutableResolver
from asynccache.resolve.conda.rattler_solver import RattlerResolver
from asynccache.resolve.resolver import Problem, Resolver, Solution
from tests.support.conda_stub import write_stub
from tests.support.conda_table import TABLE, write_table_channels
from tests.support.fault_server import FaultServer

# mamba 2 prints what micromamba prints
IMPLEMENTATIONS = ["rattler", "conda", pytest.param("mamba", marks=pytest.mark.long), "micromamba"]
PROGRAMS = {"conda", "mamba", "micromamba"}


@dataclass
class Bed:
    kind: str
    settings: Settings
    directory: Path

    def resolver(self, **behaviour: float) -> Resolver:
        if self.kind == "rattler":
            return RattlerResolver(self.settings)
        write_stub(self.directory, self.kind, alias=self.settings.channel_alias, channels=["conda-forge"], **behaviour)
        return CondaExecutableResolver(self.settings, self.kind, environ={"PATH": str(self.directory)})

    async def solve(self, *conda: str, **parts: object) -> Solution:
        return await self.resolver().resolve(problem(*conda, **parts))


def problem(*conda: str, **parts: object) -> Problem:
    deps: dict[str, Any] = {"conda": list(conda)}
    deps |= {key: parts.pop(key) for key in ("npconda", "sys", "pypi") if key in parts}
    sources: dict[str, Any] = {"conda": parts.pop("channels", ["conda-forge"])}
    return Problem(Request(deps, sources), parts.pop("arch", "linux-64"), "conda-only", **parts)  # type: ignore[arg-type]


def environment(*packages: EnvironmentPackage) -> ResolvedEnvironment:
    request = Request({"conda": ["python", "six"]}, {"conda": ["conda-forge"]})
    env_id = EnvID(request.req_id, "0" * 40, "linux-64")
    moment = datetime.fromisoformat("2026-01-01")
    return ResolvedEnvironment(env_id, request, packages, moment, "me", ("linux-64",))


@pytest.fixture(params=IMPLEMENTATIONS)
async def bed(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bed]:
    write_table_channels(tmp_path / "channels")
    async with FaultServer(tmp_path / "channels") as server:
        settings = Settings(cache_dir=tmp_path / "cache", channel_alias=server.url, attempts=1)
        yield Bed(request.param, settings, tmp_path / "bin")


def names(solution: Solution) -> list[str]:
    return [package.filename for package in solution.packages]


async def test_the_newest_that_fits_comes_with_what_it_needs_each_after_its_own_needs(bed: Bed) -> None:
    solution = await bed.solve("python==3.11.*", "pandas==>=2")
    assert sorted(names(solution)) == [
        "numpy-1.26.4-py311_0",
        "pandas-2.2.0-py_0",
        "python-3.11.9-h1_0",
        "six-1.16.0-py_0",
        "zlib-1.3.1-h0_0",
    ]
    order = [name.split("-")[0] for name in names(solution)]
    assert order.index("zlib") < order.index("python") < order.index("numpy") < order.index("pandas")
    assert solution.resolver == bed.kind


async def test_packages_carry_address_digests_and_sizes_as_published(bed: Bed) -> None:
    solution = await bed.solve("tool")
    row = next(row for row in TABLE if row.name == "tool")
    assert solution.packages == (
        EnvironmentPackage(
            "conda",
            "tool-3.0-0",
            f"{bed.settings.channel_alias}/conda-forge/noarch/tool-3.0-0.conda",
            ".conda",
            {".conda": row.md5, "sha256": row.sha256},
        ),
    )
    assert solution.sizes == {solution.packages[0].url: 1000}


async def test_integer_versions_and_hyphenated_names_are_not_builds(bed: Bed) -> None:
    solution = await bed.solve("b==1", "scikit-learn", "python==3.10.*")
    assert {"b-1-0", "scikit-learn-1.5.0-py_0", "python-3.10.14-h1_0"} <= set(names(solution))


async def test_a_doubled_operator_is_one_and_a_star_is_any_version(bed: Bed) -> None:
    assert names(await bed.solve("b====1", "tool==*")) in (["b-1-0", "tool-3.0-0"], ["tool-3.0-0", "b-1-0"])


async def test_a_build_is_honoured(bed: Bed) -> None:
    assert names(await bed.solve("choice==1.0=cpu_0")) == ["choice-1.0-cpu_0"]


async def test_packages_of_npconda_are_solved_too(bed: Bed) -> None:
    assert set(names(await bed.solve("b==2", npconda=["tool"]))) == {"b-2-0", "tool-3.0-0"}


async def test_requirements_of_pypi_are_not_its_concern(bed: Bed) -> None:
    assert names(await bed.solve("tool", pypi=["nothing-of-this-name==1"])) == ["tool-3.0-0"]


@pytest.mark.parametrize("arch", ["linux-aarch64", "osx-arm64"])
async def test_another_architecture_gets_its_own_packages(bed: Bed, arch: str) -> None:
    solution = await bed.solve("python==3.12.*", "six", arch=arch)
    assert sorted(names(solution)) == ["python-3.12.4-h1_0", "six-1.16.0-py_0"]
    assert any(f"/{arch}/python" in package.url for package in solution.packages)


async def test_markers_decide_and_are_not_solved_for(bed: Bed) -> None:
    values = ["python==3.11.*", 'b==1;sys_platform == "linux"', 'nowhere;sys_platform == "darwin"']
    assert "b-1-0" in names(await bed.solve(*values))


async def test_the_channel_of_higher_rank_wins_over_the_newer_version(bed: Bed) -> None:
    for channels, version in ((["conda-forge", "other"], "1.16.0"), (["other", "conda-forge"], "1.17.0")):
        # a program's own configuration ranks below what is asked for, so the order can only be told by `-c`
        if bed.kind in PROGRAMS and channels[0] == "conda-forge":
            continue
        solution = await bed.solve("six", "python==3.11.*", channels=channels)
        assert f"six-{version}-py_0" in names(solution)


async def test_a_channel_named_by_a_requirement_is_where_it_comes_from(bed: Bed) -> None:
    solution = await bed.solve("python==3.11.*", "other::six")
    assert "six-1.17.0-py_0" in names(solution)


async def test_the_machine_of_the_request_decides(bed: Bed) -> None:
    assert names(await bed.solve("modern", sys=["__glibc==2.28=0"])) == ["modern-1.0-0"]
    with pytest.raises(UnsatisfiableError):
        await bed.solve("modern", sys=["__glibc==2.17=0"])


async def test_all_packages_of_a_base_are_kept_as_they_are_known(bed: Bed) -> None:
    first = await bed.solve("python==3.11.*", "six==1.15.0", "zlib==1.2.13")
    packages = tuple(
        replace(p, cached={".conda": f"packages/{p.filename}/{p.hashes['.conda']}/{p.filename}.conda"})
        for p in first.packages
    )
    base = environment(*packages)
    solution = await bed.solve("python", "numpy", base=base)
    assert all(package in solution.packages for package in packages)
    assert any(package.filename == "numpy-2.1.0-py311_0" for package in solution.packages)


async def test_a_base_that_contradicts_what_is_asked_is_said_so(bed: Bed) -> None:
    first = await bed.solve("python==3.11.*")
    base = environment(*first.packages)
    with pytest.raises(UnsatisfiableError):
        await bed.solve("python==3.12.*", base=base)


async def test_a_base_with_local_packages_is_refused(bed: Bed) -> None:
    local = EnvironmentPackage("conda", "a-1-0", "https://_fake/a-1-0.conda", ".conda")
    base = environment(local)
    with pytest.raises(UsageError, match="Local packages are not allowed in Conda"):
        await bed.solve("python", base=base)


async def test_contradicting_requirements_are_unsatisfiable(bed: Bed) -> None:
    with pytest.raises(UnsatisfiableError, match=r"linux-64|could not resolve"):
        await bed.solve("pandas", "numpy==>=2")


async def test_a_name_that_no_channel_has_is_unknown(bed: Bed) -> None:
    with pytest.raises(PackageUnknownError, match="numpyy"):
        await bed.solve("python==3.11.*", "numpyy")


async def test_a_version_that_nobody_published_is_unsatisfiable(bed: Bed) -> None:
    with pytest.raises(UnsatisfiableError):
        await bed.solve("b==77")


async def test_a_channel_that_does_not_answer_is_named(bed: Bed) -> None:
    with pytest.raises(IndexUnreachableError, match="unreachable"):
        await bed.solve("tool", channels=["unreachable", "conda-forge"])


async def test_a_time_limit_ends_a_solve(bed: Bed) -> None:
    resolver = bed.resolver(hang=30)
    limit = 0.0001 if bed.kind == "rattler" else 0.5
    with pytest.raises(ResolveTimeoutError, match="longer than"):
        await resolver.resolve(replace(problem("python", "pandas"), timeout=limit))


async def test_a_policy_on_dates_is_kept_or_refused(bed: Bed) -> None:
    moment = datetime(2022, 6, 1, tzinfo=UTC)
    if bed.kind in PROGRAMS:
        with pytest.raises(UsageError, match="published after a date"):
            await bed.solve("python", exclude_newer=moment)
    else:
        assert "python-3.11.9-h1_0" in names(await bed.solve("python", exclude_newer=moment))


async def test_nothing_asked_is_nothing_found(bed: Bed) -> None:
    assert (await bed.solve()).packages == ()


async def test_several_solves_at_once_give_what_each_gives_alone(bed: Bed) -> None:
    resolver = bed.resolver()
    asked = [("python==3.11.*",), ("python==3.12.*", "numpy"), ("b==1",), ("tool",)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(resolver.resolve(problem(*conda))) for conda in asked]
    for conda, task in zip(asked, tasks, strict=True):
        assert task.result() == await resolver.resolve(problem(*conda))


async def test_a_base_whose_package_is_gone_is_not_extended(bed: Bed) -> None:
    gone = EnvironmentPackage(
        "conda",
        "gone-1-0",
        f"{bed.settings.channel_alias}/conda-forge/noarch/gone-1-0.conda",
        ".conda",
        {".conda": "0" * 32},
    )
    base = environment(gone)
    with pytest.raises((ResolverFailedError, PackageUnknownError, UnsatisfiableError), match="gone"):
        await bed.solve("tool", base=base)
