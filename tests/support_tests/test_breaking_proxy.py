"""The proxy passes answers on to the byte, and breaks the chosen ones as it says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support import breaking_proxy
from tests.support.breaking_proxy import Break, BreakingProxy
from tests.support.fault_server import FaultServer

BODY = bytes(range(256)) * 40
PATH = "/a/x.conda"
RANGED = {Break.FLIP_IN_RANGE, Break.WHOLE_FOR_RANGE, Break.WRONG_RANGE}


@pytest.fixture
async def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BreakingProxy]:
    monkeypatch.setattr(breaking_proxy, "_STALL_SECONDS", 0.3)
    (tmp_path / "a").mkdir()
    for name in ("x.conda", "y.conda"):
        (tmp_path / "a" / name).write_bytes(BODY if name == "x.conda" else BODY[::-1])
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(FaultServer(tmp_path))
        yield await stack.enter_async_context(BreakingProxy(urlsplit(server.url).port or 0))


async def ask(proxy: BreakingProxy, *, method: str = "GET", more: str = "", path: str = PATH) -> bytes | None:
    """Return all that comes on a new connection, None where it breaks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(proxy.url).port)
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n".encode())
        got = b""
        with suppress(TimeoutError):
            while block := await asyncio.wait_for(reader.read(1 << 16), 1.0):
                got += block
    except ConnectionError:
        return None
    else:
        return got
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_what_is_not_broken_passes_as_it_is(proxy: BreakingProxy) -> None:
    got = await ask(proxy)
    assert got is not None
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert b"Content-Length: 10240" in head
    assert body == BODY
    ranged = await ask(proxy, more="Range: bytes=100-199\r\n") or b""
    assert ranged.startswith(b"HTTP/1.1 206")
    assert ranged.endswith(BODY[100:200])
    assert (await ask(proxy, method="HEAD") or b"").endswith(b"\r\n\r\n")
    assert [each.status for each in proxy.seen] == [200, 206, 200]
    assert proxy.broken == 0


@pytest.mark.parametrize("kind", list(Break))
async def test_each_way_breaks_the_chosen_answer_and_no_other(proxy: BreakingProxy, kind: Break) -> None:
    method = "HEAD" if kind is Break.BARE_503 else "GET"
    more = "Range: bytes=100-199\r\n" if kind in RANGED else ""
    right = await ask(proxy, method=method, more=more)
    await ask(proxy, path="/a/y.conda")
    proxy.arm(kind, skip=1, times=1, seed=4321)
    answers = []
    for _ in range(3):
        answers.append(await ask(proxy, method=method, more=more))
        await asyncio.sleep(0.6 if kind is Break.REFUSED else 0)  # until it listens again
    assert answers[0] == answers[2] == right
    assert proxy.broken == 1
    assert (answers[1] == right) == (kind is Break.DRIP)


async def test_a_download_is_broken_off_so_that_it_asks_for_a_range(proxy: BreakingProxy) -> None:
    proxy.arm(Break.FLIP_IN_RANGE, seed=5)
    broken = await ask(proxy) or b""
    assert b"Content-Length: 10240" in broken
    assert len(broken) < 6000
    assert proxy.broken == 0
    flipped = await ask(proxy, more="Range: bytes=5120-\r\n") or b""
    assert not flipped.endswith(BODY[5120:])
    assert proxy.broken == 1
