"""Every transport answers alike: aiohttp against a real server, and the twin in memory."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from asynccache.engine.transport import Answer, HTTPTransport, MemoryTransport, Transport, TransportError
from asynccache.model.url import PackageURL
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind

BODY = bytes(range(256)) * 4000


def _answer(url: PackageURL, headers: Mapping[str, str]) -> Answer:
    if url.path.endswith("missing.conda"):
        return 404, {}, []
    if url.path.endswith("broken.conda"):
        return 200, {"Content-Length": str(len(BODY))}, [BODY[:5000], TransportError(f"{url} broke off")]
    if wanted := headers.get("range"):
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        return 206, {"Content-Range": f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"}, [BODY[start:]]
    return 200, {"Content-Length": str(len(BODY)), "ETag": '"1"'}, [BODY]


@pytest.fixture(params=["http", "memory"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Transport, str]]:
    if request.param == "memory":
        async with MemoryTransport(_answer) as twin:
            yield twin, "https://h.test"
        return
    for name in ("a.conda", "broken.conda"):
        (tmp_path / name).write_bytes(BODY)
    real = HTTPTransport(connections=4, connections_per_host=2, connect_timeout=30, read_timeout=30)
    async with FaultServer(tmp_path, faults=[Fault(Kind.DROP, "*broken*")]) as server, real as transport:
        yield transport, server.url


async def _get(transport: Transport, text: str, **headers: str) -> tuple[int, Mapping[str, str], bytes]:
    url, _ = PackageURL.parse(text)
    async with transport.get(url, headers=headers, credentials=None) as response:
        body = b""
        while piece := await response.read_any():
            body += piece
        return response.status, response.headers, body


async def test_a_body_is_read_to_its_end(served: tuple[Transport, str]) -> None:
    status, headers, body = await _get(served[0], served[1] + "/a.conda")
    assert (status, body) == (200, BODY)
    assert headers["content-length"] == headers["Content-Length"] == str(len(BODY))


async def test_a_range_is_answered_with_the_rest(served: tuple[Transport, str]) -> None:
    status, headers, body = await _get(served[0], served[1] + "/a.conda", Range="bytes=1000-")
    assert (status, body) == (206, BODY[1000:])
    assert headers["content-range"] == f"bytes 1000-{len(BODY) - 1}/{len(BODY)}"


async def test_a_refusal_is_an_answer_not_an_error(served: tuple[Transport, str]) -> None:
    assert (await _get(served[0], served[1] + "/missing.conda"))[0] == 404


async def test_a_connection_that_breaks_off_is_an_error_with_the_url(served: tuple[Transport, str]) -> None:
    with pytest.raises(TransportError, match=r"/broken\.conda"):
        await _get(served[0], served[1] + "/broken.conda")


@pytest.mark.parametrize("fault", [Kind.STALL_HEADERS, Kind.STALL_BODY])
async def test_a_server_that_stalls_is_given_up(tmp_path: Path, fault: Kind) -> None:
    (tmp_path / "a.conda").write_bytes(BODY)
    real = HTTPTransport(connections=4, connections_per_host=2, connect_timeout=30, read_timeout=0.2)
    async with FaultServer(tmp_path, faults=[Fault(fault, seconds=30)]) as server, real as transport:
        with pytest.raises(TransportError, match="stalled: no byte came"):
            await _get(transport, server.url + "/a.conda")


async def test_a_host_that_does_not_answer_is_named(tmp_path: Path) -> None:
    real = HTTPTransport(connections=4, connections_per_host=2, connect_timeout=30, read_timeout=30)
    async with real as transport:
        with pytest.raises(TransportError, match=r"http://127\.0\.0\.1:9/a\.conda cannot be read"):
            await _get(transport, "http://127.0.0.1:9/a.conda")
