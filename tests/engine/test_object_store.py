"""The same job with an S3 server as the store."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.package import Format
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.verify import Sample, verify_store
from tests.support.fault_server import FaultServer
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.small_channel import SyntheticChannel

pytestmark = pytest.mark.xdist_group("object-servers")
Make = Callable[..., Settings]


@dataclass(frozen=True)
class Cloud:
    settings: Settings


@pytest.fixture
def cloud(weed: ObjectServer, settings: Make, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    return Cloud(settings(store=f"s3://{BUCKET}/{uuid4().hex}", s3_endpoint_url=weed.url))


async def test_packages_are_cached_transmuted_and_verified(channel: SyntheticChannel, cloud: Cloud) -> None:
    async with FaultServer(channel.root) as upstream, Engine(cloud.settings) as engine:
        report = await engine.cache(channel.packages(upstream.url), wanted=Format.CONDA)
        report.raise_for_failures()
        result = await verify_store(engine.host, engine.sources, Sample())
    assert (result.checked, result.whole, result.without_receipt) == (30, True, 0)


async def test_a_second_run_asks_less_than_once_per_ten_packages(channel: SyntheticChannel, cloud: Cloud) -> None:
    async with FaultServer(channel.root) as upstream:
        packages = channel.packages(upstream.url)
        async with Engine(cloud.settings) as engine:
            (await engine.cache(packages, wanted=Format.CONDA)).raise_for_failures()
        async with Engine(cloud.settings) as engine:
            report = await engine.cache(packages, wanted=Format.CONDA)
    assert report.hits == 30
    assert report.requests == {"store": 1, "sources": 0}


async def test_nodes_that_share_a_store_end_with_one_object_for_each_form(
    channel: SyntheticChannel, cloud: Cloud, settings: Make
) -> None:
    import asyncio
    from dataclasses import replace

    async with FaultServer(channel.root) as upstream, asyncio.TaskGroup() as group:
        packages = channel.packages(upstream.url, 12)

        async def node(number: int) -> None:
            own = replace(cloud.settings, cache_dir=cloud.settings.cache_dir / str(number))
            async with Engine(own) as engine:
                (await engine.cache(packages, wanted=Format.CONDA)).raise_for_failures()

        for number in range(4):
            group.create_task(node(number))
    async with Engine(cloud.settings) as engine:
        assert len([i async for i in engine.store.scan("packages/")]) == 12
        assert engine.sources.inventory.duplicates == {}


async def test_a_backfill_reads_and_writes_the_store_alone(channel: SyntheticChannel, cloud: Cloud) -> None:
    async with FaultServer(channel.root) as upstream, Engine(cloud.settings) as engine:
        (await engine.cache(channel.packages(upstream.url, 10))).raise_for_failures()
        upstream.requests.clear()
        report = await Backfill(engine, Selection(Format.CONDA)).run()
        report.raise_for_failures()
        assert upstream.requests == []
        assert len([i async for i in engine.store.scan("packages/")]) == 15
