"""A plan says what the command then does: objects, bytes, and requests by kind, counted at the server."""

import inspect
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from asynccache.api import Planned, Session, Settings
from asynccache.api.planning import Planning
from asynccache.node.settings_table import REQUEST_KINDS
from asynccache.store.base import Store
from asynccache.store.counted import CountedStore
from asynccache.store.memory import MemoryStore
from tests.support.breaking_proxy import BreakingProxy, Exchange
from tests.support.environments import environment_of
from tests.support.fault_server import FaultServer
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.small_channel import SyntheticChannel

PRICES: dict[str, Any] = {
    "list": 5.0,
    "put": 5.0,
    "get": 0.4,
    "head": 0.4,
    "stored": 20.0,
    "out": 90.0,
    "currency": "USD",
}


def kind_of(exchange: Exchange) -> str:
    """Return the kind of a request to an S3 server."""
    if exchange.method == "GET" and ("list-type=" in exchange.target or "?uploads" in exchange.target):
        return "list"
    return {"GET": "get", "HEAD": "head", "PUT": "put", "POST": "put", "DELETE": "delete"}[exchange.method]


class Counting:
    """A store on a server that counts, and where packages are published."""

    def __init__(self, proxy: BreakingProxy, source: FaultServer, channel: SyntheticChannel) -> None:
        self.proxy = proxy
        self.source = source
        self.packages = channel.packages(source.url, 12)

    def begin(self) -> None:
        """Count from here."""
        self.proxy.arm(None)
        self.source.requests.clear()

    @property
    def requests(self) -> Counter[str]:
        """Requests since then, by kind."""
        return Counter(map(kind_of, self.proxy.seen))

    @property
    def read_bytes(self) -> int:
        """Bytes of archives that came out of the store since then."""
        archives = (e for e in self.proxy.seen if e.method == "GET" and "/packages/" in urlsplit(e.target).path)
        return sum(len(each.body) for each in archives if each.status in {200, 206} and kind_of(each) == "get")

    async def compared(
        self, plan: Callable[[], Awaitable[Planned]], do: Callable[[], Awaitable[Any]], *inexact: str
    ) -> tuple[Planned, Any]:
        """Plan and do something; the plan writes nothing, and kinds that are not inexact are counted to the request."""
        self.begin()
        planned = await plan()
        assert {each.method for each in self.proxy.seen} <= {"GET", "HEAD"}
        self.begin()
        result = await do()
        did, most = self.requests, dict(planned.requests_at_most)
        for kind, number in planned.requests:
            assert number <= did[kind] <= most[kind], (kind, planned.requests, planned.requests_at_most, did)
            assert kind in inexact or did[kind] == number, (kind, number, did)
        assert planned.read_bytes == self.read_bytes
        assert planned.fetches == len(self.source.requests)
        assert planned.fetched_bytes == self.source.bytes_sent
        assert planned.seconds is not None
        assert planned.failing == {}
        return planned, result


@pytest.fixture
async def counting(weed: ObjectServer, channel: SyntheticChannel) -> AsyncIterator[Counting]:
    async with BreakingProxy(urlsplit(weed.url).port or 0) as proxy, FaultServer(channel.root) as source:
        yield Counting(proxy, source, channel)


