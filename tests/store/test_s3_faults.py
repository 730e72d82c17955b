"""What an S3 server and the network may do, and what the store makes of it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from asynccache.errors import IntegrityError, PreconditionFailedError, StoreError
from asynccache.model.digest import Digests
from asynccache.store import s3_client
from asynccache.store.pace import Pace
from asynccache.store.s3 import S3Store
from tests.store.conftest import PART, digests_of, new_root, options_for, use_credentials_of, written
from tests.store.fault_proxy import Cut, Do, Fault, FaultProxy, Lose, Refuse, Reset, Script, Stall, times
from tests.support.object_servers import BUCKET, ObjectServer

pytestmark = pytest.mark.xdist_group("object-servers")

LARGE = random.Random(2).randbytes(5 * PART + 1000)  # six parts, of which one request reads four
SLOW_DOWN = Refuse(503, "SlowDown")
Opened = Callable[..., AbstractAsyncContextManager[tuple[S3Store, FaultProxy]]]


@pytest.fixture
def opened(weed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Opened:
    use_credentials_of(weed, monkeypatch)

    @asynccontextmanager
    async def open_through_proxy(script: Script, **options: object) -> AsyncIterator[tuple[S3Store, FaultProxy]]:
        proxy = FaultProxy(weed.url)
        async with proxy, S3Store(new_root(proxy.url), options_for(**options)) as store:
            await store.capabilities()
            proxy.seen.clear()
            proxy.script = script
            yield store, proxy

    return open_through_proxy


def unfinished(weed: ObjectServer, store: S3Store) -> list[str]:
    prefix = store.address.removeprefix(f"s3://{BUCKET}/")
    client = weed.client()
    try:
        answer = client.list_multipart_uploads(Bucket=BUCKET)
        return [u["Key"] for u in answer.get("Uploads", []) if u["Key"].startswith(prefix)]
    finally:
        client.close()


@pytest.mark.parametrize(
    "fault",
    [
        SLOW_DOWN,
        Refuse(429, "TooManyRequests"),
        Refuse(503, "ServiceUnavailable"),
        Refuse(500, "InternalError"),
        Refuse(502, "BadGateway"),
        Refuse(409, "OperationAborted"),
        Refuse(409, "ConditionalRequestConflict"),
        Refuse(400, "RequestTimeout"),
        Reset(),
        Lose(),
    ],
    ids=str,
)
async def test_every_operation_outlives_a_fault_that_passes(opened: Opened, tmp_path: Path, fault: Fault) -> None:
    path = written(tmp_path / "file", b"file")
    async with opened(lambda _request: None) as (store, proxy):

        async def broken(script: Script) -> None:
            proxy.script = script

        await broken(times(1, fault))
        first = await store.put("a", b"content", if_absent=True)
        await broken(times(1, fault))
        info = await store.put("a", b"changed", if_match=first.etag)
        await broken(times(1, fault))
        assert await store.get("a") == b"changed"
        if not (
            isinstance(fault, Refuse) and fault.status in {400, 409}
        ):  # a HEAD's answer has no code to tell them by
            await broken(times(1, fault))
        there = await store.head("a")
        assert there is not None
        assert there.etag == info.etag
        await broken(times(1, fault))
        await store.upload("b", path, digests_of(b"file"))
        await broken(times(1, fault))
        assert await store.download("b", tmp_path / "copy") == 4
        await broken(times(1, fault))
        assert [i.key async for i in store.scan()] == ["a", "b"]
        await broken(times(1, fault))
        await store.delete("b")
        # aiohttp by itself repeats a request whose kept-alive connection broke
        assert store.client.retries >= 7 or not isinstance(fault, Refuse)


@pytest.mark.parametrize("step", ["uploads", "partNumber", "uploadId"], ids=["create", "part", "complete"])
@pytest.mark.parametrize("fault", [SLOW_DOWN, Reset(), Lose()], ids=str)
async def test_an_upload_in_parts_outlives_a_fault_at_each_step(
    opened: Opened, weed: ObjectServer, tmp_path: Path, step: str, fault: Fault
) -> None:
    method = "PUT" if step == "partNumber" else "POST"
    async with opened(times(1, fault, method=method, having=step)) as (store, _proxy):
        await store.upload("big", written(tmp_path / "file", LARGE), digests_of(LARGE))
        assert await store.get("big") == LARGE
        # a create whose answer was lost cannot be known of; its remains are for the bucket's lifecycle rule
        assert len(unfinished(weed, store)) == (1 if step == "uploads" and isinstance(fault, Lose) else 0)


async def test_a_reply_that_was_lost_is_not_taken_for_a_lost_race(opened: Opened) -> None:
    async with opened(times(1, Lose(), method="PUT")) as (store, proxy):
        info = await store.put("a", b"mine", if_absent=True)
        assert await store.get("a") == b"mine"
        assert (await store.head("a")).etag == info.etag  # type: ignore[union-attr]
        assert [s.split()[0] for s in proxy.seen[:3]] == ["PUT", "PUT", "HEAD"]


async def test_a_lost_race_is_not_taken_for_a_reply_that_was_lost(opened: Opened, weed: ObjectServer) -> None:
    async with opened(times(1, Reset(), method="PUT")) as (store, _proxy):
        key = store.address.removeprefix(f"s3://{BUCKET}/") + "/a"
        client = weed.client()
        client.put_object(Bucket=BUCKET, Key=key, Body=b"mine")
        client.close()
        with pytest.raises(PreconditionFailedError):
            await store.put("a", b"mine", if_absent=True)


async def test_a_lost_reply_to_a_swap_is_known_by_its_writer(opened: Opened) -> None:
    async with opened(lambda _request: None) as (store, proxy):
        first = await store.put("a", b"1")
        proxy.script = times(1, Lose(), method="PUT")
        second = await store.put("a", b"2", if_match=first.etag)
        assert (await store.head("a")).etag == second.etag  # type: ignore[union-attr]


async def test_a_storm_of_refusals_is_survived_and_slows_all_calls_down(opened: Opened) -> None:
    chance = random.Random(5)

    def storm(_request: web.BaseRequest) -> Fault | None:
        return SLOW_DOWN if chance.random() < 0.3 else None

    async with opened(storm) as (store, _proxy):
        await asyncio.gather(*(store.put(f"k/{n}", b"x", if_absent=True) for n in range(30)))
        assert len(await store.list_page("k/")) == 30
        assert store.client.throttled > 5
        assert store.client.retries >= store.client.throttled


async def test_retry_after_is_honoured(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    reserve = Pace.reserve

    def told(pace: Pace) -> float:
        waits.append(reserve(pace))
        return 0.0

    monkeypatch.setattr(Pace, "reserve", told)
    async with opened(times(1, Refuse(503, "SlowDown", retry_after=100))) as (store, _proxy):
        await store.put("a", b"x")
    assert waits[:-1] == [0.0] * (len(waits) - 1)
    assert 40 < waits[-1] <= 100


async def test_a_refusal_that_stays_ends_in_time_with_one_clear_error(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_client, "_THROTTLED_SECONDS", 0.5)
    async with opened(lambda _request: SLOW_DOWN) as (store, _proxy):
        with pytest.raises(StoreError, match="still answers SlowDown after many tries"):
            await store.put("a", b"x")
    async with opened(lambda _request: Refuse(503, "SlowDown", retry_after=7200)) as (store, proxy):
        with pytest.raises(StoreError, match="still answers SlowDown"):
            await store.put("a", b"x")
        assert len(proxy.seen) == 1


async def test_a_server_that_stays_broken_is_asked_as_often_as_set(opened: Opened) -> None:
    async with opened(lambda _request: Refuse(500, "InternalError"), attempts=3) as (store, proxy):
        with pytest.raises(StoreError, match="InternalError, status 500"):
            await store.get("a")
        assert len(proxy.seen) == 3
        assert store.client.retries == 2


async def test_a_stalled_request_ends_in_time(opened: Opened) -> None:
    async with opened(lambda _request: Stall(), attempts=2, read_timeout=0.3) as (store, _proxy):
        with pytest.raises(StoreError, match="did not answer"):
            await store.get("a")


@pytest.mark.parametrize("size", [1000, PART + 70_000, len(LARGE)])
async def test_a_download_goes_on_where_the_connection_broke(opened: Opened, tmp_path: Path, size: int) -> None:
    data = LARGE[:size]
    cuts = 0

    def cut(request: web.BaseRequest) -> Fault | None:
        nonlocal cuts
        cuts += request.method == "GET"
        return Cut(0.5) if request.method == "GET" and cuts % 2 else None

    async with opened(lambda _request: None) as (store, proxy):
        await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        proxy.script = cut
        moved: list[int] = []
        assert await store.download("a", tmp_path / "copy", size=size, moved=moved.append) == size
        assert (tmp_path / "copy").read_bytes() == data
        assert sum(moved) == size
        assert store.client.retries >= 1


async def test_an_object_that_is_replaced_while_it_is_read_is_read_anew(
    opened: Opened, weed: ObjectServer, tmp_path: Path
) -> None:
    other = bytes(reversed(LARGE))
    gets = 0

    def replace() -> None:
        client = weed.client()
        client.put_object(Bucket=BUCKET, Key=store.address.removeprefix(f"s3://{BUCKET}/") + "/a", Body=other)
        client.close()

    def script(request: web.BaseRequest) -> Fault | None:
        nonlocal gets
        gets += request.method == "GET"
        return Do(replace) if gets == 2 else None

    async with opened(lambda _request: None) as (store, proxy):
        await store.upload("a", written(tmp_path / "file", LARGE), digests_of(LARGE))
        proxy.script = script
        assert await store.download("a", tmp_path / "copy") == len(other)
        assert (tmp_path / "copy").read_bytes() == other
        assert gets > 3


async def test_what_arrives_damaged_is_refused_and_not_tried_again(opened: Opened, tmp_path: Path) -> None:
    data = os.urandom(1000)
    path = written(tmp_path / "file", data)
    wrong = Digests(sha256="0" * 64, size=1000)
    async with opened(lambda _request: None) as (store, proxy):
        with pytest.raises(IntegrityError, match="arrived damaged"):
            await store.upload("a", path, wrong)
        assert len(proxy.seen) == 1
        with pytest.raises(IntegrityError, match="arrived damaged"):
            await store.upload("a", path, Digests(md5="0" * 32))
        assert await store.head("a") is None


async def test_a_large_file_that_is_not_what_its_digest_says_is_never_visible(
    opened: Opened, weed: ObjectServer, tmp_path: Path
) -> None:
    path = written(tmp_path / "file", LARGE)
    async with opened(lambda _request: None) as (store, _proxy):
        with pytest.raises(IntegrityError, match="has the wrong sha256: expected 000"):
            await store.upload("a", path, Digests(sha256="0" * 64, size=len(LARGE)))
        assert await store.head("a") is None
        assert unfinished(weed, store) == []


async def test_a_failed_upload_leaves_no_parts(opened: Opened, weed: ObjectServer, tmp_path: Path) -> None:
    async with opened(lambda r: Refuse(403, "AccessDenied") if "partNumber" in r.query else None) as (store, _proxy):
        with pytest.raises(StoreError, match=r"access to a in s3.* is denied"):
            await store.upload("a", written(tmp_path / "file", LARGE), digests_of(LARGE))
        assert unfinished(weed, store) == []


@pytest.mark.parametrize("step", ["uploads", "partNumber", "complete"])
async def test_a_cancelled_upload_leaves_no_object_and_no_parts(
    opened: Opened, weed: ObjectServer, tmp_path: Path, step: str
) -> None:
    path = written(tmp_path / "file", LARGE)
    reached = asyncio.Event()

    def watch(request: web.BaseRequest) -> Fault | None:
        complete = request.method == "POST" and "uploadId" in request.query
        if (step in request.query) or (step == "complete" and complete):
            reached.set()
            # a create goes through while the caller is cancelled: the server then knows the upload
            return None if step == "uploads" else Stall()
        return None

    async with opened(watch) as (store, _proxy):
        task = asyncio.ensure_future(store.upload("a", path, digests_of(LARGE)))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await store.head("a") is None
        assert unfinished(weed, store) == []


async def test_parts_in_memory_are_bounded(opened: Opened, tmp_path: Path) -> None:
    under_way, most = 0, 0

    def watch(request: web.BaseRequest) -> Fault | None:
        nonlocal under_way, most
        if "partNumber" in request.query:
            under_way = sum(1 for _ in asyncio.all_tasks() if "_send_part" in repr(_))
            most = max(most, under_way)
        return None

    async with opened(watch, parts_at_once=2) as (store, proxy):
        data = LARGE[: 4 * PART + 2000]
        await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        assert sum("partNumber" in s for s in proxy.seen) == 5
        assert most <= 2
