"""Requests to a store over plain HTTP: authorized, paced, repeated, and interpreted by their answers.

Written on aiohttp rather than on a client of object stores: those for Azure and Google expose neither the status of a
refusal nor its Retry-After, send no digests for the server to verify, and do not cancel the parts in flight when an
upload is cancelled.
"""

from __future__ import annotations

import hashlib
import io
import secrets
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import aiohttp
import yarl

from asynccache import __version__
from asynccache.errors import (
    AsyncCacheError,
    IntegrityError,
    StoreError,
    StoreNotFoundError,
    StoreRefusedError,
)
from asynccache.model.dataclass import dataclass
from asynccache.node.patience import TRANSIENT_STATUSES, parse_retry_after
from asynccache.runtime.late_loop import in_thread
from asynccache.store.base import ALWAYS, Condition, not_found
from asynccache.store.options import StoreOptions
from asynccache.store.requests import CallFailedError, Requests, Verdict

T = TypeVar("T")
_ERROR_BYTES: Final = 16 << 10  # bytes of a refusal's body that are read
_REMEMBERED: Final = 64  # listings that can be continued where they ended
_THROTTLED: Final = frozenset({429, 503})
_FAILURES: Final = (aiohttp.ClientError, TimeoutError, OSError)


class RefusedError(Exception):
    """An answer that is a refusal; never leaves the store.

    Attributes:
        status: HTTP status.
        code: The service's error code; empty if it has none.
        retry_after: Seconds to wait, as the service asks.
    """

    def __init__(self, status: int, code: str, retry_after: float | None) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What differs between the services' protocols.

    Attributes:
        name: Name for messages.
        code_of: Finds the error code in a refusal's headers and body.
        lost: Codes for a condition that does not hold, besides the status 412.
        nowhere: Codes for a missing container.
        damaged: Codes for bytes that differ from what was announced.
        container: The service's word for a container.
        permissions: Permissions that the user needs, for messages.
        check: Settings to check, for messages.
        unknown: Codes for unknown credentials, besides the status 401.
        repeated: Header whose value an answer repeats, which shows that it belongs to the request; empty for none.
    """

    name: str
    code_of: Callable[[Mapping[str, str], bytes], str]
    lost: frozenset[str]
    nowhere: frozenset[str]
    damaged: frozenset[str]
    container: str
    permissions: str
    check: str
    unknown: frozenset[str]
    repeated: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is not a refusal.

    Attributes:
        status: HTTP status.
        headers: Headers, case-insensitive.
        data: The body.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes


@contextmanager
def answer_of(service: Service) -> Iterator[None]:
    """Read what an answer of a service must contain; other content, which may repeat the request, is not shown.

    Raises:
        StoreError: It does not, or it cannot be read: something other than the service has answered.
    """
    try:
        yield
    except (KeyError, ValueError, TypeError, ET.ParseError) as exc:
        what = f"no {exc.args[0]}" if isinstance(exc, KeyError) else "it cannot be read"
        raise StoreError(
            f"something else than {service.name} has answered ({what})",
            hint=f"check {service.check}, and proxies on the way",
        ) from None


class Continuations:
    """Where listings ended, for services that continue from their own marker; the last ones are remembered."""

    def __init__(self) -> None:
        self._marks: OrderedDict[tuple[str, str], str] = OrderedDict()

    def taken(self, prefix: str, after: str) -> str:
        """Return the marker from which a listing of a prefix continues after a key, empty if none is known."""
        return self._marks.pop((prefix, after), "")

    def remember(self, prefix: str, after: str, mark: str) -> None:
        """Remember a marker."""
        self._marks[prefix, after] = mark
        if len(self._marks) > _REMEMBERED:
            self._marks.popitem(last=False)


def md5_of(data: bytes) -> bytes:
    """Return the digest header that these services verify a body with."""
    return hashlib.md5(data, usedforsecurity=False).digest()


class HTTPFailedError(CallFailedError):
    """A request that failed permanently, with the meaning of its answer."""

    def __init__(self, cause: BaseException, service: Service) -> None:
        status = cause.status if isinstance(cause, RefusedError) else 0
        code = cause.code if isinstance(cause, RefusedError) else ""
        self.status = status
        super().__init__(
            cause,
            code or (str(status) if status else ""),
            lost=status == 412 or code in service.lost,
            absent=status == 404 and code not in service.nowhere,
            beyond=status == 416,
            gone=status == 410,
        )


class Account(Protocol):
    """The credentials for a service."""

    @property
    def endpoint(self) -> str:
        """Address of the service, without credentials."""
        ...

    @property
    def kind(self) -> str:
        """Which credentials are used, as text for people: never a secret."""
        ...

    def waits(self) -> bool:
        """Return whether `prepare` would use the network now and must not run on an event loop."""
        ...

    def prepare(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """Return the address and the headers of a request."""
        ...

    def close(self) -> None:
        """Close connections to token services."""
        ...


class HTTPClient(Requests):
    """Makes requests to one container of a service.

    Args:
        service: Its protocol.
        account: The credentials.
        container: The container.
        options: How to reach it.
    """

    def __init__(self, service: Service, account: Account, container: str, options: StoreOptions) -> None:
        super().__init__(options)
        self.service = service
        self.address = account.endpoint.rstrip("/")
        self.container = container
        self._account = account
        self._session: aiohttp.ClientSession | None = None

    @property
    def endpoint(self) -> str:
        """Host and port of the service, without credentials."""
        return urlsplit(self.address).netloc.rpartition("@")[2]

    async def open(self) -> None:
        """Prepare; nothing is sent."""
        options = self._options
        self._known_as(f"{self.address} {self.container}")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=options.connections, ssl=ssl.create_default_context()),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=options.connect_timeout, sock_read=options.read_timeout
            ),
            headers={"User-Agent": f"asynccache/{__version__}"},
            auto_decompress=False,
            skip_auto_headers=["Content-Type", "Accept-Encoding"],
            trust_env=True,
        )

    async def close(self) -> None:
        """Close all connections."""
        self._account.close()
        if self._session is not None:
            await self._session.close()

    async def call(
        self,
        method: str,
        path: str,
        *,
        headers: Callable[[], Mapping[str, str]] | Mapping[str, str] = {},  # noqa: B006 - not changed
        data: bytes | None = None,
        accepted: frozenset[int] = frozenset(),
        once: bool = False,
    ) -> Answer:
        """Make a request, with retries where they may help, and read its answer.

        Args:
            method: HTTP method.
            path: Path below the address, quoted, with its query; or a full address.
            headers: Headers, or a function that returns them for each try.
            data: The body.
            accepted: Statuses besides 200 to 299 that count as success.
            once: Do not retry: the caller has to check the outcome first.

        Raises:
            HTTPFailedError: It failed permanently.
        """

        async def receive(response: aiohttp.ClientResponse) -> Answer:
            return Answer(response.status, response.headers, await response.read())

        return await self.stream(
            method, path, receive, headers=headers, data=data, body_bytes=len(data or b""), accepted=accepted,
            judge=_final if once else _judged,
        )  # fmt: skip

    async def stream(
        self,
        method: str,
        path: str | Callable[[], str],
        receive: Callable[[aiohttp.ClientResponse], Awaitable[T]],
        *,
        headers: Callable[[], Mapping[str, str]] | Mapping[str, str],
        data: bytes | None = None,
        body_bytes: int = 0,
        accepted: frozenset[int] = frozenset(),
        judge: Callable[[BaseException], Verdict] | None = None,
    ) -> T:
        """Make a request as `call` does; `receive` reads the answer and is part of the try."""

        async def attempt() -> T:
            below = path() if callable(path) else path
            url = below if "://" in below else self.address + below
            said, mark = dict(headers() if callable(headers) else headers), secrets.token_hex(8)
            if self.service.repeated:
                said[self.service.repeated] = mark
            if data is not None or method in {"PUT", "POST"}:
                said["Content-Length"] = str(len(data or b""))
            asked, every = await self._prepared(method, url, said)
            if self._session is None:
                raise StoreError("the store is not open")
            async with self._session.request(
                method,
                yarl.URL(asked, encoded=True),
                headers=every,
                data=None if data is None else io.BytesIO(data),  # plain bytes would be sent in one piece
                allow_redirects=False,
            ) as response:
                if response.headers.get(self.service.repeated, mark) != mark:
                    response.close()  # otherwise all later answers on this connection would belong to other requests
                    raise aiohttp.ClientConnectionError("the answer to another request")
                if not 200 <= response.status < 300 and response.status not in accepted:
                    body = await response.content.read(_ERROR_BYTES)
                    code = self.service.code_of(response.headers, body)
                    raise RefusedError(response.status, code, parse_retry_after(response.headers.get("Retry-After")))
                return await receive(response)

        try:
            return await self._repeat(attempt, (RefusedError, *_FAILURES), judge or _judged, body_bytes)
        except (RefusedError, *_FAILURES) as exc:
            raise HTTPFailedError(exc, self.service) from exc

    async def _prepared(self, method: str, url: str, said: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        if self._account.waits():
            return await in_thread(self._account.prepare, method, url, said)
        return self._account.prepare(method, url, said)

    def error(self, failure: CallFailedError, address: str, key: str, condition: Condition = ALWAYS) -> AsyncCacheError:
        """Return the error for a failed request; texts of the server are not passed on.

        Args:
            failure: The failure.
            address: The store, without credentials.
            key: The object; empty for the store as a whole.
            condition: Condition of the request.
        """
        service, code, cause = self.service, failure.code, failure.cause
        what = f"{key} in {address}" if key else address
        if failure.lost or (failure.absent and condition.if_match is not None):
            return condition.lost(address, key)
        if not isinstance(cause, RefusedError):
            if isinstance(cause, aiohttp.ClientSSLError):
                return StoreRefusedError(
                    f"the certificate of {self.endpoint} is not trusted",
                    hint="set SSL_CERT_FILE to the authority's certificate",
                )
            return StoreError(
                f"{self.endpoint} did not answer a request for {what} ({type(cause).__name__})",
                hint=f"check {service.check} and the network",
            )
        if code in service.nowhere or (cause.status == 404 and not key):
            return StoreNotFoundError(
                f"the {service.container} of {address} does not exist at {self.endpoint}",
                hint="create it, or correct the store's address",
            )
        if failure.absent:
            return not_found(address, key)
        if code in service.damaged:
            return IntegrityError(
                f"{key} arrived damaged in {address}", hint="the bytes differ from their digest; make the file again"
            )
        if cause.status == 401 or code in service.unknown:
            return StoreRefusedError(
                f"{self.endpoint} does not accept {self._account.kind} for {address} ({code})",
                hint="log in again, or check what is set, whether it has expired, and this machine's clock",
            )
        if cause.status == 403:
            return StoreRefusedError(
                f"access to {what} is denied ({code})", hint=f"the credentials need {service.permissions}"
            )
        if cause.status in _THROTTLED:
            return StoreError(
                f"{self.endpoint} still answers {code} after many tries",
                hint="run again later, or with fewer connections",
            )
        refused = 400 <= cause.status < 500
        return (StoreRefusedError if refused else StoreError)(
            f"{self.endpoint} cannot serve {what} ({code}, status {cause.status})",
            hint="run again later; if it persists, ask the operator of the store",
        )


def _final(exc: BaseException) -> Verdict:
    return Verdict("final", answered=isinstance(exc, RefusedError))


def _judged(exc: BaseException) -> Verdict:
    if isinstance(exc, RefusedError):
        if exc.status in _THROTTLED:
            return Verdict("throttled", answered=True, retry_after=exc.retry_after)
        # these services do not redirect: something in between did
        passes = exc.status in TRANSIENT_STATUSES or 300 <= exc.status < 400
        return Verdict("transient" if passes else "final", answered=True)
    return Verdict("final" if isinstance(exc, aiohttp.ClientSSLError) else "transient")