@pytest.fixture
def on_s3(counting: Counting, weed: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    return Settings(
        store=f"s3://{BUCKET}/plan-{tmp_path.name}",
        s3_endpoint_url=counting.proxy.url,
        cache_dir=tmp_path / "cache",
        datastore_root=tmp_path / "here",
        prices=PRICES,
    )


@pytest.mark.xdist_group("object-servers")
async def test_commands_do_what_was_planned(counting: Counting, on_s3: Settings) -> None:
    some = counting.packages[:8]
    async with Session(on_s3) as session:
        plan, _ = await counting.compared(
            lambda: session.plan.cache(packages=some),
            lambda: session.cache(packages=some),
            "get", "put", "delete",  # the first write
        )  # fmt: skip
        assert (plan.work, plan.written_bytes) == ({"to be fetched": 8}, plan.fetched_bytes)
        assert plan.money is not None
        once = sum(number * PRICES.get(kind, 0.0) / 1000 for kind, number in plan.requests)
        assert plan.money.as_document()["once"] == pytest.approx(once)
        assert plan.money.as_document()["monthly"] == pytest.approx(plan.written_bytes / 1e9 * 20, rel=1e-4)

        # nobody has written what this process has not told: what a first write needs is behind it
        plan, done = await counting.compared(
            lambda: session.plan.backfill(".conda"), lambda: session.backfill(".conda"), "put"
        )
        assert plan.work == {"to be transmuted": 4, "there": 4}
        assert (done.plan.todo, done.plan.todo_bytes) == (4, plan.read_bytes)
        assert 0.5 < plan.written_bytes / done.report.uploaded_bytes < 2
        assert any("marked every 5 s" in sentence for sentence in plan.assumptions)
        assert "bytes transmuted in" in plan.measured

        plan, again = await counting.compared(
            lambda: session.plan.backfill(".conda"), lambda: session.backfill(".conda"), "put"
        )
        assert (plan.work, again.plan.complete) == ({"there": 8}, 8)

        environments = [environment_of(counting.packages)]
        plan, warmed = await counting.compared(
            lambda: session.plan.warm(*environments, pack=False),
            lambda: session.warm(*environments, pack=False),
            "list", "get", "put",  # digests
        )  # fmt: skip
        assert plan.work == {"there": 8, "to be fetched": 4, "on this node": 0, "documents to be published": 1}
        assert warmed.readiness.distinct == 12

        plan, found = await counting.compared(session.plan.verify, session.verify)
        assert plan.work == {"archives to be read": 16, "documents to be read": 1, "packs to be read": 0}
        assert (found.archives.checked, found.archives.bytes) == (16, plan.read_bytes)
        plan, audited = await counting.compared(session.plan.audit, session.audit, "get")
        assert (plan.work["archives"], plan.work["receipts"]) == (audited.archives, audited.receipts) == (16, 4)
        plan, _ = await counting.compared(
            lambda: session.plan.audit(read_data=0.5), lambda: session.audit(read_data=0.5), "get"
        )
        assert 0 < plan.work["archives to be read"] < 16
        plan, _ = await counting.compared(lambda: session.plan.verify(sample=0.5), lambda: session.verify(sample=0.5))
        plan, cleaned = await counting.compared(
            lambda: session.plan.clean_store(older_than=0), lambda: session.clean_store(older_than=0)
        )
        assert plan.objects == len(cleaned.removed)
        async with Session(replace(on_s3, store=f"{on_s3.store}-copy")) as copying:
            source = str(on_s3.store)
            plan, copied = await counting.compared(
                lambda: copying.plan.replicate(source),
                lambda: copying.replicate(source),
                "list", "get", "head", "put", "delete",  # the first write, and names
            )  # fmt: skip
            assert plan.work["archives to be copied"] == copied.objects["archives"].copied == 16
            plan, _ = await counting.compared(
                lambda: copying.plan.replicate(source), lambda: copying.replicate(source), "put"
            )
            assert plan.written_bytes == 0
        plan, _ = await counting.compared(
            lambda: session.plan.verify(adopt=True), lambda: session.verify(adopt=True), "put"
        )
        for index in (1, 2):  # the first one makes the plan of both
            shard = {"shard": (index, 2), "run_id": "r"}
            await counting.compared(
                lambda shard=shard: session.plan.backfill(".tar.bz2", **shard),  # type: ignore[misc]
                lambda shard=shard: session.backfill(".tar.bz2", **shard),  # type: ignore[misc]
                "get", "put",
            )  # fmt: skip


@pytest.mark.xdist_group("object-servers")
async def test_marking_and_sweeping_take_what_was_planned(
    counting: Counting, on_s3: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is told to be a hundred days older between two runs."""
    later = [0.0]
    monkeypatch.setattr(Store, "timestamp", lambda _store: time.time() + later[0])
    rules: dict[str, Any] = {"keep_days": 30, "unreferenced": True}
    async with Session(on_s3) as session:
        await session.cache(packages=counting.packages)
        await session.backfill(".conda")
        environments = [environment_of(counting.packages[:5]), environment_of(counting.packages[3:9], "b", "c")]
        await session.warm(*environments, pack=False)
        await session.alias(str(environments[0].id), "team/a:v1")
        plan, _ = await counting.compared(
            lambda: session.plan.gc(**rules, dry_run=True), lambda: session.gc(**rules, dry_run=True)
        )
        assert plan.objects == 0
        later[0] += 100 * 86400
        plan, marked = await counting.compared(lambda: session.plan.gc(**rules), lambda: session.gc(**rules))
        by_kind = {kind: amount.objects for kind, amount in marked.marked.by_kind.items()}
        assert plan.work == {f"{kind} to be marked": number for kind, number in by_kind.items()}
        assert by_kind["environment"] == 1
        assert by_kind["package"] > 4
        assert plan.freed_bytes == 0
        assert any(f"frees {marked.marked.bytes} bytes of what is marked" in sentence for sentence in plan.assumptions)
        later[0] += 86400
        await session.alias(str(environments[1].id), "team/b:v1")  # the packages of it stay
        plan, swept = await counting.compared(
            lambda: session.plan.gc(**rules), lambda: session.gc(**rules), "head", "delete"
        )
        assert swept.swept.objects == sum(n for what, n in plan.work.items() if what.endswith("to be removed")) > 0
        assert (plan.freed_bytes, plan.work["marked before, and to stay"]) == (swept.swept.bytes, swept.kept)
        assert swept.kept > 0
        await session.gc(keep_days=31, unreferenced=True)  # of other rules: what was marked is marked anew
        for index in (1, 2):  # the first one makes the plan of both, and the last one ends the mark
            shard: dict[str, Any] = {**rules, "shard": (index, 2)}
            await counting.compared(
                lambda shard=shard: session.plan.gc(**shard),  # type: ignore[misc]
                lambda shard=shard: session.gc(**shard),  # type: ignore[misc]
                "list", "head", "get", "put",
            )  # fmt: skip


async def test_sizes_that_nobody_says_are_asked_for_and_what_has_none_is_told(
    channel: SyntheticChannel, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as source:
        urls = [f"{source.url}/linux-64/{path.name}" for path in channel.paths[:3]]
        settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache")
        async with Session(settings) as session:
            plan = await session.plan.cache(*urls, f"{source.url}/linux-64/none-1-0.conda")
    assert [record.method for record in source.requests[:4]] == ["HEAD"] * 4
    assert plan.fetched_bytes == sum(path.stat().st_size for path in channel.paths[:3])
    assert (plan.unknown, plan.fetches, plan.money) == (1, 4, None)
    assert not (tmp_path / "store").exists()


async def test_shards_count_their_own_part_and_what_agreeing_takes(filled: FaultServer, configured: Settings) -> None:
    async with Session(configured) as session:
        plans = [await session.plan.backfill(".conda", shard=(index, 3), run_id="r") for index in (1, 2, 3)]
        assert sum(plan.work["to be transmuted"] for plan in plans) == 6
        assert all(plan.requests_at_most.get > plan.requests.get for plan in plans)
        await session.backfill(".conda", shard=(2, 3), run_id="r")
        done = await session.plan.backfill(".conda", shard=(2, 3), run_id="r")
    assert (done.work, done.read_bytes) == ({}, 0)
    assert "this part of the run is done" in done.assumptions


@pytest.mark.parametrize("name", [name for name in vars(Planning) if not name.startswith("_")])
def test_what_plans_a_verb_takes_what_the_verb_takes(name: str) -> None:
    planned, verb = inspect.signature(getattr(Planning, name)), inspect.signature(getattr(Session, name))
    assert planned.parameters == verb.parameters
    assert planned.return_annotation == "Planned"


async def test_a_store_that_is_planned_on_cannot_be_written(tmp_path: Path) -> None:
    async with MemoryStore() as store:
        counted = CountedStore(store)
        with pytest.raises(AssertionError, match="would be changed"):
            await counted.put("a", b"a")
        with pytest.raises(AssertionError, match="would be changed"):
            await counted.delete("a")
        with pytest.raises(AssertionError, match="would be changed"):
            await counted.move("a", "b")
        assert [info async for info in counted.scan()] == []
        assert dict(counted.counts) == {**dict.fromkeys(REQUEST_KINDS, 0), "list": 1}
