from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import aiohttp
import pytest
import uvloop

from asynccache.runtime.clock import Clock, VirtualClock
from tests.support import fault_server
from tests.support.fault_server import FaultServer, server_process
from tests.support.faults import Fault, FaultPlan, Kind, parse_fault

LATENCY = 0.05  # seconds
CONTENT = hashlib.sha256(b"seed").digest() * 20_000  # 640,000 bytes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "noarch").mkdir()
    (tmp_path / "noarch" / "a-1-0.conda").write_bytes(CONTENT)
    (tmp_path / "small.txt").write_bytes(b"small")
    return tmp_path


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


async def fetch(
    session: aiohttp.ClientSession, server: FaultServer, path: str = "/noarch/a-1-0.conda", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    async with session.get(server.url + path, headers=headers, allow_redirects=False) as answer:
        names = {name.lower(): value for name, value in answer.headers.items()}
        return answer.status, names, await answer.read()


async def test_serves_files_counts_them_and_keeps_the_connection(root: Path, session: aiohttp.ClientSession) -> None:
    async with FaultServer(root) as server:
        status, headers, body = await fetch(session, server)
        assert (status, body) == (200, CONTENT)
        assert (await fetch(session, server, "/small.txt", **{"If-None-Match": "other"}))[2] == b"small"
        assert (await fetch(session, server, **{"If-None-Match": headers["etag"]}))[0] == 304
        assert (await fetch(session, server, "/absent"))[0] == 404
        assert (await fetch(session, server, "/../" + Path(__file__).name))[0] == 404
        assert server.hits["/noarch/a-1-0.conda"] == 2
        assert server.bytes_sent == len(CONTENT) + len(b"small") + 2 * len(b"No such file.\n")
        assert server.requests[0].headers["user-agent"]


async def test_answers_ranges_and_honours_if_range(root: Path, session: aiohttp.ClientSession) -> None:
    async with FaultServer(root) as server:
        status, headers, body = await fetch(session, server, Range="bytes=100000-400000")
        assert (status, body) == (206, CONTENT[100000:400001])
        assert headers["content-range"] == f"bytes 100000-400000/{len(CONTENT)}"
        assert (await fetch(session, server, Range="bytes=-10"))[2] == CONTENT[-10:]
        assert (await fetch(session, server, Range="bytes=639990-"))[2] == CONTENT[-10:]
        assert (await fetch(session, server, Range="bytes=640000-"))[0] == 416
        assert (await fetch(session, server, **{"Range": "bytes=5-", "If-Range": '"old"'}))[0] == 200
        assert (await fetch(session, server, **{"Range": "bytes=5-", "If-Range": headers["etag"]}))[0] == 206
    async with FaultServer(root, ranges=False) as server:
        assert (await fetch(session, server, Range="bytes=5-"))[0] == 200


async def test_head_gives_the_size_without_a_body(root: Path, session: aiohttp.ClientSession) -> None:
    async with FaultServer(root) as server, session.head(server.url + "/noarch/a-1-0.conda") as answer:
        assert (answer.status, answer.content_length) == (200, len(CONTENT))
        assert server.bytes_sent == 0


@pytest.mark.parametrize("kind", [Kind.DROP, Kind.RESET])
async def test_a_dropped_body_ends_early_and_the_next_request_succeeds(
    root: Path, session: aiohttp.ClientSession, kind: Kind
) -> None:
    async with FaultServer(root, faults=[Fault(kind, "*.conda", times=1)]) as server:
        with pytest.raises(aiohttp.ClientError):
            await fetch(session, server)
        assert (await fetch(session, server))[2] == CONTENT
        assert [record.fault for record in server.requests] == [kind, None]


async def test_a_short_body_agrees_with_its_length(root: Path, session: aiohttp.ClientSession) -> None:
    async with FaultServer(root, faults=[Fault(Kind.SHORT, after=0.25)]) as server:
        status, headers, body = await fetch(session, server)
        assert (status, body) == (200, CONTENT[:160_000])
        assert headers["content-length"] == "160000"


async def test_a_flipped_body_has_one_wrong_byte(root: Path, session: aiohttp.ClientSession) -> None:
    async with FaultServer(root, faults=[Fault(Kind.FLIP, after=0.9)]) as server:
        body = (await fetch(session, server))[2]
        assert [i for i, (a, b) in enumerate(zip(body, CONTENT, strict=True)) if a != b] == [576_000]


async def test_a_page_comes_with_status_200(root: Path, session: aiohttp.ClientSession) -> None:
    async with FaultServer(root, faults=[Fault(Kind.HTML)]) as server:
        status, headers, body = await fetch(session, server)
        assert (status, body[:15]) == (200, b"<!DOCTYPE html>")
        assert "text/html" in headers["content-type"]


async def test_error_statuses_carry_the_retry_after_they_were_given(root: Path, session: aiohttp.ClientSession) -> None:
    moment = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=7)
    faults = [
        Fault(Kind.STATUS, times=1, status=429, retry_after=2),
        Fault(Kind.STATUS, times=1, retry_after=moment),
        Fault(Kind.STATUS, times=1),
    ]
    async with FaultServer(root, faults=faults) as server:
        answers = [await fetch(session, server) for _ in range(4)]
        assert [status for status, _, _ in answers] == [429, 503, 503, 200]
        after = [headers.get("retry-after") for _, headers, _ in answers]
        assert after[0] == "2"
        assert parsedate_to_datetime(str(after[1])) == moment
        assert after[2:] == [None, None]


