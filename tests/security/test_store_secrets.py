"""Keys, signatures and tokens of Azure and Google stand in nothing that is shown, whatever fails."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest
from aiohttp import web

from asynccache.boot.ranges import Root
from asynccache.errors import AsyncCacheError, ConfigurationError, ObjectNotFoundError
from asynccache.model.digest import digest_file
from asynccache.model.root import StoreRoot
from asynccache.node.patience import Patience
from asynccache.runtime.clock import VirtualClock
from asynccache.store.base import Store
from asynccache.store.open import open_store
from tests.store.conftest import options_for, written
from tests.support.background import in_background
from tests.support.certificates import Certificate

KEY: Final = base64.b64encode(b"the key of an account").decode()
SIGNATURE: Final = "sv=2021-12-02&sp=r&sig=SECRETsignature%3D"
TOKEN: Final = "SECRETtoken.of.somebody"
SECRETS: Final = (KEY, "SECRETsignature", TOKEN)
ASKED: Final = {
    "a key": ("az", {"AZURE_STORAGE_KEY": KEY}),
    "a signature": ("az", {"AZURE_STORAGE_SAS_TOKEN": SIGNATURE}),
    "a token of Azure": ("az", {"ASYNCCACHE_AZURE_TOKEN": TOKEN}),
    "a token of Google": ("gs", {"ASYNCCACHE_GOOGLE_TOKEN": TOKEN}),
}
_PART: Final = 256 << 10  # bytes; the smallest that Google takes
NO_PATIENCE: Final = Patience(tries=1, outage=0.0, throttled=0.0, longest=0.0)
STATUSES: Final = (200, 302, 401, 403, 404, 409, 412, 429, 500)


@dataclass
class Parrot:
    """A server that repeats what it is sent: in texts, in reasons, in every header that has a meaning here."""

    certificate: Certificate
    status: int = 200
    broken: bool = False
    url: str = ""

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self.answer, access_log=None), handle_signals=False, shutdown_timeout=0.1
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.certificate.context).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        said = f"{request.raw_path} {dict(request.headers)} {body[:200]!r}".replace("\n", " ")
        if self.broken:
            assert request.transport is not None
            request.transport.abort()
        text = f"<Error><Code>{said}</Code><Message>{said}</Message></Error>"
        if request.query.get("alt") or "/storage/" in request.path:
            text = json.dumps({"error": {"errors": [{"reason": said}]}})
        names = ("x-ms-error-code", "ETag", "Location", "x-ms-copy-status", "Retry-After", "Last-Modified")
        headers = dict.fromkeys(names, said)
        return web.Response(status=self.status, text=text, headers=headers)


@pytest.fixture
def parrot(certificate: Certificate) -> Iterator[Parrot]:
    with in_background(Parrot(certificate)) as found:
        yield found


@asynccontextmanager
async def opened(how: str, url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    scheme, variables = ASKED[how]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    endpoint = f"{url}/account" if scheme == "az" else url
    root = StoreRoot.parse(f"{scheme}://container/{secrets.token_hex(4)}", endpoint=endpoint)
    options = options_for(clock=VirtualClock(), patience=NO_PATIENCE, part_bytes=_PART)
    async with open_store(root, options) as store:
        yield store


def operations(store: Store, directory: Path) -> dict[str, Callable[[], Awaitable[object]]]:
    large = written(directory / "large", bytes(_PART + 1))
    return {
        "head": lambda: store.head("a"),
        "get": lambda: store.get("a"),
        "list": lambda: store.list_page("a"),
        "put": lambda: store.put("a", b"x", if_absent=True),
        "put if": lambda: store.put("a", b"x", if_match="1"),
        "upload": lambda: store.upload("a", large, digest_file(str(large), "md5")),
        "delete": lambda: store.delete("a"),
        "move": lambda: store.move("a", "b"),
    }


def shown(error: BaseException) -> str:
    """Return all that is shown of a failure, with --debug and in JSON too."""
    document = error.as_document() if isinstance(error, AsyncCacheError) else ""
    return "".join(traceback.format_exception(error)) + repr(error) + str(document)


@pytest.mark.parametrize("how", ASKED)
async def test_no_failure_of_any_operation_shows_by_what_the_store_was_asked(
    parrot: Parrot,
    certificate: Certificate,
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.pem))
    told: dict[tuple[str, int], str] = {}
    async with opened(how, parrot.url, monkeypatch) as store:
        for status in (*STATUSES, 0):
            parrot.status, parrot.broken = status or 200, not status
            for name, work in operations(store, tmp_path).items():
                try:
                    await work()
                except AsyncCacheError as error:
                    told[name, status] = f"{error}\n{shown(error)}"
    assert len(told) > 60
    assert [at for at, text in told.items() if any(secret in text for secret in SECRETS)] == []
    assert [each for each in SECRETS if each in caplog.text] == []


NOWHERE: Final = ("https://127.0.0.1:1", "https://127.0.0.1:99999", "https://[::1", "https://a b", "https://")


@pytest.mark.parametrize("how", ASKED)
async def test_no_failure_on_the_way_shows_it(how: str, parrot: Parrot, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (parrot.url, *NOWHERE):  # whose certificate nobody trusts; where nobody is; what is no address
        with pytest.raises(AsyncCacheError) as caught:
            async with opened(how, url, monkeypatch) as store:
                await store.get("a")
        assert [each for each in SECRETS if each in shown(caught.value)] == [], url


@pytest.mark.parametrize("how", ASKED)
async def test_no_failure_on_a_node_shows_it(
    how: str, parrot: Parrot, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, variables = ASKED[how]
    for name, value in {**variables, "SSL_CERT_FILE": str(certificate.pem)}.items():
        monkeypatch.setenv(name, value)

    def read(url: str) -> None:
        root = Root(f"{scheme}://container/prefix", f"{url}/account" if scheme == "az" else url)
        for start in (0, -1):
            ranges = root.object("a")
            ranges.patience = NO_PATIENCE
            ranges.open(start, 1) if start < 0 else ranges.read(start, 1)

    for status in (*STATUSES, 0):
        parrot.status, parrot.broken = status or 200, not status
        for url in (parrot.url,) if status else (parrot.url, *NOWHERE):
            with pytest.raises((AsyncCacheError, OSError)) as caught:  # what the command turns into a sentence
                await asyncio.to_thread(read, url)
            assert [each for each in SECRETS if each in shown(caught.value)] == [], (status, url)


@pytest.mark.parametrize("how", ASKED)
async def test_what_cannot_be_sent_is_refused_before_a_client_shows_it(
    how: str, parrot: Parrot, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    parrot.status = 404
    ((name, value),) = ASKED[how][1].items()
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.pem))
    for given, found in ((value + "\n", ObjectNotFoundError), (value + "\r\nX: y", ConfigurationError)):
        monkeypatch.setitem(ASKED, how, (ASKED[how][0], {name: given}))
        with pytest.raises(found) as caught:
            async with opened(how, parrot.url, monkeypatch) as store:
                await store.get("a")
        assert [each for each in SECRETS if each in shown(caught.value)] == []
