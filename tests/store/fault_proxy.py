"""A proxy before a server of objects that breaks requests on demand; signatures pass, since the Host header does."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web
from yarl import URL


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer without asking the server.

    Attributes:
        status: HTTP status.
        code: The service's own name for the reason, in the body.
        retry_after: Seconds for the header of that name; None for none.
    """

    status: int
    code: str
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Answer as something else than the service does, such as a proxy that wants a login.

    Attributes:
        text: What it sends.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Repeat:
    """Give the answer to the request before once more, as where an answer was sent twice; the server hears nothing."""


@dataclass(frozen=True, slots=True)
class Lose:
    """Let the server do it, then break the connection instead of answering."""


@dataclass(frozen=True, slots=True)
class Reset:
    """Break the connection before the server hears of it."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection in the middle of the answer.

    Attributes:
        share: Part of the body that arrives.
    """

    share: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Never answer."""


@dataclass(frozen=True, slots=True)
class Do:
    """Run a function first, then pass the request on.

    Attributes:
        action: What to run.
    """

    action: Callable[[], Awaitable[object] | None]


Fault = Refuse | Page | Repeat | Lose | Reset | Cut | Stall | Do
Script = Callable[[web.BaseRequest], Fault | None]


def in_xml(code: str) -> str:
    """Return the body of a refusal by S3 or Azure."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>AKIDSECRET</Message></Error>"


class FaultProxy:
    """Passes requests on to a server, but for those that the script breaks.

    Args:
        upstream: Address of the server.
        script: Called with each request; None passes it on.
        worded: Returns the body of a refusal that has a code.
    """

    def __init__(
        self, upstream: str, script: Script = lambda _request: None, worded: Callable[[str], str] = in_xml
    ) -> None:
        self._upstream = upstream
        self._worded = worded
        self.script = script
        self.seen: list[str] = []
        """Method and last part of the path of every request, with the names of its query's parameters."""
        self._last: tuple[dict[str, str], bytes] = ({}, b"")
        self.broken = 0
        """How many requests the script broke."""
        self._under_way = 0
        self.most_under_way = 0
        """Largest number of requests that were not answered yet."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=["User-Agent", "Content-Type"])
        self._runner = web.ServerRunner(web.Server(self._handle), handle_signals=False, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await self._site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        return self

    async def go_away(self, seconds: float) -> None:
        """Break all connections and refuse new ones for a while, as a server that is started again."""
        await self._site.stop()
        for connection in self._runner.server.connections if self._runner.server is not None else ():
            connection.force_close()
            if connection.transport is not None:
                connection.transport.abort()
        await asyncio.sleep(seconds)
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._session.close()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        try:
            return await self._answer(request)
        finally:
            self._under_way -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.seen.append(
            f"{request.method} {request.path.rsplit('/', 1)[-1]} {','.join(sorted(request.query))}".strip()
        )
        fault = self.script(request)
        self.broken += fault is not None
        if "Expect" in request.headers and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = await request.content.read()  # request.read() takes 1 MiB at most
        match fault:
            case Refuse(status, code, retry_after):
                headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
                text = self._worded(code) if request.method != "HEAD" else None
                return web.Response(status=status, headers=headers, text=text, content_type="application/xml")
            case Page(text):
                return web.Response(text=text, content_type="text/html")
            case Repeat():
                headers, content = self._last
                return web.Response(headers=headers, body=content)
            case Stall():
                await asyncio.sleep(3600)
            case Reset():
                return _broken(request)
            case Do(action):
                if (going_on := action()) is not None:
                    await going_on
        async with self._session.request(
            request.method,
            URL(self._upstream + request.raw_path, encoded=True),
            headers={k: v for k, v in request.headers.items() if k != "Expect"},
            data=io.BytesIO(body) if body else None,
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
            if isinstance(fault, Lose):
                return _broken(request)
            headers = {k: v for k, v in answer.headers.items() if k not in {"Transfer-Encoding", "Connection"}}
            headers.setdefault("Content-Length", str(len(content)))
            self._last = headers, content
            response = web.StreamResponse(status=answer.status, headers=headers)
            with suppress(ConnectionError):
                await response.prepare(request)
                if isinstance(fault, Cut):
                    await response.write(content[: int(len(content) * fault.share)])
                    await asyncio.sleep(0.01)
                    return _broken(request, response)
                if request.method != "HEAD":
                    await response.write(content)
                await response.write_eof()
            return response


def _broken(request: web.BaseRequest, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response if response is not None else web.Response()


def times(
    count: int, fault: Fault, *, method: str | None = None, when: Callable[[web.BaseRequest], bool] = lambda _: True
) -> Script:
    """Return a script that breaks the first `count` requests.

    Args:
        count: How many.
        fault: How.
        method: Only requests with this HTTP method.
        when: Only requests of which this is true.
    """
    left = count

    def script(request: web.BaseRequest) -> Fault | None:
        nonlocal left
        if left <= 0 or (method and request.method != method) or not when(request):
            return None
        left -= 1
        return fault

    return script
