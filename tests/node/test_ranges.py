"""What a bare node makes of a server that wants to be asked more slowly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from asynccache.boot.azure import AzureRanges
from asynccache.boot.ranges import HTTPRanges
from asynccache.node.azure_account import azure_account
from asynccache.node.ranges import PassingError, Ranges


@contextmanager
def refusing(status: int, **headers: str) -> Iterator[str]:
    """Serve nothing but a status."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "headers", "throttled", "asked"),
    [
        (429, {}, True, None),
        (503, {"Retry_After": "7"}, True, 7.0),
        (503, {}, False, None),
        (500, {"Retry_After": "7"}, False, 7.0),
    ],
)
def test_a_refusal_because_of_the_rate_is_known_and_so_is_how_long_to_wait(
    status: int, headers: dict[str, str], throttled: bool, asked: float | None
) -> None:
    with refusing(status, **headers) as url, pytest.raises(PassingError) as caught:
        HTTPRanges(f"{url}/pack").open(0, 10)
    assert (caught.value.throttled, caught.value.asked) == (throttled, asked)


def test_azure_says_with_503_that_too_many_ask() -> None:
    with refusing(503) as url, pytest.raises(PassingError) as caught:
        AzureRanges(azure_account(f"{url}/a", {"AZURE_STORAGE_KEY": "a2V5"}), "c", "pack").open(0, 10)
    assert caught.value.throttled


def test_it_waits_as_long_as_it_is_asked_to_and_longer_than_after_a_failure() -> None:
    ranges = Ranges("pack")
    assert 7.0 <= ranges._pause(ranges._tries(), PassingError("busy", True, 7.0)) <= 8.0
    pauses = [ranges._pause(ranges._tries(), PassingError("busy", throttled=True)) for _ in range(200)]
    assert 0.2 < max(pauses) <= 0.8
