"""Cleaning waits for those who hydrate, and removes what nobody uses."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import Session
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import LockTimeoutError
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.packages import NodePackages
from asynccache.model.package import Format
from asynccache.ops.clean import clean
from asynccache.store.memory import MemoryStore
from tests.support.conda_package import Member, Metadata, write_package
from tests.support.hydration import cached, packages_of


@pytest.fixture
def built(tmp_path: Path) -> list[Path]:
    directory = tmp_path / "built"
    directory.mkdir()
    for name in "abcd":
        metadata = Metadata(name=name, version="1.0", build="0")
        write_package(directory, metadata, [Member(f"share/{name}", name.encode() * 1000)], (Format.CONDA,))
    return sorted(directory.glob("*.conda"))


async def test_packages_in_use_are_waited_for(configured: Settings, built: list[Path], tmp_path: Path) -> None:
    async with Engine(replace(configured, lock_timeout=0.3)) as engine:
        environment = await cached(engine, packages_of(built))
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
        async with NodePackages(engine.host, engine.sources).in_use():
            with pytest.raises(LockTimeoutError, match="to use the packages"):
                await clean(engine.host.settings, keep_bytes=0)
        done = await clean(engine.host.settings, keep_bytes=0)
        assert [r.path.name for r in done.removed] == []  # the environment shares their files
        (tmp_path / "env/.metaflowenv").unlink()
        for name in "abcd":
            (tmp_path / f"env/share/{name}").unlink()
        done = await clean(engine.host.settings, keep_bytes=0)
        assert sorted(r.path.name for r in done.removed) == [f"{n}-1.0-0" for n in "abcd"]
        assert done.kept_bytes == 0


async def test_a_dry_run_removes_nothing_and_recent_things_stay(
    configured: Settings, built: list[Path], tmp_path: Path
) -> None:
    async with Engine(configured) as engine:
        environment = await cached(engine, packages_of(built))
        await hydrate(engine.host, engine.sources, environment, configured.cache_dir / "envs/env")
        assert (await clean(engine.host.settings, older_than=3600)).removed == []
        os.utime(configured.cache_dir / "envs/env/.metaflowenv", (1, 1))
        planned = await clean(engine.host.settings, older_than=3600, dry_run=True)
        assert [(r.kind, r.path.name) for r in planned.removed] == [("environment", "env")]
        assert (configured.cache_dir / "envs/env/share/a").exists()
        assert [r.path.name for r in (await clean(engine.host.settings, older_than=3600)).removed] == ["env"]
        assert not (configured.cache_dir / "envs/env").exists()


async def test_a_store_of_objects_is_asked_once_a_package(
    configured: Settings, built: list[Path], tmp_path: Path
) -> None:
    async with MemoryStore() as store, Engine(configured, store=store) as engine:
        environment = await cached(engine, packages_of(built))
        before = store.requests
        await hydrate(engine.host, engine.sources, environment, tmp_path / "env")
        assert store.requests - before == len(built)


async def test_the_api_hydrates_by_value_and_finds_it_again(
    configured: Settings, built: list[Path], tmp_path: Path
) -> None:
    async with Engine(configured) as engine:
        environment = await cached(engine, packages_of(built))
    async with Session(configured) as session:
        done = await session.create(environment)
        assert done.created
        assert done.prefix.parent == configured.cache_dir / "envs"
        assert not (await session.create(environment)).created
        assert (await session.create(environment, tmp_path / "env")).prefix == tmp_path / "env"
