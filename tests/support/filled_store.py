"""Fixtures: a store filled with published packages, and settings that name it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    return Settings(
        store=str(tmp_path / "store"),
        cache_dir=tmp_path / "cache",
        retry_cap=0.05,
        outage_timeout=0,
        attempts=2,
        connect_timeout=30,
    )


@pytest.fixture
async def filled(channel: SyntheticChannel, configured: Settings) -> AsyncIterator[FaultServer]:
    """A store with twelve packages, six in each format, and the server that they came from."""
    async with FaultServer(channel.root) as server:
        async with Engine(configured) as engine:
            (await engine.cache(channel.packages(server.url, 12))).raise_for_failures()
        server.requests.clear()
        yield server
