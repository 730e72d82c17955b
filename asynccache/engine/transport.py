"""The `Transport` seam: one HTTP GET with a range; aiohttp behind it, and a twin in memory.

Exceptions of the HTTP library become `TransportError`, which is always worth a retry, except for a certificate that
cannot be verified; any answer of the server is a `Response`, which the caller interprets.
"""

from __future__ import annotations

import asyncio
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any, Self

from asynccache import __version__
from asynccache.engine.conda_files import CondaConnection, conda_connection
from asynccache.errors import ConfigurationError, FetchError, FetchRefusedError
from asynccache.model.credentials import Credentials
from asynccache.model.dataclass import dataclass
from asynccache.model.url import CONDA_FILES, PackageURL, redacted
from asynccache.runtime.late_loop import in_thread

if TYPE_CHECKING:
    import aiohttp


class TransportError(FetchError):
    """A connection failed, stalled or broke off."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer whose body is still to be read.

    Attributes:
        status: HTTP status.
        headers: Header fields; look-ups ignore case.
        read_any: Returns the next bytes of the body as they arrive, none at its end; raises a `TransportError` if the
            connection breaks or stalls before.
        downgraded: Whether a redirect led from https to http, where anyone in between may answer.
    """

    status: int
    headers: Mapping[str, str]
    read_any: Callable[[], Awaitable[bytes]]
    downgraded: bool = False


class Transport(ABC):
    """Makes GET requests. Open it with `async with`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    @abstractmethod
    def get(
        self,
        url: PackageURL,
        *,
        query: str = "",
        headers: Mapping[str, str],
        credentials: Credentials | None,
        only_head: bool = False,
    ) -> AbstractAsyncContextManager[Response]:
        """Request a URL, following redirects; credentials go to the URL's own origin only. `only_head`: no body.

        Raises:
            TransportError: No answer came.
        """


@dataclass(slots=True, kw_only=True)
class HTTPTransport(Transport):
    """GET over aiohttp.

    Attributes:
        connections: Connections in total.
        connections_per_host: Connections to one host.
        connect_timeout: Seconds to wait for a connection, its TLS handshake included.
        read_timeout: Seconds without a byte after which the connection counts as stalled.
    """

    connections: int
    connections_per_host: int
    connect_timeout: float
    read_timeout: float
    _session: aiohttp.ClientSession | None = field(default=None, init=False)
    _conda: tuple[CondaConnection, dict[str, Any]] | None = field(default=None, init=False)

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    @asynccontextmanager
    async def get(
        self,
        url: PackageURL,
        *,
        query: str = "",
        headers: Mapping[str, str],
        credentials: Credentials | None,
        only_head: bool = False,
    ) -> AsyncIterator[Response]:
        """Request a URL; see `Transport.get`."""
        import yarl  # noqa: PLC0415

        address = yarl.URL(f"{url}?{query}" if query else str(url), encoded=True)
        origin = address.origin()

        async def log_in(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
            if credentials is not None and request.url.origin() == origin:
                request.headers["Authorization"] = credentials.authorization
            return await send(request)

        how = await self._as_conda(url)
        # at the very end: with a header of ours the client refuses what it reads in .netrc itself
        with _mapped(url):
            async with self._opened().request(
                "HEAD" if only_head else "GET", address, headers=headers, max_redirects=10, middlewares=(log_in,), **how
            ) as response:

                async def read_any() -> bytes:
                    with _mapped(url):
                        return await response.content.readany()

                hops = {hop.url.scheme for hop in (*response.history, response)}
                yield Response(
                    response.status, response.headers, read_any, address.scheme == "https" and "http" in hops
                )

    async def _as_conda(self, url: PackageURL) -> dict[str, Any]:
        """Return what conda's configuration says about connections."""
        if not url.filename.endswith(CONDA_FILES):
            return {}
        if self._conda is None:
            self._conda = await in_thread(_conda_options)
        connection, how = self._conda
        proxy = connection.proxy(str(url))
        return how if proxy is None else {**how, "proxy": proxy}

    def _opened(self) -> aiohttp.ClientSession:
        """Return the session, made by the first request: a run that fetches nothing does not load the library."""
        import aiohttp  # noqa: PLC0415

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self.connections, limit_per_host=self.connections_per_host, ttl_dns_cache=300
                ),
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=self.connect_timeout, sock_read=self.read_timeout
                ),
                auto_decompress=False,
                trust_env=True,
                headers={"User-Agent": f"asynccache/{__version__}", "Accept-Encoding": "identity"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _conda_options() -> tuple[CondaConnection, dict[str, Any]]:
    """Read conda's configuration, and the authorities that it names. Blocking."""
    found = conda_connection()
    if not found.verify:
        return found, {"ssl": False}
    if found.authorities is None:
        return found, {}
    place = {"capath" if found.authorities.is_dir() else "cafile": str(found.authorities)}
    try:
        return found, {"ssl": ssl.create_default_context(**place)}  # type: ignore[arg-type]
    except OSError as exc:
        raise ConfigurationError(
            f"ssl_verify of conda's configuration names {found.authorities}, which holds no certificates ({exc})",
            expected="true, false, or a file of certificates",
        ) from exc


@contextmanager
def _mapped(url: PackageURL) -> Iterator[None]:
    """Turn the HTTP library's exceptions into `TransportError`, with the URL."""
    import aiohttp  # noqa: PLC0415

    shown = redacted(str(url))
    try:
        yield
    except TimeoutError as exc:
        raise TransportError(f"{shown} stalled: no byte came within the time-out") from exc
    except (ssl.SSLCertVerificationError, aiohttp.ClientConnectorCertificateError) as exc:
        raise FetchRefusedError(
            f"{shown} has a certificate that cannot be verified",
            hint="set SSL_CERT_FILE to your authority's certificate",
        ) from exc
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as exc:
        raise TransportError(f"{shown} cannot be read ({redacted(str(exc)) or type(exc).__name__})") from exc


Answer = tuple[int, Mapping[str, str], Sequence[bytes | TransportError]]
"""Status, header fields (lower-case names), and what the body yields; an error in it breaks the connection."""


class MemoryTransport(Transport):
    """A twin that answers from a function.

    Args:
        answer: Called with the URL and the request's header fields (lower-case names).

    Attributes:
        requested: (URL, header fields) of every request, in order.
    """

    def __init__(self, answer: Callable[[PackageURL, Mapping[str, str]], Answer]) -> None:
        self._answer = answer
        self.requested: list[tuple[PackageURL, Mapping[str, str]]] = []

    @asynccontextmanager
    async def get(
        self,
        url: PackageURL,
        *,
        query: str = "",
        headers: Mapping[str, str],
        credentials: Credentials | None,
        only_head: bool = False,
    ) -> AsyncIterator[Response]:
        """Answer a request; see `Transport.get`."""
        from multidict import CIMultiDict  # noqa: PLC0415

        del query, credentials
        fields = {name.lower(): value for name, value in headers.items()}
        self.requested.append((url, fields))
        status, answered, body = self._answer(url, fields)
        pieces = iter(() if only_head else body)

        async def read_any() -> bytes:
            await asyncio.sleep(0)
            piece = next(pieces, b"")
            if isinstance(piece, TransportError):
                raise piece
            return piece

        yield Response(status, CIMultiDict(answered), read_any)
