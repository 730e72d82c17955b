"""An engine on a local store, and environments of the tests' real channel in it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.engine.events import Event
from asynccache.model.environment import ResolvedEnvironment
from tests.support.channel import Channel, cached_channel
from tests.support.hydration import cached, channel_paths, packages_of


@pytest.fixture(scope="session")
def real_channel() -> Channel:
    return cached_channel("small")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        store=str(tmp_path / "store"),
        cache_dir=tmp_path / "cache",
        retry_cap=0.05,
        outage_timeout=0,
        attempts=1,
        connect_timeout=30,
    )


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def engine(settings: Settings, events: list[Event]) -> AsyncIterator[Engine]:
    async with Engine(settings, emit=events.append) as opened:
        yield opened


@pytest.fixture
async def small(engine: Engine, real_channel: Channel) -> ResolvedEnvironment:
    """Everything of the small channel."""
    return await cached(engine, packages_of(channel_paths(real_channel)))


@pytest.fixture
async def tiny(engine: Engine, real_channel: Channel) -> ResolvedEnvironment:
    """Some packages without Python."""
    names = ("feature-symlinks", "feature-prefix-text", "feature-prefix-binary", "feature-names", "feature-hardlinks")
    return await cached(engine, packages_of(channel_paths(real_channel, *names)))
