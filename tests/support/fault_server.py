"""A file server on 127.0.0.1 that measures, slows down and breaks what it serves.

It speaks enough HTTP/1.1 for package clients: GET and HEAD, keep-alive, ETag with If-None-Match, single ranges with
If-Range, basic authentication. Every request is recorded, headers included, so that a test can tell what was sent.

    async with FaultServer(channel.root, faults=[Fault(Kind.DROP, "*.conda", times=1)]) as server:
        ...  # server.url, server.requests, server.bytes_sent

    python -m tests.support.fault_server ROOT --latency 0.02     # prints its URL; ends by itself after --ttl seconds

The process form answers two more paths: `/__stats__` with the counters as JSON, `/__reset__` clears them.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import re
import socket
import struct
import sys
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from asynccache.runtime.clock import Clock
from tests.support.faults import Fault, FaultPlan, Kind, parse_fault
from tests.support.http_messages import RequestRecord, read_request, response_head

_CHUNK_BYTES: Final = 64 << 10
_PAGE: Final = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"
_START_SECONDS: Final = 30
_STOP_SECONDS: Final = 10
_TURNS: Final = 5  # of the event loop: more than it takes to accept a connection, or to close one


class Throttle:
    """Serves bytes at a rate, which all connections that share it share.

    Args:
        bytes_per_second: The rate; None for no limit.
    """

    def __init__(self, bytes_per_second: float | None, clock: Clock) -> None:
        self._rate = bytes_per_second
        self._clock = clock
        self._free_at = 0.0

    async def take(self, size: int) -> None:
        """Wait until `size` bytes may be sent."""
        if self._rate is None:
            return
        now = self._clock.now()
        self._free_at = max(now, self._free_at) + size / self._rate
        await self._clock.sleep(self._free_at - now)


@dataclass(slots=True)
class _Answer:
    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Path = b""
    start: int = 0
    size: int = 0


class FaultServer:
    """Serve a directory on a free port of 127.0.0.1 while the context is open.

    Args:
        root: What is served. Nothing outside of it is.
        faults: What goes wrong.
        latency: Seconds before each answer.
        bandwidth: Bytes per second for all connections together.
        connection_bandwidth: Bytes per second for each connection.
        credentials: User name and password that every request must carry.
        ranges: Whether range requests are honoured.
        etags: Whether answers carry an ETag.
        seed: Of the faults that have a rate.
        port: 0 for any free one.
        clock: On which it waits.
    """

    def __init__(
        self,
        root: Path,
        *,
        faults: Iterable[Fault] = (),
        latency: float = 0.0,
        bandwidth: float | None = None,
        connection_bandwidth: float | None = None,
        credentials: tuple[str, str] | None = None,
        ranges: bool = True,
        etags: bool = True,
        seed: int = 0,
        port: int = 0,
        clock: Clock | None = None,
    ) -> None:
        self.root = root.resolve()
        self.latency = latency
        self.requests: list[RequestRecord] = []
        self.peak_in_flight = 0
        self._plan = FaultPlan(tuple(faults), seed)
        self._clock = clock or Clock()
        self._throttle = Throttle(bandwidth, self._clock)
        self._limited = bandwidth is not None or connection_bandwidth is not None
        self._connection_bandwidth = connection_bandwidth
        self._credentials = credentials
        self._ranges = ranges
        self._etags = etags
        self._port = port
        self._seed = seed
        self._in_flight = 0
        self._revisions: Counter[str] = Counter()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self._closing = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        if self._server is not None:
            # A server that closes fails what it accepted just now, and leaves its socket open: accept no more, let
            # what was accepted become a connection, then close.
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening.fileno())
            await _turn()
            self._server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        if connections:
            await asyncio.wait(connections, timeout=_STOP_SECONDS)
        for writer in list(self._writers):
            writer.transport.abort()
        await _turn()  # transports close their sockets a turn after `close`

    @property
    def url(self) -> str:
        """Where the root is served, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def bytes_sent(self) -> int:
        """Bytes of bodies since the start or the last reset."""
        return sum(record.bytes_sent for record in self.requests)

    @property
    def hits(self) -> Counter[str]:
        """Number of requests by path."""
        return Counter(record.path for record in self.requests)

    def plan(self, *faults: Fault) -> None:
        """Replace what goes wrong from now on."""
        self._plan = FaultPlan(faults, self._seed)

    def reset(self) -> None:
        """Forget the requests so far."""
        self.requests.clear()
        self.peak_in_flight = 0

    def statistics(self) -> dict[str, Any]:
        """Return the counters as plain values."""
        return {
            "requests": len(self.requests),
            "bytes_sent": self.bytes_sent,
            "peak_in_flight": self.peak_in_flight,
            "statuses": Counter(str(record.status) for record in self.requests),
            "faults": Counter(record.fault for record in self.requests if record.fault),
        }

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection: asyncio.Task[None] | None = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        self._writers.add(writer)
        throttle = Throttle(self._connection_bandwidth, self._clock)
        try:
            while (record := await read_request(reader)) is not None:
                if record.path in {"/__stats__", "/__reset__"}:
                    await self._control(record, writer)
                    continue
                self.requests.append(record)
                self._in_flight += 1
                self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
                try:
                    await self._handle(record, writer, throttle)
                finally:
                    self._in_flight -= 1
                if writer.is_closing():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            return  # the client went away, which is its right
        except asyncio.CancelledError:
            if not self._closing:
                raise
        finally:
            self._connections.discard(connection)
            if self._closing:
                writer.transport.abort()
            else:
                writer.close()

    async def _control(self, record: RequestRecord, writer: asyncio.StreamWriter) -> None:
        text = json.dumps(self.statistics()).encode()
        if record.path == "/__reset__":
            self.reset()
        writer.write(response_head(200, {"Content-Type": "application/json", "Content-Length": str(len(text))}) + text)
        await writer.drain()

    async def _handle(self, record: RequestRecord, writer: asyncio.StreamWriter, throttle: Throttle) -> None:
        if self.latency:
            await self._clock.sleep(self.latency)
        fault = self._plan.choose(record.method, record.path)
        record.fault = fault.kind if fault else None
        if fault is not None and fault.kind is Kind.STALL_HEADERS:
            await self._clock.sleep(fault.seconds)
        answer = self._broken(fault, record) if fault is not None else self._answer(record)
        record.status = answer.status
        length = {} if answer.status == 304 else {"Content-Length": str(answer.size)}
        writer.write(response_head(answer.status, answer.headers | length))
        if record.method != "HEAD":
            await self._send(record, answer, fault, writer, throttle)
        await writer.drain()

    def _broken(self, fault: Fault, record: RequestRecord) -> _Answer:
        """Return the answer that a fault leads to; those that happen in the body start from the right answer."""
        if fault.kind is Kind.STATUS:
            after = fault.retry_after_text
            return _whole(fault.status, b"Not now.\n", {"Retry-After": after} if after is not None else {})
        if fault.kind is Kind.HTML:
            return _whole(200, _PAGE, {"Content-Type": "text/html; charset=utf-8"})
        if fault.kind is Kind.REDIRECT:
            return _whole(302, b"", {"Location": fault.location.replace("{path}", record.path)})
        if fault.kind is Kind.CHANGE:
            self._revisions[record.path] += 1
        answer = self._answer(record, ranges=self._ranges and fault.kind is not Kind.IGNORE_RANGE)
        if fault.kind is Kind.SHORT:
            answer.size = int(answer.size * fault.after)
        elif fault.kind is Kind.WRONG_RANGE and answer.status == 206:
            total = answer.headers["Content-Range"].rpartition("/")[2]
            wrong = max(0, answer.start - 1)
            answer.headers["Content-Range"] = f"bytes {wrong}-{wrong + answer.size - 1}/{total}"
        return answer

    def _answer(self, record: RequestRecord, *, ranges: bool | None = None) -> _Answer:
        ranges = self._ranges if ranges is None else ranges
        if record.method not in {"GET", "HEAD"}:
            return _whole(405, b"", {"Allow": "GET, HEAD"})
        if self._credentials is not None:
            token = base64.b64encode(":".join(self._credentials).encode()).decode()
            if record.headers.get("authorization") != f"Basic {token}":
                return _whole(401, b"", {"WWW-Authenticate": 'Basic realm="packages"'})
        path = (self.root / record.path.lstrip("/")).resolve()
        if not path.is_relative_to(self.root) or not path.is_file():
            return _whole(404, b"No such file.\n", {})
        total = path.stat().st_size
        tag = self._etag(path, record.path)
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes" if ranges else "none"}
        if self._etags:
            headers["ETag"] = tag
            if record.headers.get("if-none-match") == tag:
                return _Answer(304, headers)
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", record.headers.get("range", ""))
        if not ranges or wanted is None or wanted.group() == "bytes=-" or record.headers.get("if-range", tag) != tag:
            return _Answer(200, headers, path, 0, total)
        first, last = wanted.groups()
        start = int(first) if first else max(0, total - int(last))
        end = min(int(last), total - 1) if first and last else total - 1
        if start > end:
            return _whole(416, b"", {"Content-Range": f"bytes */{total}"})
        headers["Content-Range"] = f"bytes {start}-{end}/{total}"
        return _Answer(206, headers, path, start, end - start + 1)

    def _etag(self, path: Path, name: str) -> str:
        status = path.stat()
        facts = f"{status.st_mtime_ns} {status.st_size} {self._revisions[name]}"
        return f'"{hashlib.sha256(facts.encode()).hexdigest()[:24]}"'

    async def _send(
        self,
        record: RequestRecord,
        answer: _Answer,
        fault: Fault | None,
        writer: asyncio.StreamWriter,
        throttle: Throttle,
    ) -> None:
        plain = fault is None and not self._limited and not self._revisions[record.path]
        if plain and isinstance(answer.body, Path) and answer.size > _CHUNK_BYTES and _can_send_files():
            with answer.body.open("rb") as file:
                try:
                    loop = asyncio.get_running_loop()
                    await loop.sendfile(writer.transport, file, answer.start, answer.size)
                finally:  # the position shows how far it got
                    record.bytes_sent = max(0, file.tell() - answer.start)
            return
        mark = int(answer.size * fault.after) if fault is not None else -1
        for original in self._blocks(record.path, answer, mark):
            block = original
            if fault is not None and record.bytes_sent == mark:
                if fault.kind in {Kind.DROP, Kind.RESET}:
                    _cut(writer, reset=fault.kind is Kind.RESET)
                    return
                if fault.kind is Kind.STALL_BODY:
                    await self._clock.sleep(fault.seconds)
                elif fault.kind is Kind.FLIP:
                    block = bytes([original[0] ^ 1]) + original[1:]
            await throttle.take(len(block))
            await self._throttle.take(len(block))
            writer.write(block)
            await writer.drain()
            record.bytes_sent += len(block)

    def _blocks(self, path: str, answer: _Answer, mark: int) -> Iterator[bytes]:
        """Yield the body; the byte at `mark` begins a block."""
        if isinstance(answer.body, bytes):
            yield answer.body[: answer.size]
            return
        with answer.body.open("rb") as file:
            file.seek(answer.start)
            position = 0
            while position < answer.size:
                length = min(_CHUNK_BYTES, answer.size - position)
                if position < mark < position + length:
                    length = mark - position
                block = file.read(length)
                position += len(block)
                # A changed file differs from the original in every byte, and from itself after the next change.
                yield block.translate(_shifted(self._revisions[path])) if self._revisions[path] else block


