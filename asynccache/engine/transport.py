"""The `Transport` seam: one HTTP GET with a range; aiohttp behind it, and a twin in memory.

Exceptions of the HTTP library become `TransportError`, which is always worth another try, but for a certificate that
cannot be verified; what the server answers is a `Response` whatever its status, and what it means is decided by the
caller.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from asynccache import __version__
from asynccache.errors import FetchError, FetchRefusedError
from asynccache.model.dataclass import dataclass
from asynccache.model.url import PackageURL, redacted

if TYPE_CHECKING:
    import aiohttp


class TransportError(FetchError):
    """A connection failed, stalled or broke off."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password for one request; never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(***)"

    @property
    def authorization(self) -> str:
        """Value of the header `Authorization`."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")


class Response(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Header fields; look-ups ignore case."""
        ...

    async def read_any(self) -> bytes:
        """Return the next bytes of the body as they arrive, empty at its end.

        Raises:
            TransportError: The connection broke or stalled before the end.
        """
        ...


class Transport(Protocol):
    """Makes GET requests. Open it with `async with`."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def get(
        self, url: PackageURL, *, query: str = "", headers: Mapping[str, str], credentials: Credentials | None
    ) -> AbstractAsyncContextManager[Response]:
        """Request a URL, following redirects; credentials go to the URL's own origin only.

        Raises:
            TransportError: No answer came.
        """
        ...


class HTTPTransport:
    """GET over aiohttp.

    Args:
        connections: In all.
        connections_per_host: To one host.
        connect_timeout: Seconds to wait for a connection, its TLS handshake included.
        read_timeout: Seconds without a byte after which the connection counts as stalled.
    """

    def __init__(
        self, *, connections: int, connections_per_host: int, connect_timeout: float, read_timeout: float
    ) -> None:
        self._connections = connections
        self._per_host = connections_per_host
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def get(
        self, url: PackageURL, *, query: str = "", headers: Mapping[str, str], credentials: Credentials | None
    ) -> AsyncIterator[Response]:
        """Request a URL; see `Transport.get`."""
        import yarl  # noqa: PLC0415

        address = yarl.URL(f"{url}?{query}" if query else str(url), encoded=True)
        origin = address.origin()

        async def log_in(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            if credentials is not None and request.url.origin() == origin:
                request.headers["Authorization"] = credentials.authorization
            return await send(request)

        # at the very end: with a header of ours the client refuses what it reads in .netrc itself
        with _mapped(url):
            async with self._opened().get(
                address, headers=headers, max_redirects=10, middlewares=(log_in,)
            ) as response:
                yield _HTTPResponse(response, url)

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session, made by the first request: a run that fetches nothing does not load the library."""
        import aiohttp  # noqa: PLC0415

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._connections, limit_per_host=self._per_host, ttl_dns_cache=300
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self._connect_timeout, sock_read=self._read_timeout
                ),
                auto_decompress=False,
                trust_env=True,
                headers={"User-Agent": f"asynccache/{__version__}", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _mapped:  # noqa: N801 - reads as a verb where it is used
    """Turns the HTTP library's exceptions into `TransportError`, with the URL."""

    def __init__(self, url: PackageURL) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import aiohttp  # noqa: PLC0415

        if isinstance(error, TimeoutError):
            raise TransportError(f"{redacted(str(self._url))} stalled: no byte came within the time-out") from error
        if isinstance(error, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
            raise FetchRefusedError(
                f"{redacted(str(self._url))} has a certificate that cannot be verified",
                hint="set SSL_CERT_FILE to your authority's certificate",
            ) from error
        if isinstance(error, aiohttp.ClientError | OSError | asyncio.IncompleteReadError):
            reason = redacted(str(error)) or type(error).__name__
            raise TransportError(f"{redacted(str(self._url))} cannot be read ({reason})") from error


class _HTTPResponse:
    def __init__(self, response: aiohttp.ClientResponse, url: PackageURL) -> None:
        self._response = response
        self._url = url

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    async def read_any(self) -> bytes:
        with _mapped(self._url):
            return await self._response.content.readany()


Answer = tuple[int, Mapping[str, str], Sequence[bytes | TransportError]]
"""Status, header fields (lower-case names), and what the body yields; an error in it breaks the connection."""


class MemoryTransport:
    """A twin that answers from a function.

    Args:
        answer: Called with the URL and the request's header fields (lower-case names).

    Attributes:
        requested: (URL, header fields) of every request, in order.
    """

    def __init__(self, answer: Callable[[PackageURL, Mapping[str, str]], Answer]) -> None:
        self._answer = answer
        self.requested: list[tuple[PackageURL, Mapping[str, str]]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @asynccontextmanager
    async def get(
        self, url: PackageURL, *, query: str = "", headers: Mapping[str, str], credentials: Credentials | None
    ) -> AsyncIterator[Response]:
        """Answer a request; see `Transport.get`."""
        del query, credentials
        fields = {name.lower(): value for name, value in headers.items()}
        self.requested.append((url, fields))
        status, answered, body = self._answer(url, fields)
        yield _MemoryResponse(status, answered, body)


class _MemoryResponse:
    def __init__(self, status: int, headers: Mapping[str, str], body: Sequence[bytes | TransportError]) -> None:
        from multidict import CIMultiDict  # noqa: PLC0415

        self.status = status
        self.headers: Mapping[str, str] = CIMultiDict(headers)
        self._body = iter(body)

    async def read_any(self) -> bytes:
        await asyncio.sleep(0)
        piece = next(self._body, b"")
        if isinstance(piece, TransportError):
            raise piece
        return piece
