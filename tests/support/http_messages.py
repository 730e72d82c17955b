"""The heads of HTTP/1.1 messages, as far as a file server needs them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from tests.support.faults import Kind

_REASONS: Final = {
    200: "OK",
    206: "Partial Content",
    302: "Found",
    304: "Not Modified",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    416: "Range Not Satisfiable",
    429: "Too Many Requests",
    503: "Service Unavailable",
}


@dataclass(slots=True)
class RequestRecord:
    """One request as the server saw it.

    Attributes:
        method: `GET` or `HEAD`, or what the client sent.
        path: Percent-decoded, without query.
        headers: As received, names in lower case.
        started: `time.monotonic()` when its head had arrived.
        status: Status of the answer; 0 while there is none.
        bytes_sent: Bytes of the body so far.
        fault: What was done to it.
        query: What came after the question mark.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    started: float
    status: int = 0
    bytes_sent: int = 0
    fault: Kind | None = None
    query: str = ""


def response_head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return status line and headers as they go over the wire."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Other')}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def read_request(reader: asyncio.StreamReader) -> RequestRecord | None:
    """Return the next request of a connection, None if the client has ended it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _version = first.split(" ")
    path, _, query = target.partition("?")
    return RequestRecord(method, unquote(path), headers, time.monotonic(), query=query)
