"""What a service and the network may do, and what every store behind a network makes of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from dataclasses import replace as changed
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from asynccache.errors import IntegrityError, PreconditionFailedError, StoreError, StoreNotFoundError, StoreRefusedError
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.node.patience import Patience
from asynccache.runtime.clock import VirtualClock
from asynccache.store.base import ObjectInfo
from asynccache.store.google import GoogleStore
from asynccache.store.requests import CallFailedError
from tests.store.conftest import digests_of, options_for, written
from tests.store.fault_proxy import Cut, Do, Fault, Lose, Page, Refuse, Repeat, Reset, Stall, times
from tests.store.remotes import AnyStore, Remote, Step, nothing, on_azure, on_google, on_s3

pytestmark = pytest.mark.xdist_group("object-servers")


@pytest.fixture(params=["s3", "azure", "google"])
def remote(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """One kind of store after the other."""
    if request.param == "s3":
        return on_s3(request.getfixturevalue("weed"), monkeypatch)
    if request.param == "azure":
        return on_azure(request.getfixturevalue("azurite"), monkeypatch)
    return on_google(request.getfixturevalue("google"))


@dataclass
class Trial:
    """A store on which operations are tried, each on what the ones before it left."""

    store: AnyStore
    directory: Path
    data: bytes
    etags: list[str | None] = field(default_factory=list)

    async def create(self) -> None:
        self.etags.append((await self.store.put("a", b"content", if_absent=True)).etag)

    async def swap(self) -> None:
        self.etags.append((await self.store.put("a", b"changed", if_match=self.etags[-1])).etag)

    async def read(self) -> None:
        assert await self.store.get("a") == b"changed"

    async def look(self) -> None:
        assert (await described(self.store, "a")).etag == self.etags[-1]

    async def send(self) -> None:
        path = written(self.directory / "file", self.data)
        assert (await self.store.upload("b", path, digests_of(self.data))).size == len(self.data)

    async def bring(self) -> None:
        assert await self.store.download("b", self.directory / "copy") == len(self.data)
        assert (self.directory / "copy").read_bytes() == self.data

    async def list_all(self) -> None:
        assert [i.key async for i in self.store.scan()] == ["a", "b"]

    async def move(self) -> None:
        await self.store.move("b", "c")

    async def delete(self) -> None:
        await self.store.delete("c")


OPERATIONS: Final[list[Callable[[Trial], Awaitable[None]]]] = [
    Trial.create, Trial.swap, Trial.read, Trial.look, Trial.send, Trial.bring, Trial.list_all, Trial.move, Trial.delete,
]  # fmt: skip


async def described(store: AnyStore, key: str) -> ObjectInfo:
    found = await store.head(key)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "fault",
    [
        "busy", Refuse(429, "TooManyRequests"), Refuse(500, "InternalError"), Refuse(502, "BadGateway"),
        Refuse(302, "Found"), Reset(), Lose(),
    ],
    ids=str,
)  # fmt: skip
async def test_every_operation_outlives_a_fault_that_passes(remote: Remote, tmp_path: Path, fault: Fault | str) -> None:
    broken = remote.busy if isinstance(fault, str) else fault
    async with remote.opened() as (store, proxy):
        trial = Trial(store, tmp_path, b"file")
        for number, operation in enumerate(OPERATIONS, 1):
            proxy.script = times(1, broken)
            await operation(trial)
            assert proxy.broken == number
            # aiohttp by itself repeats a request whose kept-alive connection broke
            assert store.client.retries >= number or not isinstance(broken, Refuse)
        assert [i.key async for i in store.scan()] == ["a"]


@pytest.mark.parametrize("fault", [Refuse(500, "InternalError"), Reset()], ids=str)
async def test_an_outage_of_a_store_that_has_answered_is_survived_by_every_operation(
    remote: Remote, tmp_path: Path, fault: Fault
) -> None:
    clock = VirtualClock()
    async with remote.opened(clock=clock, patience=Patience()) as (store, proxy):
        trial = Trial(store, tmp_path, remote.data(2))
        for operation in OPERATIONS:
            back = clock.now() + 20
            proxy.script = lambda _request, back=back: fault if clock.now() < back else None  # type: ignore[misc]
            await operation(trial)
            assert clock.now() >= back


@pytest.mark.parametrize("fault", ["busy", Reset(), Lose()], ids=str)
async def test_an_upload_in_parts_outlives_a_fault_at_each_step(
    remote: Remote, tmp_path: Path, fault: Fault | str
) -> None:
    broken, data = remote.busy if isinstance(fault, str) else fault, remote.data(2)
    path = written(tmp_path / "file", data)
    async with remote.opened() as (store, proxy):
        for number, (step, meant) in enumerate(remote.steps.items(), 1):
            proxy.script = times(1, broken, when=meant)
            info = await store.upload(step, path, digests_of(data))
            assert proxy.broken == number
            assert await store.get(step) == data
            assert (await described(store, step)).etag == info.etag
        # what was begun without an answer cannot be known of; its remains are for the bucket's lifecycle rule
        lost = ["begin"] if isinstance(broken, Lose) and "begin" in remote.steps else []
        assert [name.rpartition("/")[2] for name in remote.unfinished(store)] == lost


@pytest.mark.parametrize("heeds", [True, False, None], ids=["heeded", "ignored", "refused"])
async def test_another_version_stays_whatever_a_service_makes_of_a_removal_with_a_condition(
    remote: Remote, monkeypatch: pytest.MonkeyPatch, heeds: bool | None
) -> None:
    async with remote.opened() as (store, proxy):
        removed, conditions = store._remove, list[str | None]()

        async def remove(key: str, etag: str | None = None) -> None:
            conditions.append(etag)
            if heeds is None and etag is not None:
                raise CallFailedError(ValueError(), unsupported=True)
            await removed(key, etag if heeds else None)

        monkeypatch.setattr(store, "_remove", remove)
        known = [await store.put(f"a{number}", b"1") for number in range(4)]
        await store.put("a0", b"22")
        together = [store.delete(info.key, unless_changed=info) for info in known]
        assert await asyncio.gather(*together) == [False, True, True, True]
        assert [info.key async for info in store.scan()] == ["a0"]
        proxy.seen.clear()
        (last,) = [info async for info in store.scan()]
        assert await store.delete("a0", unless_changed=last)
        assert len(proxy.seen) == 1 + (1 if heeds else 2)
        assert conditions[-1] == (last.etag if heeds else None)


async def test_a_lost_race_is_not_taken_for_a_reply_that_was_lost(remote: Remote, tmp_path: Path) -> None:
    path = written(tmp_path / "file", remote.data(2))
    async with remote.opened() as (store, proxy), remote.beside(store) as other:

        async def race() -> None:
            await other.put("parts", b"theirs")

        await other.put("a", b"mine")
        proxy.script = times(1, Reset())
        with pytest.raises(PreconditionFailedError):
            await store.put("a", b"mine", if_absent=True)
        proxy.script = times(1, Do(race), when=remote.steps["end"])
        with pytest.raises(PreconditionFailedError):
            await store.upload("parts", path, Digests())
        assert await store.get("parts") == b"theirs"
        assert remote.unfinished(store) == []


async def test_a_storm_of_refusals_is_survived_and_slows_all_calls_down(remote: Remote) -> None:
    chance = random.Random(5)
    async with remote.opened(lambda _request: remote.busy if chance.random() < 0.3 else None) as (store, _proxy):
        await asyncio.gather(*(store.put(f"k/{n}", b"x", if_absent=True) for n in range(30)))
        assert len(await store.list_page("k/")) == 30
        assert store.client.throttled > 5
        assert store.client.retries >= store.client.throttled


async def test_the_pause_that_the_service_asks_for_is_kept_by_all_requests(remote: Remote) -> None:
    clock = VirtualClock()
    asked = Refuse(503, remote.busy.code, retry_after=100)
    async with remote.opened(times(1, asked), clock=clock) as (store, _proxy):
        await asyncio.gather(store.put("a", b"x"), store.put("b", b"x"))
        await store.put("c", b"x")
        assert store.client.throttled == 1
    assert clock.now() >= 100


async def test_a_refusal_that_stays_ends_in_time_with_one_clear_error(remote: Remote) -> None:
    clock, words = VirtualClock(), f"still answers {remote.busy.code} after many tries"
    async with remote.opened(lambda _request: remote.busy, clock=clock) as (store, proxy):
        with pytest.raises(StoreError, match=words):
            await store.put("a", b"x")
        assert clock.now() == pytest.approx(300, abs=5)
        assert len(proxy.seen) > 5
    longer = Refuse(503, remote.busy.code, retry_after=7200)
    async with remote.opened(lambda _request: longer) as (store, proxy):
        with pytest.raises(StoreError, match=words):
            await store.put("a", b"x")
        assert len(proxy.seen) == 1


async def test_a_service_that_stays_broken_is_asked_as_often_as_set(remote: Remote) -> None:
    broken = Refuse(500, "InternalError")
    async with remote.opened(lambda _request: broken, patience=Patience(3, 0.0)) as (store, proxy):
        with pytest.raises(StoreError, match="InternalError, status 500"):
            await store.get("a")
        assert len(proxy.seen) == 3
        assert store.client.retries == 2


async def test_an_outage_that_stays_is_waited_for_once_and_not_by_every_request(remote: Remote) -> None:
    clock, broken = VirtualClock(), Refuse(500, "InternalError")
    async with remote.opened(lambda _request: broken, clock=clock, patience=Patience()) as (store, proxy):
        with pytest.raises(StoreError, match="InternalError, status 500"):
            await store.get("a")
        assert clock.now() == pytest.approx(60)
        proxy.seen.clear()
        with pytest.raises(StoreError, match="InternalError, status 500"):
            await store.get("b")
        assert len(proxy.seen) == 5
        assert clock.now() < 70


async def test_who_may_not_is_told_so_without_the_text_of_the_service(remote: Remote) -> None:
    async with remote.opened(lambda _request: remote.denied) as (store, _proxy):
        with pytest.raises(StoreRefusedError, match=rf"access to a in .* is denied \({remote.denied.code}\)") as caught:
            await store.get("a")
        assert "AKIDSECRET" not in str(caught.value)


@pytest.mark.parametrize("page", ["<!DOCTYPE html><html>sign in</html>", "<html><br>sign in", "{}"])
async def test_something_else_than_the_service_is_named_and_never_taken_for_it(
    remote: Remote, tmp_path: Path, page: str
) -> None:
    data = remote.data(2)
    path = written(tmp_path / "file", data)
    async with remote.opened(lambda _request: Page(page), patience=Patience(1, 0.0)) as (store, _proxy):
        for request in (
            store.list_page(""),
            store.head("k"),
            store.put("k", b"x"),
            store.upload("k", path, digests_of(data), if_absent=False),
            anext(store.scan()),
        ):
            with pytest.raises(
                StoreError, match=r"something else than (an S3 server|Azure|Google)|cannot serve"
            ) as caught:
                await request
            assert caught.value.retryable


@pytest.mark.parametrize("remote", ["azure", "google"], indirect=True)
async def test_the_answer_to_another_request_is_not_taken_for_that_to_a_write(remote: Remote, tmp_path: Path) -> None:
    data = remote.data(2)
    path = written(tmp_path / "file", data)
    async with remote.opened() as (store, proxy):
        await store.put("a", b"x")

        async def small() -> None:
            await store.put("b", data)

        async def in_parts() -> None:
            await store.upload("b", path, Digests(), if_absent=False)

        for write, step in ((small, lambda _: True), *((in_parts, each) for each in remote.steps.values())):
            assert await store.head("a") is not None
            proxy.script = times(1, Repeat(), when=step)
            try:
                await write()
            except StoreError:
                assert isinstance(store, GoogleStore)  # whose service does not repeat what it answers to
            else:
                assert await store.get("b") == data
            proxy.script = nothing
            await store.delete("b")


@pytest.mark.parametrize("remote", ["azure", "google"], indirect=True)
async def test_a_container_that_is_not_there_is_named_whatever_is_asked(remote: Remote, tmp_path: Path) -> None:
    data = remote.data(2)
    path, service = written(tmp_path / "file", data), changed(remote.service, container="nowhere")
    root = StoreRoot.parse(service.root("x"), endpoint=service.endpoint())
    async with remote.kind(root, options_for(part_bytes=remote.part)) as store:
        for request in (
            store.list_page(""),
            store.put("a", b"x"),
            store.put("a", b"x", if_absent=True),
            store.upload("a", path, digests_of(data), if_absent=False),
        ):
            with pytest.raises(StoreNotFoundError, match=f"of {store.address} does not exist at .*; create it"):
                await request


async def test_an_upload_whose_session_has_ended_begins_anew(remote: Remote, tmp_path: Path) -> None:
    data, ended = remote.data(2), Refuse(404, "NoSuchUpload")
    if "begin" not in remote.steps:
        return  # blocks have no session
    async with remote.opened(times(1, ended, when=remote.steps["part"])) as (store, _proxy):
        await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        assert await store.get("a") == data


async def test_a_stalled_request_ends_in_time(remote: Remote) -> None:
    async with remote.opened(lambda _request: Stall(), patience=Patience(2, 0.0), read_timeout=0.1) as (store, _proxy):
        with pytest.raises(StoreError, match="did not answer"):
            await store.get("a")


async def test_a_download_goes_on_where_the_connection_broke(remote: Remote, tmp_path: Path) -> None:
    cuts = 0

    def cut(request: web.BaseRequest) -> Fault | None:
        nonlocal cuts
        cuts += request.method == "GET"
        return Cut(0.5) if request.method == "GET" and cuts % 2 else None

    async with remote.opened() as (store, proxy):
        # one that comes in one read, in one request, and in several
        for data in (remote.data(0), remote.data(1), remote.data(5)):
            proxy.script = nothing
            await store.upload("a", written(tmp_path / "file", data), digests_of(data), if_absent=False)
            proxy.script, before = cut, store.client.retries
            moved: list[int] = []
            assert await store.download("a", tmp_path / "copy", size=len(data), moved=moved.append) == len(data)
            assert (tmp_path / "copy").read_bytes() == data
            assert sum(moved) == len(data)
            assert store.client.retries > before


async def test_an_object_that_is_replaced_while_it_is_read_is_read_anew(remote: Remote, tmp_path: Path) -> None:
    data = remote.data(5)
    gets = 0

    def script(request: web.BaseRequest) -> Fault | None:
        nonlocal gets
        gets += request.method == "GET"
        return Do(replace) if gets == 2 else None

    async with remote.opened() as (store, proxy), remote.beside(store) as other:

        async def replace() -> None:
            await other.put("a", data[::-1])

        await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        proxy.script = script
        assert await store.download("a", tmp_path / "copy") == len(data)
        assert (tmp_path / "copy").read_bytes() == data[::-1]
        assert gets > 3


async def test_no_more_parts_are_under_way_than_set(remote: Remote, tmp_path: Path) -> None:
    data = remote.data(3)
    async with remote.opened(parts_at_once=2) as (store, proxy):
        await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        assert proxy.most_under_way <= 2


async def test_a_large_file_that_is_not_what_its_digest_says_is_never_visible(remote: Remote, tmp_path: Path) -> None:
    data = remote.data(2)
    async with remote.opened() as (store, _proxy):
        with pytest.raises(IntegrityError, match="has the wrong sha256: expected 000"):
            await store.upload("a", written(tmp_path / "file", data), Digests(sha256="0" * 64, size=len(data)))
        assert await store.head("a") is None
        assert remote.unfinished(store) == []


async def test_a_failed_upload_leaves_no_object_and_no_parts(remote: Remote, tmp_path: Path) -> None:
    data = remote.data(2)
    async with remote.opened(times(9, remote.denied, when=remote.steps["part"])) as (store, _proxy):
        with pytest.raises(StoreRefusedError, match=r"access to a in .* is denied"):
            await store.upload("a", written(tmp_path / "file", data), digests_of(data))
        assert await store.head("a") is None
        assert remote.unfinished(store) == []


async def test_a_cancelled_upload_leaves_no_object_and_no_parts_and_sends_none(remote: Remote, tmp_path: Path) -> None:
    data = remote.data(2)
    path = written(tmp_path / "file", data)
    async with remote.opened(parts_at_once=1) as (store, proxy):
        for step, meant in remote.steps.items():
            reached, parts = asyncio.Event(), 0

            def watch(
                request: web.BaseRequest, step: str = step, meant: Step = meant, reached: asyncio.Event = reached
            ) -> Fault | None:
                nonlocal parts
                parts += remote.steps["part"](request)
                if not meant(request):
                    return None
                reached.set()
                # what begins an upload goes through while the caller is cancelled: the server then knows it
                return Stall() if step == "end" else None

            proxy.script = watch
            task = asyncio.ensure_future(store.upload("a", path, digests_of(data)))
            await asyncio.wait_for(reached.wait(), 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            sent = parts
            await asyncio.sleep(0.1)
            assert parts <= sent + 1  # one may have left this process already
            assert await store.head("a") is None
            assert remote.unfinished(store) == []
