"""Warming by the session: what is written where, and when it says that all is ready."""

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.errors import PartialFailureError, UsageError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Format
from asynccache.node.pack_format import OBJECT_NAME
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.hydration import environment_with, packages_of


@pytest.fixture
def environment(tmp_path: Path) -> ResolvedEnvironment:
    """An environment whose packages lie on this machine, in no store."""
    built = tmp_path / "built"
    built.mkdir()
    for name in "ab":
        metadata = Metadata(name=name, version="1.0", build="0")
        write_package(built, metadata, [Member(f"share/{name}", b"1")], (Format.CONDA,))
    return environment_with(packages_of(sorted(built.glob("*.conda"))))


def _files(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.rglob("*") if p.is_file())


async def test_a_node_alone_is_warmed_without_a_byte_for_the_teams_store(
    configured: Settings, environment: ResolvedEnvironment, tmp_path: Path
) -> None:
    async with Session(configured) as session:
        warmed = await session.warm(environment, to="local", pack=True)
    warmed.raise_for_failures()

    assert warmed.as_document()["ready"] is True
    assert _files(tmp_path / "store") == []
    assert {"a-1.0-0.conda", "b-1.0-0.conda"} <= set(_files(configured.cache_dir / "pkgs"))


@pytest.mark.parametrize(("setting", "pack", "packs"), [("auto", None, 0), ("always", None, 1), ("never", True, 1)])
async def test_packs_are_made_as_the_setting_says_unless_the_call_does(
    configured: Settings, environment: ResolvedEnvironment, tmp_path: Path, setting: str, pack: bool | None, packs: int
) -> None:
    async with Session(replace(configured, pack=setting)) as session:
        warmed = await session.warm(environment, to="remote", pack=pack)
    warmed.raise_for_failures()

    assert len(warmed.packs.packs) == packs
    assert _files(tmp_path / "store").count(OBJECT_NAME) == packs


async def test_conda_packages_get_the_form_that_the_setting_says(
    configured: Settings, environment: ResolvedEnvironment, tmp_path: Path
) -> None:
    async with Session(replace(configured, preferred_format=".tar.bz2")) as session:
        (await session.warm(environment, to="remote")).raise_for_failures()

    assert {"a-1.0-0.tar.bz2", "b-1.0-0.tar.bz2"} <= set(_files(tmp_path / "store"))


@pytest.mark.parametrize("to", ["remote", "local", "both"])
async def test_what_is_not_there_afterwards_is_a_failure_by_package(
    configured: Settings, environment: ResolvedEnvironment, tmp_path: Path, to: str
) -> None:
    (tmp_path / "built/b-1.0-0.conda").unlink()
    async with Session(configured) as session:
        warmed = await session.warm(environment, to=to)  # type: ignore[arg-type]

    assert warmed.as_document()["ready"] is False
    with pytest.raises(
        PartialFailureError, match="1 of 1 environments are not ready: 1 packages are not there"
    ) as told:
        warmed.raise_for_failures()
    assert ["b-1.0-0" in name for name in told.value.errors] == [True]


async def test_a_package_that_vanishes_without_an_error_is_a_failure(
    configured: Settings, environment: ResolvedEnvironment
) -> None:
    async with Session(configured) as session:
        warmed = await session.warm(environment, to="remote")
    (row,) = warmed.readiness.rows
    warmed.readiness.rows[0] = replace(row, complete=row.packages - 1)

    with pytest.raises(PartialFailureError, match="1 of 1 environments are not ready"):
        warmed.raise_for_failures()


async def test_nothing_to_warm_is_told(configured: Settings) -> None:
    async with Session(configured) as session:
        with pytest.raises(UsageError, match="there is nothing to warm"):
            await session.warm()
