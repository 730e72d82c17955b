"""URLs that cannot carry a secret, and the secrets that were split off them.

`PackageURL` has no place for user information, query or fragment, so whatever is derived from it (a key, a log line,
a document) cannot leak them. What is needed to make the request travels beside it, in an `Access` whose text form
is blank.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass

DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_SCHEMES: Final = ("http", "https", "file")
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s@]*@")
_QUERY = re.compile(r"(?P<url>[A-Za-z][A-Za-z0-9+.-]*://[^\s?#'\"]+)[?#][^\s'\"]*")
_TOKEN = re.compile(r"(?P<before>/t/)[^/\s]+(?=/)")


def redacted(text: str) -> str:
    """Return text with user information, queries and conda's `/t/TOKEN/` path parts taken out of every URL in it.

    >>> redacted("GET https://me:pw@host/t/abc/chan/x.conda?sig=1 failed")
    'GET https://host/t/***/chan/x.conda failed'
    """
    text = _USERINFO.sub(r"\g<scheme>", text)
    text = _QUERY.sub(r"\g<url>", text)
    return _TOKEN.sub(r"\g<before>***", text)


@dataclass(frozen=True, slots=True)
class Access:
    """What a request needs and no record may hold. Its repr is blank; read the fields only to make the request.

    Attributes:
        username: User name for basic authentication, percent-decoded.
        password: Its password.
        query: The URL's query (a signature, often), without the question mark.
    """

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    query: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return self.username is not None or bool(self.query)


@dataclass(frozen=True, slots=True)
class PackageURL:
    """Where an archive is published: scheme, host, port and path, nothing else.

    Attributes:
        scheme: `http`, `https` or `file`.
        host: Lower-case host name; empty for `file`.
        port: As written in the URL, None when it was not.
        path: Percent-encoded as written, with the leading slash.

    >>> url, access = PackageURL.parse("https://me:pw@Conda.Example:8443/t/x/ch/noarch/a-1-0.conda?sig=1#frag")
    >>> str(url)
    'https://conda.example:8443/t/x/ch/noarch/a-1-0.conda'
    >>> access
    Access()
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, text: str) -> tuple[PackageURL, Access]:
        """Split a URL into what may be recorded and what may not.

        Raises:
            UsageError: Not an http, https or file URL with a path.
        """
        try:
            parts = urlsplit(text.strip())
            port = parts.port
        except ValueError as exc:
            raise UsageError(f"{redacted(text)!r} is not a URL ({exc})") from exc
        if parts.scheme not in _SCHEMES:
            raise UsageError(
                f"{redacted(text)!r} is not a package URL",
                expected="http://, https:// or file://",
                found=f"{parts.scheme}://" if parts.scheme else "no scheme",
            )
        if parts.scheme != "file" and not parts.hostname:
            raise UsageError(f"{redacted(text)!r} names no host")
        if parts.path in {"", "/"}:
            raise UsageError(f"{redacted(text)!r} names no file")
        if any(unquote(segment) in {".", ".."} for segment in parts.path.split("/")):
            raise UsageError(f"{redacted(text)!r} has '.' or '..' in its path, which would leave the cache's layout")
        access = Access(
            username=unquote(parts.username) if parts.username is not None else None,
            password=unquote(parts.password) if parts.password is not None else None,
            query=parts.query,
        )
        return cls(parts.scheme, (parts.hostname or "").lower(), port, parts.path), access

    @property
    def netloc(self) -> str:
        """Host, and the port when the URL has one; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def filename(self) -> str:
        """Last path component, percent-decoded."""
        return unquote(self.path.rsplit("/", 1)[-1])

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a connection budget counts by."""
        return f"{self.scheme}://{self.netloc}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"
