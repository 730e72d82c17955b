"""What is resolved is made on this machine while its packages are brought, out of what was just fetched."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.errors import AsyncCacheError, UsageError
from asynccache.hydrate.prefix import read_marker
from asynccache.model.platform import current_architecture
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_request import ResolveOptions
from asynccache.ops.resolve_result import Resolved
from asynccache.runtime.clock import Clock
from tests.ops.resolve_table import TableResolver, found, wanted
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in, damaged_in

COUNT = 6
FORMATS = pytest.mark.parametrize("form", ["none", ".conda", ".tar.bz2"])


class Held(Clock):
    """A clock on which a server waits until it is let go."""

    def __init__(self) -> None:
        self.released = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        del seconds
        async with asyncio.timeout(120):
            await self.released.wait()


@pytest.fixture
def settings(configured: Settings, tmp_path: Path) -> Settings:
    return replace(configured, datastore_root=tmp_path / "here", username="ann")


@pytest.fixture
def held() -> Held:
    return Held()


@pytest.fixture
async def server(channel: SyntheticChannel, held: Held) -> AsyncIterator[FaultServer]:
    """A channel that holds back one package."""
    last = Fault(Kind.STALL_HEADERS, f"*{channel.paths[COUNT - 1].name}")
    async with FaultServer(channel.root, faults=[last], clock=held) as serving:
        yield serving
        held.released.set()


@pytest.fixture
def table(channel: SyntheticChannel, server: FaultServer) -> TableResolver:
    return TableResolver({"a": found(channel.packages(server.url, COUNT))})


async def made(settings: Settings, table: TableResolver, emit: events.EventSink = events.ignore) -> Resolved:
    asked = wanted("a", current_architecture())
    return await resolve(settings, [asked], options=ResolveOptions(create=True), choose=table, emit=emit)


@FORMATS
async def test_packages_are_extracted_while_the_last_is_fetched_and_none_is_read_back(
    form: str, settings: Settings, table: TableResolver, server: FaultServer, held: Held, tmp_path: Path
) -> None:
    seen: list[events.Event] = []

    def emit(event: events.Event) -> None:
        seen.append(event)
        if sum(isinstance(e, events.PackageExtracted) for e in seen) == COUNT - 1:
            held.released.set()

    resolved = await made(replace(settings, preferred_format=form), table, emit)
    resolved.raise_for_failures()
    (row,) = resolved.rows
    assert row.environment is not None
    assert row.prefix is not None
    assert read_marker(row.prefix) == row.environment.id
    assert row.published
    assert len(list((row.prefix / "conda-meta").glob("*.json"))) == COUNT
    fetched = [e for e in seen if isinstance(e, events.Fetched)]
    assert len(fetched) == COUNT
    assert all(e.source.startswith(server.url) for e in fetched)
    assert set(server.hits.values()) == {1}
    assert len(archives_in(tmp_path / "store")) == COUNT
    assert damaged_in(tmp_path / "store") == []


async def test_what_was_ended_in_between_goes_on_where_it_was(
    settings: Settings, table: TableResolver, server: FaultServer, held: Held
) -> None:
    published = asyncio.Semaphore(0)

    def emit(event: events.Event) -> None:
        if isinstance(event, events.Uploaded):
            published.release()

    making = asyncio.ensure_future(made(settings, table, emit))
    async with asyncio.timeout(120):
        for _ in range(COUNT - 1):
            await published.acquire()
    making.cancel()
    with suppress(asyncio.CancelledError):
        await making
    work = settings.cache_dir / "work"
    assert [p.name for p in work.glob("x*")] == []
    assert not list((settings.cache_dir / "envs").glob("metaflow*"))
    held.released.set()
    resolved = await made(settings, table)
    resolved.raise_for_failures()
    assert resolved.rows[0].prefix is not None
    again = {path for path, count in server.hits.items() if count > 1}
    assert len(again) <= 1  # the one that was held


async def test_a_package_that_cannot_be_extracted_here_is_cached_all_the_same(
    settings: Settings, table: TableResolver, held: Held, tmp_path: Path
) -> None:
    held.released.set()
    (settings.cache_dir / "pkgs").parent.mkdir(parents=True)
    (settings.cache_dir / "pkgs").write_bytes(b"no directory")
    with pytest.raises(AsyncCacheError):
        (await made(settings, table)).raise_for_failures()
    (settings.cache_dir / "pkgs").unlink()
    resolved = await made(settings, table)
    resolved.raise_for_failures()
    assert resolved.rows[0].prefix is not None
    assert len(archives_in(tmp_path / "store")) == COUNT


async def test_damaged_packages_are_neither_published_nor_extracted(
    settings: Settings, table: TableResolver, server: FaultServer, channel: SyntheticChannel, held: Held, tmp_path: Path
) -> None:
    held.released.set()
    bad = channel.paths[0].name
    server.plan(Fault(Kind.FLIP, f"*{bad}"))
    resolved = await made(settings, table)
    with pytest.raises(AsyncCacheError):
        resolved.raise_for_failures()
    assert resolved.rows[0].prefix is None
    assert not any(bad in str(p) for p in archives_in(tmp_path / "store"))
    assert not (settings.cache_dir / "pkgs" / bad.removesuffix(".conda").removesuffix(".tar.bz2")).exists()


async def test_a_dry_run_makes_nothing(settings: Settings, table: TableResolver) -> None:
    asked = wanted("a", current_architecture())
    with pytest.raises(UsageError, match="a dry run makes no environment"):
        await resolve(settings, [asked], options=ResolveOptions(create=True, dry_run=True), choose=table)
