"""Objects of a cache's root as a bare node reads them: over HTTP, from a service, or from a directory.

Each service has a module of this room (`asynccache.node.store_kinds` names them).
"""

from __future__ import annotations

import os
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Mapping

from asynccache.errors import AsyncCacheError, HydrationError
from asynccache.node.client_provider import foreign_provider, provider_variable
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.patience import TRANSIENT_STATUSES, parse_retry_after
from asynccache.node.ranges import LocalRanges, PassingError, Ranges
from asynccache.node.store_kinds import KINDS, in_words, kind_of, scheme_of

if TYPE_CHECKING:
    from typing import Protocol

    class Account(Protocol):
        """Credentials for requests."""

        @property
        def kind(self) -> str:
            """Which credentials are used, as text for people."""

        def prepare(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, dict[str, str]]:
            """Return the address and the headers of a request."""


TIMEOUT = 30.0
"""Seconds that a server has to answer."""
_WEB = ("http", "https")


class HTTPRanges(Ranges):
    """An object behind a URL.

    Args:
        url: http or https; its query may hold a signature and is never shown.

    Attributes:
        busy: Whether 503 means too many requests, as with Azure and Google; otherwise only with Retry-After.
    """

    busy = False

    def __init__(self, url: str) -> None:
        Ranges.__init__(self, url.partition("?")[0])
        self._url = url
        self._context = ssl.create_default_context() if url.startswith("https:") else None

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Request a range."""
        answer = self._ask("GET", {"Range": byte_range(start, length)})
        total = answer.headers.get("Content-Range", "").rpartition("/")[2]
        if answer.status != 206 or not total.isdigit():
            answer.close()
            raise PackUnusableError(f"{self.name}: the server does not answer ranges")
        return answer, int(total)

    def _ask(self, method: str, headers: dict[str, str]) -> Any:
        url, every = self._prepared(method, headers)
        request = urllib.request.Request(url, headers=every, method=method)  # noqa: S310 - the scheme is checked
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT, context=self._context)  # noqa: S310
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code == 404:
                raise NoPackError(f"there is no {self.name}") from None
            if exc.code in TRANSIENT_STATUSES:
                asked = parse_retry_after(exc.headers.get("Retry-After"))
                throttled = exc.code == 429 or (exc.code == 503 and (self.busy or asked is not None))
                raise PassingError("the server answers %d" % exc.code, throttled, asked) from None
            raise self._refused(exc.code) from None

    def _prepared(self, method: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        """Return the address and the headers of a request."""
        del method
        return self._url, headers

    def _refused(self, status: int) -> PackUnusableError:
        return PackUnusableError("%s is refused: the server answers %d" % (self.name, status))


class AccountRanges(HTTPRanges):
    """An object of a service with authentication, over HTTP: its own client takes a second to import.

    Args:
        account: Credentials for requests.
        url: The object's address.
        name: Its name in messages.
    """

    busy = True

    def __init__(self, account: Account, url: str, name: str) -> None:
        HTTPRanges.__init__(self, url)
        self.name = name
        self._account = account

    def _prepared(self, method: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
        try:
            return self._account.prepare(method, self._url, headers)
        except AsyncCacheError as exc:
            raise HydrationError(f"{self.name} cannot be read: {exc}") from None

    def _refused(self, status: int) -> PackUnusableError:
        return PackUnusableError(
            "%s is refused: asked with %s, the server answers %d" % (self.name, self._account.kind, status)
        )


class Service:
    """A service that holds objects in containers.

    Args:
        address: The root, for messages.
        endpoint_url: Its address, if not the cloud's own.
        provider: Metaflow plugin that provides credentials; None for those of the cloud's own tools.
        said: The manifest's settings for clients of this kind.

    Raises:
        HydrationError: There are no credentials, or a module is missing.
        ConfigurationError: The named provider does not exist.
    """

    def __init__(self, address: str, endpoint_url: str | None, provider: str | None, said: Mapping[str, Any]) -> None:
        del address, said
        self.endpoint_url = endpoint_url
        self.provider = provider

    def object(self, container: str, key: str) -> Ranges:
        """Return an object."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """Return the variables with which a separate engine without Metaflow can reach the service in the same way."""
        raise NotImplementedError


class Root:
    """A cache's root on a bare node: provides the objects below it.

    Args:
        address: A directory, `file://`, `http(s)://`, or the address of a store of a kind in `store_kinds`.
        endpoint_url: Address of a private S3 server, of the blob service of an account of Azure, or of a server like
            Google's.
        client: The manifest's settings for clients of this kind of root; variables on the node take precedence.

    Raises:
        HydrationError: It is of another kind, or boto3 is missing.
        ConfigurationError: The named provider does not exist.
    """

    def __init__(self, address: str, endpoint_url: str | None = None, client: Mapping[str, Any] | None = None) -> None:
        self.address = address.rstrip("/")
        self.endpoint_url = endpoint_url
        self._service: Service | None = None
        said, kind, scheme = client or {}, kind_of(address), scheme_of(address)
        if kind is not None and kind.reader:
            provider = None
            if kind.provider:
                on_node = os.environ.get(provider_variable(kind.name))
                provider = foreign_provider(kind.name, on_node, said.get("provider"))
            self._service = kind.read_by()(address, endpoint_url, provider, said)
        elif "://" in address and scheme not in (*_WEB, "file"):
            schemes = ["%s://" % each.schemes[0] for each in KINDS.values() if each.reader]
            raise HydrationError(
                f"the cache's root {address} cannot be read here: expected "
                + in_words("a directory", *schemes, "http(s)://")
            )

    def object(self, key: str) -> Ranges:
        """Return an object by its key relative to the root."""
        if self._service is not None:
            container, _slash, prefix = self.address.partition("://")[2].partition("/")
            return self._service.object(container, f"{prefix}/{key}" if prefix else key)
        if scheme_of(self.address) in _WEB:
            return HTTPRanges(f"{self.address}/{key}")
        directory = self.address[len("file://") :] if self.address.startswith("file://") else self.address
        return LocalRanges(os.path.join(os.path.expanduser(directory), key))

    def variables(self) -> dict[str, str]:
        """Return the variables with which a separate engine without Metaflow can reach the root in the same way."""
        return {} if self._service is None else self._service.variables()


def byte_range(start: int, length: int) -> str:
    """Return the header of a range request; a negative start counts from the end."""
    return "bytes=%d" % start if start < 0 else "bytes=%d-%d" % (start, start + length - 1)
