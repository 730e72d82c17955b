"""A proxy that stands before an HTTP server on 127.0.0.1 and breaks chosen answers, in 28 ways, byte by byte.

    proxy = BreakingProxy(upstream_port)
    with in_background(proxy):
        proxy.arm(Break.RESET_IN_BODY, skip=2, times=1)     # the third answer that can break so
        ...  # proxy.url, proxy.seen, proxy.broken

Every request is passed on over a connection of its own, and its answer is read whole before any of it is sent, so what
breaks is known to the byte. Host headers pass as they are: signatures of S3 stay right.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import TracebackType
from typing import Final, Self

_PAGE: Final = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
_SLOW_DOWN: Final = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
)
_REFUSED_SECONDS: Final = 0.3
_STALL_SECONDS: Final = 20.0
_DRIP_PIECES: Final = 20
_DRIP_SECONDS: Final = 0.03
_UPSTREAM_SECONDS: Final = 30.0
_DIGESTED: Final = (".conda", ".tar.bz2", ".whl", "asynccache-pack-v1")  # objects whose bytes have a known digest


class Break(StrEnum):
    """How an answer breaks; the values are the rows of the table in docs/faults.md."""

    REFUSED = "connection refused for 0.3 s"
    RESET_BEFORE_HEADERS = "reset before the headers"
    RESET_IN_BODY = "reset in the middle of the body"
    CUT_WITH_LENGTH = "body cut, right Content-Length"
    CUT_WITHOUT_LENGTH = "body cut, no Content-Length"
    FLIP = "flipped bit in the body"
    FLIP_IN_RANGE = "flipped bit in the answer to a range request"
    WRONG_LENGTH = "wrong Content-Length: half of the body, or more than there is"
    EMPTY = "empty body with 200"
    PAGE = "HTML page with 200"
    REDIRECT = "301 to itself, or 302 to a host that is not there"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    TOO_MANY = "429 with Retry-After"
    ERROR = "500"
    SLOW_DOWN = "503 SlowDown with a body"
    BARE_503 = "503 to HEAD, without a body"
    STALL_HEADERS = "headers stall"
    STALL_BODY = "body stalls"
    DRIP = "body drips slowly"
    SWAPPED = "body of another object"
    TWICE = "answer sent twice"
    GARBAGE = "garbage before the headers"
    STALE = "412, or another ETag"
    WHOLE_FOR_RANGE = "200 and the whole body for a range"
    WRONG_RANGE = "206 with a wrong Content-Range"
    GZIP = "Content-Encoding gzip that is none"
    CHUNKED = "broken chunked encoding"


@dataclass(slots=True)
class Exchange:
    """A request and its answer.

    Attributes:
        method: Of the request.
        target: Path and query.
        request_headers: Names in lower case.
        status: Of the answer.
        headers: As they came, without framing.
        body: Whole.
    """

    method: str
    target: str
    request_headers: dict[str, str]
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def has_body(self) -> bool:
        """Whether the answer sends bytes."""
        return self.method != "HEAD" and bool(self.body)

    @property
    def digested(self) -> bool:
        """Whether it serves bytes that have a known digest."""
        return (
            self.method == "GET"
            and self.has_body
            and self.status in {200, 206}
            and self.target.partition("?")[0].endswith(_DIGESTED)
            and not self._header("content-type").startswith("application/json")  # what Google says of an object
        )

    def _header(self, name: str) -> str:
        return next((value for each, value in self.headers if each.lower() == name), "")

    @property
    def ranged(self) -> bool:
        """Whether it answers a range request."""
        return self.status == 206


def _any(_: Exchange) -> bool:
    return True


def _with_body(exchange: Exchange) -> bool:
    return exchange.has_body and exchange.status in {200, 206}


def _digested(exchange: Exchange) -> bool:
    return exchange.digested


def _head(exchange: Exchange) -> bool:
    return exchange.method == "HEAD"


def _conditional(exchange: Exchange) -> bool:
    asked = {"if-none-match", "if-match"} & set(exchange.request_headers) or "ifGenerationMatch=" in exchange.target
    return exchange.digested or bool(asked)


# What can be distinguished from right bytes only by a digest is broken where there is one: in a listing it would go
# unnoticed.
SUITABLE: Final[dict[Break, Callable[[Exchange], bool]]] = {
    **dict.fromkeys(Break, _any),
    **dict.fromkeys(
        (Break.RESET_IN_BODY, Break.CUT_WITH_LENGTH, Break.CUT_WITHOUT_LENGTH, Break.STALL_BODY, Break.DRIP,
         Break.CHUNKED, Break.GZIP, Break.EMPTY), _with_body,
    ),
    **dict.fromkeys(
        (Break.FLIP, Break.FLIP_IN_RANGE, Break.WRONG_LENGTH, Break.SWAPPED, Break.TWICE, Break.WHOLE_FOR_RANGE,
         Break.WRONG_RANGE), _digested,
    ),
    Break.BARE_503: _head,
    Break.STALE: _conditional,
}  # fmt: skip
_BEFORE: Final = frozenset({Break.REFUSED, Break.FORBIDDEN, Break.NOT_FOUND})
_OF_RANGES: Final = frozenset({Break.FLIP_IN_RANGE, Break.WHOLE_FOR_RANGE, Break.WRONG_RANGE})


class BreakingProxy:
    """Passes requests on to 127.0.0.1, and breaks the answers it is configured to break.

    Args:
        upstream: Port of the server.

    Attributes:
        seed: Decides where in a body a bit is flipped, and which of two ways an answer breaks.
        seen: All exchanges since the last `arm`, as they were before they were broken.
        broken: How many answers were broken since then.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self.arm(None)

    def arm(self, kind: Break | None, *, skip: int = 0, times: int = 1, seed: int = 0) -> None:
        """Break `times` answers after the first `skip` of those that can break so; None breaks nothing."""
        self._kind, self._skip, self._left, self.seed = kind, skip, times if kind else 0, seed
        self.seen: list[Exchange] = []
        self.broken = 0
        self._cut: set[str] = set()
        self._wholes: dict[str, bytes] = {}

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            # what was accepted just now becomes a connection first: a server that closes leaves its socket open
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            await asyncio.sleep(0.01)
            self._server.close()
        for writer in list(self._writers):
            _reset(writer)
        await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._one(reader, writer):
                if writer.is_closing():
                    break
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, which is its right
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer a request; return whether the connection goes on."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        first, headers = _parsed(head)
        method, target, _ = first.split(" ", 2)
        lowered = {name.lower(): value for name, value in headers}
        if "expect" in lowered:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        sent = await _body(reader, lowered, head=False)
        exchange = Exchange(method, target, lowered)
        # asked before the server: what is refused here never reaches it
        before = self._kind in _BEFORE
        if before and self._chosen(exchange):
            self.seen.append(exchange)
            return await self._break_before(exchange, writer) and lowered.get("connection") != "close"
        passed = [(n, v) for n, v in headers if n.lower() not in {"expect", "connection", "transfer-encoding"}]
        await self._ask(exchange, passed, sent)
        self.seen.append(exchange)
        if exchange.digested and exchange.status == 200:
            self._wholes[exchange.target] = exchange.body
        if not before and self._chosen(exchange):
            going_on = await self._break(replace(exchange, headers=list(exchange.headers)), writer)
            return going_on and lowered.get("connection") != "close"
        return await _send(exchange, writer) and lowered.get("connection") != "close"

    async def _ask(self, exchange: Exchange, headers: list[tuple[str, str]], sent: bytes) -> None:
        async with asyncio.timeout(_UPSTREAM_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
            try:
                lines = [f"{exchange.method} {exchange.target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers)]
                writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + sent)
                await writer.drain()
                first, answered = _parsed(await reader.readuntil(b"\r\n\r\n"))
                while first.split(" ")[1] == "100":
                    first, answered = _parsed(await reader.readuntil(b"\r\n\r\n"))
                _, status, *reason = first.split(" ", 2)
                lowered = {name.lower(): value for name, value in answered}
                exchange.status, exchange.reason = int(status), "".join(reason)
                bare = exchange.method == "HEAD" or exchange.status in {204, 304}
                exchange.body = await _body(reader, lowered, head=bare, to_end=True)
                framing = {"connection", "transfer-encoding", "keep-alive"} | (set() if bare else {"content-length"})
                exchange.headers = [(n, v) for n, v in answered if n.lower() not in framing]
            finally:
                writer.close()

    def _chosen(self, exchange: Exchange) -> bool:
        if self._kind is None or self._left == 0 or not SUITABLE[self._kind](exchange):
            return False
        if self._kind in _OF_RANGES and not exchange.ranged and exchange.target in self._cut:
            return False  # the client began again instead of going on
        if self._skip:
            self._skip -= 1
            return False
        if self._kind not in _OF_RANGES or exchange.ranged or exchange.target in self._cut:
            self._left -= 1
        return True

    async def _break_before(self, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
        self.broken += 1
        if self._kind is Break.REFUSED:
            await self._close()
            await asyncio.sleep(_REFUSED_SECONDS)
            await self._listen()
            return False
        status, reason = (403, "Forbidden") if self._kind is Break.FORBIDDEN else (404, "Not Found")
        return await _send(replace(exchange, status=status, reason=reason, headers=[], body=b"Not here.\n"), writer)

    async def _break(self, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
        if self._kind in _OF_RANGES and not exchange.ranged:
            # a client asks for a range when it goes on with what broke off
            self._cut.add(exchange.target)
            return await _cut(exchange, writer, length=len(exchange.body))
        self.broken += 1
        assert self._kind is not None
        return await _WAYS[self._kind](self, exchange, writer)

    def another(self, exchange: Exchange) -> bytes:
        """Return the body of another object, or at least other bytes."""
        others = (body for target, body in self._wholes.items() if target != exchange.target)
        return next(others, exchange.body[::-1])

    def whole(self, exchange: Exchange) -> bytes:
        """Return the object that a range is of, as far as it passed here; the rest is zeros."""
        start, total = _range_of(exchange)
        around = self._wholes.get(exchange.target) or bytes(total)
        return around[:start] + exchange.body + around[start + len(exchange.body) :]


def _parsed(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    return first, [(n.strip(), v.strip()) for n, _, v in (line.partition(":") for line in lines)]


async def _body(reader: asyncio.StreamReader, headers: dict[str, str], *, head: bool, to_end: bool = False) -> bytes:
    if head:
        return b""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return b"".join(parts)
    if "content-length" in headers:
        return await reader.readexactly(int(headers["content-length"]))
    return await reader.read() if to_end else b""


def _head_of(exchange: Exchange, *more: tuple[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {exchange.status} {exchange.reason}"]
    lines += [f"{name}: {value}" for name, value in [*exchange.headers, *more]]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _whole(exchange: Exchange) -> bytes:
    bare = exchange.method == "HEAD" or exchange.status in {204, 304}
    length = () if bare else (("Content-Length", str(len(exchange.body))),)
    return _head_of(exchange, *length) + (b"" if bare else exchange.body)


async def _send(exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    writer.write(_whole(exchange))
    await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _flushed(writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    await asyncio.sleep(0.02)


async def _cut(exchange: Exchange, writer: asyncio.StreamWriter, *, length: int | None, reset: bool = False) -> bool:
    """Send half of the body, then end the connection."""
    framing = (("Connection", "close"),) if length is None else (("Content-Length", str(length)),)
    writer.write(_head_of(exchange, *framing) + exchange.body[: len(exchange.body) // 2])
    await _flushed(writer)
    if reset:
        _reset(writer)
    return False


async def _reset_before(_: BreakingProxy, _exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    _reset(writer)
    return False


async def _reset_in_body(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    return await _cut(exchange, writer, length=len(exchange.body), reset=True)


async def _cut_with_length(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    return await _cut(exchange, writer, length=len(exchange.body))


async def _cut_without_length(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    return await _cut(exchange, writer, length=None)


async def _flip(proxy: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    body = bytearray(exchange.body)
    body[proxy.seed % len(body)] ^= 1 << proxy.seed % 8
    return await _send(replace(exchange, body=bytes(body)), writer)


async def _wrong_length(proxy: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    if proxy.seed % 2:
        return await _send(replace(exchange, body=exchange.body[: len(exchange.body) // 2]), writer)
    writer.write(_head_of(exchange, ("Content-Length", str(len(exchange.body) + 100))) + exchange.body)
    await _flushed(writer)
    return False


_Way = Callable[[BreakingProxy, Exchange, asyncio.StreamWriter], Awaitable[bool]]


def _answering(status: int, reason: str, body: bytes = b"", *headers: tuple[str, str]) -> _Way:
    async def answer(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
        return await _send(replace(exchange, status=status, reason=reason, body=body, headers=list(headers)), writer)

    return answer


async def _redirect(proxy: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    status, target = (301, proxy.url + exchange.target) if proxy.seed % 2 else (302, "http://127.0.0.1:1/nothing")
    moved = replace(exchange, status=status, reason="Moved", body=b"", headers=[("Location", target)])
    return await _send(moved, writer)


async def _stall_headers(_: BreakingProxy, _exchange: Exchange, _writer: asyncio.StreamWriter) -> bool:
    await asyncio.sleep(_STALL_SECONDS)
    return False


async def _stall_body(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    head = _head_of(exchange, ("Content-Length", str(len(exchange.body))))
    writer.write(head + exchange.body[: len(exchange.body) // 2])
    await writer.drain()
    await asyncio.sleep(_STALL_SECONDS)
    return False


async def _drip(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    writer.write(_head_of(exchange, ("Content-Length", str(len(exchange.body)))))
    step = -(-len(exchange.body) // _DRIP_PIECES)
    for start in range(0, len(exchange.body), step):
        writer.write(exchange.body[start : start + step])
        await writer.drain()
        await asyncio.sleep(_DRIP_SECONDS)
    return True


async def _swapped(proxy: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    return await _send(replace(exchange, body=proxy.another(exchange)), writer)


async def _twice(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    writer.write(_whole(exchange))
    return await _send(exchange, writer)


async def _garbage(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"\x15\x03\x01 this is no HTTP\r\n\r\n")
    return await _send(exchange, writer)


async def _stale(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    if exchange.method == "GET":
        versions = {"etag": '"0123456789abcdef"', "x-goog-generation": "1"}
        headers = [(n, versions.get(n.lower(), v)) for n, v in exchange.headers]
        return await _send(replace(exchange, headers=headers), writer)
    body = b"<Error><Code>PreconditionFailed</Code></Error>"
    return await _send(replace(exchange, status=412, reason="Precondition Failed", body=body, headers=[]), writer)


async def _whole_for_range(proxy: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    headers = [(n, v) for n, v in exchange.headers if n.lower() != "content-range"]
    return await _send(replace(exchange, status=200, reason="OK", headers=headers, body=proxy.whole(exchange)), writer)


async def _wrong_range(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    start, total = _range_of(exchange)
    wrong = max(0, start - 1) if start else 1
    text = f"bytes {wrong}-{wrong + len(exchange.body) - 1}/{total}"
    headers = [(n, text if n.lower() == "content-range" else v) for n, v in exchange.headers]
    return await _send(replace(exchange, headers=headers), writer)


def _range_of(exchange: Exchange) -> tuple[int, int]:
    """Return where the bytes of an answer start, and how many the object has."""
    said = next((v for n, v in exchange.headers if n.lower() == "content-range"), f"bytes 0-0/{len(exchange.body)}")
    stretch, _, total = said.removeprefix("bytes ").partition("/")
    return int(stretch.partition("-")[0]), int(total)


async def _gzip(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    said = [*exchange.headers, ("Content-Encoding", "gzip")]
    return await _send(replace(exchange, headers=said), writer)


async def _chunked(_: BreakingProxy, exchange: Exchange, writer: asyncio.StreamWriter) -> bool:
    half = exchange.body[: len(exchange.body) // 2]
    writer.write(_head_of(exchange, ("Transfer-Encoding", "chunked")) + b"%x\r\n" % len(half) + half + b"\r\nzz\r\n")
    await _flushed(writer)
    return False


_WAYS: Final[dict[Break, _Way]] = {
    Break.RESET_BEFORE_HEADERS: _reset_before,
    Break.RESET_IN_BODY: _reset_in_body,
    Break.CUT_WITH_LENGTH: _cut_with_length,
    Break.CUT_WITHOUT_LENGTH: _cut_without_length,
    Break.FLIP: _flip,
    Break.FLIP_IN_RANGE: _flip,
    Break.WRONG_LENGTH: _wrong_length,
    Break.EMPTY: _answering(200, "OK"),
    Break.PAGE: _answering(200, "OK", _PAGE, ("Content-Type", "text/html; charset=utf-8")),
    Break.REDIRECT: _redirect,
    Break.TOO_MANY: _answering(429, "Too Many Requests", b"Not now.\n", ("Retry-After", "1")),
    Break.ERROR: _answering(500, "Internal Server Error", b"oops\n"),
    Break.SLOW_DOWN: _answering(503, "Slow Down", _SLOW_DOWN, ("Content-Type", "application/xml")),
    Break.BARE_503: _answering(503, "Service Unavailable"),
    Break.STALL_HEADERS: _stall_headers,
    Break.STALL_BODY: _stall_body,
    Break.DRIP: _drip,
    Break.SWAPPED: _swapped,
    Break.TWICE: _twice,
    Break.GARBAGE: _garbage,
    Break.STALE: _stale,
    Break.WHOLE_FOR_RANGE: _whole_for_range,
    Break.WRONG_RANGE: _wrong_range,
    Break.GZIP: _gzip,
    Break.CHUNKED: _chunked,
}
