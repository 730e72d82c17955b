"""Mixed environments, the built-in way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.errors import ConfigurationError, UnsatisfiableError, UsageError
from asynccache.model.environment import EnvironmentPackage
from asynccache.resolve.mixed import BuiltinMixedResolver
from asynccache.resolve.pypi.name_mapping import provided_by_conda, read_name_mapping
from asynccache.resolve.pypi.uv_resolver import UvResolver
from asynccache.resolve.resolver import Problem, Solution
from tests.support.pypi_index import PyPIIndex, write_distribution
from tests.support.pypi_problems import as_environment, helper_conda, pypi_problem


@pytest.fixture
def index(tmp_path: Path) -> Iterator[PyPIIndex]:
    with PyPIIndex(tmp_path / "index") as index:
        yield index


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", attempts=1)


@pytest.fixture
def resolver(settings: Settings) -> BuiltinMixedResolver:
    return BuiltinMixedResolver(settings, conda=helper_conda(settings))


def mixed(*pypi: str, conda: tuple[str, ...] = ("pandas",), **more: object) -> Problem:
    return pypi_problem(*pypi, conda=conda, environment_type="mixed", **more)  # type: ignore[arg-type]


def names(solution: Solution) -> list[str]:
    return [f"{p.kind}:{p.filename.split('-')[0]}" for p in solution.packages]


async def test_conda_packages_come_first_and_what_conda_provides_is_not_installed_again(
    index: PyPIIndex, resolver: BuiltinMixedResolver
) -> None:
    write_distribution(index.directory, "app", requires=["numpy>=1.20", "six", "extra-lib"])
    write_distribution(index.directory, "extra-lib")
    write_distribution(index.directory, "numpy", "9.0")
    solution = await resolver.resolve(mixed("app", indexes=[index.url]))
    assert names(solution)[-2:] == ["pypi:app", "pypi:extra_lib"]
    assert {"conda:numpy", "conda:six", "conda:pandas", "conda:python"} < set(names(solution)[:-2])
    assert "/simple/numpy" not in " ".join(index.requests)
    assert solution.resolver == "builtin"


async def test_a_pypi_package_that_needs_another_version_than_condas_is_a_contradiction(
    index: PyPIIndex, resolver: BuiltinMixedResolver
) -> None:
    write_distribution(index.directory, "app", requires=["numpy>=3"])
    with pytest.raises(UnsatisfiableError, match=r"numpy.*1\.26\.4|numpy>=3"):
        await resolver.resolve(mixed("app", indexes=[index.url]))


async def test_a_pin_of_what_conda_brings_enters_the_conda_solve(
    index: PyPIIndex, resolver: BuiltinMixedResolver
) -> None:
    write_distribution(index.directory, "app", requires=["six"])
    chosen = await resolver.resolve(mixed("app", indexes=[index.url]))
    assert "six-1.16.0-py_0" in {p.filename for p in chosen.packages}
    pinned = await resolver.resolve(mixed("app", "six[x]==1.15.0", indexes=[index.url]))
    assert "six-1.15.0-py_0" in {p.filename for p in pinned.packages}
    assert names(pinned) == names(chosen)
    flags = ["--constraint six<1.16", f"--hash six {'0' * 64}"]
    bounded = await resolver.resolve(mixed("app", extras=flags, indexes=[index.url]))
    assert bounded.packages == pinned.packages
    assert "digests of six count for PyPI's files only" in bounded.notes[-1]


async def test_a_pin_that_conda_cannot_meet_names_condas_version_and_who_brought_it(
    index: PyPIIndex, resolver: BuiltinMixedResolver
) -> None:
    write_distribution(index.directory, "six", "1.0")
    with pytest.raises(
        UnsatisfiableError,
        match=r"(?s)six==1\.0 is asked of PyPI, but conda brings six 1\.16\.0 \(for pandas, which needs six\),"
        r" and conda cannot bring another:.*six is published as 1\.16\.0, 1\.15\.0",
    ):
        await resolver.resolve(mixed("six==1.0", indexes=[index.url]))
    with pytest.raises(UnsatisfiableError, match=r"six @ https://h/six-1-py3-none-any.whl is asked of PyPI, but conda"):
        await resolver.resolve(mixed("six@https://h/six-1-py3-none-any.whl", indexes=[index.url]))
    write_distribution(index.directory, "app", requires=["numpy>=3"])
    with pytest.raises(
        UnsatisfiableError,
        match=r"(?s)conda's numpy is 1\.26\.4 and .*numpy>=3.*conda brings numpy .*which needs numpy",
    ):
        await resolver.resolve(mixed("app", indexes=[index.url]))


async def test_local_packages_are_refused(index: PyPIIndex, resolver: BuiltinMixedResolver) -> None:
    for requirement in ("x@git+https://me:pw@host/x.git", "x@/tree", "x@file:///tree"):
        with pytest.raises(UsageError, match=r"Local PYPI packages are not supported in MIXED mode") as caught:
            await resolver.resolve(mixed(requirement, indexes=[index.url]))
        assert "pw" not in str(caught.value)
    problem = mixed(indexes=[index.url])
    base = as_environment(problem, await resolver.resolve(problem))
    built = EnvironmentPackage("pypi", "x-1-py3-none-any", "https://_fake/host/x.git/0", ".whl")
    base = replace(base, packages=(*base.packages, built))
    with pytest.raises(UsageError, match=r"not supported in MIXED mode.*x-1-py3"):
        await resolver.resolve(mixed(indexes=[index.url], base=base))


async def test_names_that_differ_are_mapped_by_the_table_and_the_users_file(
    index: PyPIIndex, settings: Settings, tmp_path: Path
) -> None:
    mapping = tmp_path / "names.json"
    mapping.write_text(json.dumps({"Tool": "the_tool", "b": None}), "utf-8")
    write_distribution(index.directory, "app", requires=["the-tool<4", "b"])
    write_distribution(index.directory, "b", "7.0")
    settings = replace(settings, name_mapping=mapping)
    resolver = BuiltinMixedResolver(settings, conda=helper_conda(settings))
    solution = await resolver.resolve(mixed("app", conda=("tool", "b"), indexes=[index.url]))
    assert names(solution)[-2:] == ["pypi:app", "pypi:b"]


async def test_a_base_is_kept(index: PyPIIndex, resolver: BuiltinMixedResolver) -> None:
    write_distribution(index.directory, "lib", "1.0")
    problem = mixed("lib", indexes=[index.url])
    base = as_environment(problem, await resolver.resolve(problem))
    write_distribution(index.directory, "lib", "2.0")
    write_distribution(index.directory, "app", requires=["lib"])
    solution = await resolver.resolve(mixed("lib", "app", indexes=[index.url], base=base))
    assert all(package in solution.packages for package in base.packages)
    assert names(solution)[-2:] == ["pypi:lib", "pypi:app"]


async def test_what_a_base_has_from_pypi_stays_and_conda_brings_the_same_version_below_it(
    index: PyPIIndex, resolver: BuiltinMixedResolver
) -> None:
    write_distribution(index.directory, "six", "1.15.0")
    write_distribution(index.directory, "app", requires=["six"])
    pypi_only = UvResolver(resolver._settings, conda=resolver._conda)
    problem = pypi_problem("six==1.15.0", indexes=[index.url])
    base = as_environment(problem, await pypi_only.resolve(problem))
    solution = await resolver.resolve(mixed("six==1.15.0", "app", indexes=[index.url], base=base))
    assert all(package in solution.packages for package in base.packages)
    assert [p.filename for p in solution.packages if p.filename.startswith("six")] == [
        "six-1.15.0-py_0", "six-1.15.0-py3-none-any",
    ]  # fmt: skip
    assert names(solution)[-2:] == ["pypi:six", "pypi:app"]


async def test_conda_packages_that_need_another_version_than_a_base_has_from_pypi_are_refused(
    index: PyPIIndex, resolver: BuiltinMixedResolver
) -> None:
    write_distribution(index.directory, "numpy", "2.1.0")
    pypi_only = UvResolver(resolver._settings, conda=resolver._conda)
    problem = pypi_problem("numpy", indexes=[index.url])
    base = as_environment(problem, await pypi_only.resolve(problem))
    with pytest.raises(UnsatisfiableError, match=r"(?s)base environment has from PyPI \(numpy 2\.1\.0\): .*pandas"):
        await resolver.resolve(mixed("numpy", indexes=[index.url], base=base))


async def test_extras_of_what_conda_provides_are_said_to_have_no_effect(
    index: PyPIIndex, resolver: BuiltinMixedResolver
) -> None:
    solution = await resolver.resolve(mixed("pandas[excel]", indexes=[index.url]))
    assert any("pandas[excel]" in note and "extras" in note for note in solution.notes)


def test_a_mapping_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    for text in ("{", "[]", '{"a": 1}'):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigurationError, match="name_mapping"):
            read_name_mapping(path)


def test_conda_names_become_pypi_names() -> None:
    def package(stem: str) -> EnvironmentPackage:
        return EnvironmentPackage("conda", stem, f"https://h/c/noarch/{stem}.conda", ".conda")

    packages = [
        package(f"{n}-1.0-0")
        for n in ("pytorch", "matplotlib-base", "libzlib", "python", "_x", "ruamel.yaml", "tzdata")
    ]
    provided = provided_by_conda(packages, read_name_mapping(None))
    assert {project: f"{name.name} {name.version}" for project, name in provided.items()} == {
        "torch": "pytorch 1.0",
        "matplotlib": "matplotlib-base 1.0",
        "ruamel-yaml": "ruamel.yaml 1.0",
    }
