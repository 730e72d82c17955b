"""What S3 servers alone do, and what the store makes of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from aiohttp import web

from asynccache.errors import IntegrityError, StoreError
from asynccache.model.digest import Digests
from asynccache.node.patience import Patience
from asynccache.runtime.clock import VirtualClock
from asynccache.store.s3 import S3Store
from tests.store.conftest import digests_of, new_root, options_for, use_credentials_of, written
from tests.store.fault_proxy import Fault, FaultProxy, Refuse, times
from tests.store.remotes import Remote, on_s3
from tests.support.object_servers import ObjectServer

pytestmark = pytest.mark.xdist_group("object-servers")


@pytest.fixture
def s3(weed: ObjectServer, monkeypatch: pytest.MonkeyPatch) -> Remote:
    return on_s3(weed, monkeypatch)


@pytest.mark.parametrize(
    "fault",
    [
        Refuse(503, "ServiceUnavailable"), Refuse(409, "OperationAborted"), Refuse(409, "ConditionalRequestConflict"),
        Refuse(400, "RequestTimeout"),
    ],
    ids=str,
)  # fmt: skip
async def test_what_s3_says_for_later_is_tried_again(s3: Remote, fault: Refuse) -> None:
    async with s3.opened(times(1, fault)) as (store, proxy):
        await store.put("a", b"content", if_absent=True)
        proxy.script = times(1, fault)
        assert await store.get("a") == b"content"
        assert (proxy.broken, store.client.retries) == (2, 2)


async def test_a_503_without_a_body_is_a_refusal_because_of_the_rate(s3: Remote) -> None:
    clock = VirtualClock()
    async with s3.opened(times(12, s3.busy, method="HEAD"), clock=clock, patience=Patience(2, 0.0)) as (store, proxy):
        await store.put("a", b"x")
        assert await store.head("a") is not None
        assert store.client.throttled == 12
        assert sum(seen.startswith("HEAD") for seen in proxy.seen) == 13


async def test_what_arrives_damaged_is_refused_and_not_tried_again(s3: Remote, tmp_path: Path) -> None:
    data = os.urandom(1000)
    path = written(tmp_path / "file", data)
    wrong = Digests(sha256="0" * 64, size=1000)
    async with s3.opened() as (store, proxy):
        with pytest.raises(IntegrityError, match="arrived damaged"):
            await store.upload("a", path, wrong)
        assert len(proxy.seen) == 1
        with pytest.raises(IntegrityError, match="arrived damaged"):
            await store.upload("a", path, Digests(md5="0" * 32))
        assert await store.head("a") is None


async def test_every_body_is_sent_with_its_length_and_a_checksum(
    s3: Remote, weed: ObjectServer, tmp_path: Path
) -> None:
    sent: list[tuple[str, set[str], str | None]] = []

    def record(request: web.BaseRequest) -> None:
        if request.method == "PUT" and "x-amz-copy-source" not in request.headers:
            sums = {n.lower() for n in request.headers if n.lower() in {"content-md5", "x-amz-checksum-sha256"}}
            sent.append((request.path.rsplit("/", 1)[-1], sums, request.headers.get("Content-Length")))

    large = s3.data(2)
    async with FaultProxy(weed.url, record) as proxy, S3Store(new_root(proxy.url), options_for()) as store:
        first = await store.put("new", b"123", if_absent=True)  # and the probe before
        await store.put("new", b"12345", if_match=first.etag)
        await store.put("always", b"1234567")
        path = written(tmp_path / "file", b"x" * 1000)
        for digests in (digests_of(b"x" * 1000), Digests(md5=digests_of(b"x" * 1000).md5), Digests()):
            await store.upload("small", path, digests, if_absent=False)
        await store.upload("large", written(tmp_path / "large", large), Digests(size=len(large)))
        await store.move("always", "moved")
    assert {name for name, _sums, _length in sent} == {"probe", "new", "always", "small", "large"}
    assert [(name, length) for name, sums, length in sent if not sums or not length or length == "0"] == []


async def test_a_writer_that_dies_behind_the_headers_leaves_nothing(
    weed: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_credentials_of(weed, monkeypatch)
    heads: list[bytes] = []

    def record(request: web.BaseRequest) -> Fault | None:
        if not request.path.endswith("/a"):
            return None
        lines = [f"{name}: {value}" for name, value in request.headers.items() if name != "Expect"]
        heads.append("\r\n".join([f"PUT {request.raw_path} HTTP/1.1", *lines, "", ""]).encode())
        return Refuse(403, "AccessDenied")

    async with FaultProxy(weed.url, record) as proxy, S3Store(new_root(proxy.url), options_for()) as store:
        with pytest.raises(StoreError, match="denied"):
            await store.put("a", b"content")
        host, port = weed.url.removeprefix("http://").split(":")
        for part in (b"", b"con"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(heads[0] + part)
            await writer.drain()
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 10)
            writer.close()
        proxy.script = lambda _request: None
        assert await store.head("a") is None
