"""Helper environments are looked up before they are solved, and remembered with what lies above them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import Request
from asynccache.ops.catalog import Catalog
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_request import ResolveOptions, Wanted
from asynccache.ops.resolve_result import Resolved
from asynccache.resolve.pypi.helper_environment import helper_request, solve_helper
from asynccache.resolve.requests.assemble import Assembled
from asynccache.resolve.resolver import PrefixMaker, Problem, Solution
from tests.ops.resolve_table import ARCH, TableResolver, found
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel

ALL = ":any:"


@dataclass
class AboveHelper:
    """Puts a helper environment below nothing: what a resolver of PyPI packages does, without them."""

    conda: TableResolver
    name = "above"

    def __call__(self, settings: Settings, environment_type: str, prefix: PrefixMaker) -> AboveHelper:
        del environment_type, prefix
        self.settings = settings
        return self

    async def resolve(self, problem: Problem) -> Solution:
        return await solve_helper(problem, self.settings, self.conda)


@pytest.fixture
async def server(channel: SyntheticChannel) -> AsyncIterator[FaultServer]:
    async with FaultServer(channel.root) as serving:
        yield serving


@pytest.fixture
def packages(channel: SyntheticChannel, server: FaultServer) -> list[EnvironmentPackage]:
    return found(channel.packages(server.url, 8))


@pytest.fixture
def conda(packages: list[EnvironmentPackage]) -> TableResolver:
    return TableResolver({"python==3.11.*": packages[:4], "python==3.12.*": packages[3:6]}, seconds=0.05)


@pytest.fixture
def settings(configured: Settings, tmp_path: Path) -> Settings:
    return replace(configured, datastore_root=tmp_path / "here", username="ann", use_remote_latest=ALL)


def request(name: str, python: str = "3.11.*") -> Request:
    return Request({"conda": [f"python=={python}"], "pypi": [name]}, {"conda": ["conda-forge"]})


def wanted(name: str, python: str = "3.11.*", base: ResolvedEnvironment | None = None) -> Wanted:
    return Wanted(name, {ARCH: Assembled(request(name, python), "pypi-only", ARCH, base=base)})


async def run(settings: Settings, conda: TableResolver, *asked: Wanted, **options: Any) -> Resolved:
    resolved = await resolve(settings, asked, options=ResolveOptions(**options), choose=AboveHelper(conda))
    resolved.raise_for_failures()
    return resolved


def names(resolved: Resolved) -> list[Sequence[str]]:
    return [[package.filename for package in environment.packages] for environment in resolved.environments]


async def test_environments_of_one_call_and_the_next_share_what_lies_below_them(
    settings: Settings, conda: TableResolver, packages: list[EnvironmentPackage]
) -> None:
    first = await run(settings, conda, wanted("a"), wanted("b"), wanted("c", "3.12.*"))
    assert len(conda.problems) == 2
    conda.answers = {"python==3.11.*": packages[5:], "python==3.12.*": packages[5:]}  # the channel moves on
    second = await run(settings, conda, wanted("d"), wanted("e", "3.12.*"))
    assert len(conda.problems) == 2
    assert names(second) == [names(first)[0], names(first)[2]]
    assert [row.bytes for row in first.rows] == [4000, 4000, 3000]
    # no index was asked, so the store says how large they are
    assert all(row.bytes for row in second.rows)


async def test_another_machine_finds_it_in_the_store(settings: Settings, conda: TableResolver, tmp_path: Path) -> None:
    first = await run(settings, conda, wanted("a"))
    other = replace(settings, datastore_root=tmp_path / "there", cache_dir=tmp_path / "other")
    second = await run(other, conda, wanted("b"))
    assert (len(conda.problems), names(second)) == (1, names(first))
    asked = helper_request(request("a"), settings)
    async with Engine(settings) as engine:
        known = await Catalog(settings, engine.store).lookup.by_request(asked.req_id, ARCH, {})
    assert known is not None
    assert (known.environment_type, known.request.req_id) == ("conda-only", asked.req_id)
    assert all(package.cached for package in known.packages)
    # where nobody's resolutions count but one's own, it is solved
    await run(replace(other, use_remote_latest=":none:", datastore_root=tmp_path / "alone"), conda, wanted("c"))
    assert len(conda.problems) == 2


@pytest.mark.parametrize("how", ["force", "exclude_newer", "base"])
async def test_what_must_be_solved_anew_is(settings: Settings, conda: TableResolver, how: str) -> None:
    first = await run(settings, conda, wanted("a"))
    base = first.environments[0] if how == "base" else None
    later = replace(settings, exclude_newer="2026-01-01") if how == "exclude_newer" else settings
    await run(later, conda, wanted("b", base=base), force=how == "force")
    assert len(conda.problems) == 2


@pytest.mark.parametrize("how", ["dry_run", "exclude_newer", "base"])
async def test_what_is_no_answer_for_others_is_not_remembered(
    settings: Settings, conda: TableResolver, how: str
) -> None:
    (base,) = (await run(settings, conda, wanted("base", "3.12.*"))).environments
    later = replace(settings, exclude_newer="2026-01-01") if how == "exclude_newer" else settings
    await run(later, conda, wanted("a", base=base if how == "base" else None), dry_run=how == "dry_run")
    await run(settings, conda, wanted("b"))
    assert len(conda.problems) == 3