def _can_send_files() -> bool:
    """Whether the running loop lets the kernel copy files; uvloop has the method but not the function."""
    return isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop)


def _shifted(by: int) -> bytes:
    return bytes((value + by) % 256 for value in range(256))


def _whole(status: int, body: bytes, headers: dict[str, str]) -> _Answer:
    return _Answer(status, headers, body, 0, len(body))


def _cut(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """End a connection now; a linger time of zero makes the kernel send a reset."""
    connection = writer.get_extra_info("socket")
    if reset and connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        writer.close()


async def _turn() -> None:
    for _ in range(_TURNS):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def server_process(root: Path, *arguments: str) -> AsyncIterator[str]:
    """Run the server as its own process, so that it shares no event loop with what is measured; yields its URL.

    Args:
        root: What is served.
        arguments: Further command line arguments, as `--latency`, `0.02`.
    """
    command = [sys.executable, "-m", "tests.support.fault_server", str(root), *arguments]
    repository = Path(__file__).resolve().parents[2]
    process = await asyncio.create_subprocess_exec(*command, cwd=repository, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        yield line.decode().strip()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _run(arguments: argparse.Namespace) -> None:
    user, _, password = (arguments.credentials or "").partition(":")
    server = FaultServer(
        arguments.root,
        faults=arguments.fault,
        latency=arguments.latency,
        bandwidth=arguments.bandwidth,
        connection_bandwidth=arguments.connection_bandwidth,
        credentials=(user, password) if arguments.credentials else None,
        ranges=not arguments.no_ranges,
        seed=arguments.seed,
        port=arguments.port,
    )
    async with server:
        print(server.url, flush=True)  # noqa: T201 - a program's output
        await asyncio.sleep(arguments.ttl)


def main() -> None:
    """Serve a directory from the command line until the time is up."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.fault_server", description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--bandwidth", type=float, help="bytes per second, all connections together")
    parser.add_argument("--connection-bandwidth", type=float, help="bytes per second and connection")
    parser.add_argument("--credentials", help="USER:PASSWORD that requests must carry")
    parser.add_argument("--no-ranges", action="store_true")
    parser.add_argument("--fault", type=parse_fault, action="append", default=[], help="KIND[,name=value...]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ttl", type=float, default=1800.0, help="seconds until the server ends by itself")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