@pytest.mark.parametrize("kind", [Kind.STALL_HEADERS, Kind.STALL_BODY])
async def test_a_stall_pauses_and_then_goes_on(root: Path, session: aiohttp.ClientSession, kind: Kind) -> None:
    clock = VirtualClock()
    async with FaultServer(root, faults=[Fault(kind, seconds=0.3)], clock=clock) as server:
        assert (await fetch(session, server))[2] == CONTENT
    assert clock.slept == [0.3]


async def test_closing_does_not_wait_for_a_stall(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_server, "_STOP_SECONDS", 3600)
    async with FaultServer(root, faults=[Fault(Kind.STALL_BODY)]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(b"GET /small.txt HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def test_range_answers_can_lie_or_be_ignored(root: Path, session: aiohttp.ClientSession) -> None:
    faults = [Fault(Kind.WRONG_RANGE, times=1), Fault(Kind.IGNORE_RANGE, times=1)]
    async with FaultServer(root, faults=faults) as server:
        status, headers, body = await fetch(session, server, Range="bytes=1000-1999")
        assert (status, body) == (206, CONTENT[1000:2000])
        assert headers["content-range"] == "bytes 999-1998/640000"
        assert (await fetch(session, server, Range="bytes=1000-1999"))[::2] == (200, CONTENT)


async def test_a_changed_file_has_another_tag_and_other_bytes(root: Path, session: aiohttp.ClientSession) -> None:
    async with FaultServer(root, faults=[Fault(Kind.CHANGE, times=1, skip=1)]) as server:
        first = await fetch(session, server)
        resumed = {"Range": "bytes=1000-", "If-Range": first[1]["etag"]}
        status, headers, body = await fetch(session, server, **resumed)
        assert (status, len(body)) == (200, len(CONTENT))
        assert body != CONTENT
        assert headers["etag"] != first[1]["etag"]
        assert (await fetch(session, server))[2] == body


async def test_credentials_are_required_and_seen_and_do_not_follow_a_redirect(
    root: Path, session: aiohttp.ClientSession
) -> None:
    async with FaultServer(root) as other:
        redirect = Fault(Kind.REDIRECT, "/moved/*", location=other.url + "/small.txt")
        async with FaultServer(root, credentials=("me", "secret"), faults=[redirect]) as server:
            assert (await fetch(session, server, "/small.txt"))[0] == 401
            authorization = {"Authorization": "Basic bWU6c2VjcmV0"}  # me:secret
            async with session.get(server.url + "/small.txt", headers=authorization) as answer:
                assert await answer.read() == b"small"
            async with session.get(server.url + "/moved/x", headers=authorization) as answer:
                assert await answer.read() == b"small"
            assert "authorization" in server.requests[-1].headers
            assert "authorization" not in other.requests[-1].headers


class StandingClock(Clock):
    """Time stands still, so a wait says how much was to be sent before; who waits for an answer waits for all four."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.answers = asyncio.Barrier(4)

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        if seconds == LATENCY:
            await self.answers.wait()
        else:
            self.waits.append(seconds)
            await asyncio.sleep(0)


async def test_bandwidth_is_shared_by_all_connections(root: Path, session: aiohttp.ClientSession) -> None:
    clock = StandingClock()
    async with FaultServer(root, bandwidth=4e6, latency=LATENCY, clock=clock) as server:
        await asyncio.gather(*(fetch(session, server) for _ in range(4)))
        assert max(clock.waits) == pytest.approx(4 * len(CONTENT) / 4e6)
        assert server.peak_in_flight == 4


async def test_connection_bandwidth_is_not_shared(root: Path, session: aiohttp.ClientSession) -> None:
    clock = StandingClock()
    async with FaultServer(root, connection_bandwidth=2e6, latency=LATENCY, clock=clock) as server:
        await asyncio.gather(*(fetch(session, server) for _ in range(4)))
        assert max(clock.waits) == pytest.approx(len(CONTENT) / 2e6)


def test_it_serves_on_any_event_loop(root: Path) -> None:
    async def read() -> bytes:
        async with FaultServer(root) as server, aiohttp.ClientSession() as session:
            body = (await fetch(session, server))[2]
            assert server.bytes_sent == len(body)
            return body

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(read()) == CONTENT
    assert asyncio.run(read()) == CONTENT


async def test_the_process_form_serves_counts_and_breaks(root: Path, session: aiohttp.ClientSession) -> None:
    fault = "status,path=/noarch/*,status=429,times=1,retry_after=1"
    async with server_process(root, "--fault", fault, "--ttl", "60") as url:
        async with session.get(url + "/noarch/a-1-0.conda") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        async with session.get(url + "/noarch/a-1-0.conda") as answer:
            assert await answer.read() == CONTENT
        async with session.get(url + "/__reset__") as answer:
            counters = await answer.json()
        assert counters["statuses"] == {"429": 1, "200": 1}
        assert counters["faults"] == {"status": 1}
        async with session.get(url + "/__stats__") as answer:
            assert (await answer.json())["requests"] == 0


def test_a_rate_is_decided_by_the_seed() -> None:
    def run(seed: int) -> list[bool]:
        plan = FaultPlan((Fault(Kind.DROP, rate=0.3),), seed)
        return [plan.choose("GET", f"/{i}") is not None for i in range(1000)]

    assert run(1) == run(1) != run(2)
    assert 230 < sum(run(1)) < 370


def test_a_fault_applies_to_its_paths_and_methods_only() -> None:
    plan = FaultPlan((Fault(Kind.HTML, "/a/*", method="GET"),), 0)
    assert plan.choose("GET", "/b/x") is None
    assert plan.choose("HEAD", "/a/x") is None
    assert plan.choose("GET", "/a/b/x") is not None


def test_an_unknown_fault_on_the_command_line_is_refused() -> None:
    assert parse_fault("drop,after=0.1") == Fault(Kind.DROP, after=0.1)
    with pytest.raises(ValueError, match="no field 'color'"):
        parse_fault("drop,color=red")
    with pytest.raises(ValueError, match="explode"):
        parse_fault("explode")
