"""URLs that cannot carry a secret, and the secrets that were split off them.

`PackageURL` has no place for user information, query or fragment, so nothing derived from it (a key, a log line, a
document) can leak them. What a request needs in addition is kept beside it, in an `Access`, which is blank as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field, replace
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, uses_params

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass

_SCHEMES: Final = ("http", "https", "file")
CONDA_FILES: Final = (".conda", ".tar.bz2")
_USERINFO = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s@]*@")
_QUERY = re.compile(r"(?P<url>[A-Za-z][A-Za-z0-9+.-]*://[^\s?#'\"]+)[?#][^\s'\"]*")
_PYPI_FILE: Final = r"(?:\.whl|\.tar\.gz|\.tgz|\.tar\.xz|\.zip|\.egg|/simple/?)(?![\w./-])"
# text masked by another program is not a token
_TOKEN = re.compile(rf"/t/(?P<token>(?!(?:<TOKEN>|\*{{3,}})/)[^/\s'\"]+)(?=/)(?![^\s'\"]*{_PYPI_FILE})")
_REDACTED = re.compile(r"\*{3,}")
# Names of parameters that sign an address or authenticate: AWS, Google, Azure, Alibaba, Tencent, Backblaze, package
# hosts.
_SIGNING: Final = (  # compiled for an address with a query
    r"sig|hmac|jwt|auth|authorization|apikey|x-(amz|goog|ms|oss|obs|cos|bz)-.+|q-(sign|ak|key|signature|header|url).*"
    r"|.*(signature|token|secret|passw(or)?d|credential|api[-_]key|access[-_]?key([-_]?id)?)|(google|goog)accessid"
)
# Parameters that accompany a signature and do not identify the file: CloudFront, S3 (version 2), Azure's shared access
# signatures.
_WITH_SIGNATURE: Final = (
    r"expires|expiry|exp|policy|key-pair-id|hash-algorithm|sv|ss|srt|sr|st|se|sp|spr|sip|si|sdd|skoid|sktid|skt|ske|sks|skv"
    r"|saoid|suoid|scid|rsc[cdelt]"
)


def holds_token(address: str) -> bool:
    """Return whether an address has conda's `/t/TOKEN/` in its path; on the way to a PyPI file `/t/` is a directory.

    >>> holds_token("https://host/t/abc/chan"), holds_token("https://host/source/t/tqdm/tqdm-4.0.tar.gz")
    (True, False)
    """
    return _TOKEN.search(address) is not None


def redacted(text: str) -> str:
    """Return text with user information, queries and conda's `/t/TOKEN/` path parts removed from every URL in it.

    >>> redacted("GET https://me:pw@host/t/abc/chan/x.conda?sig=1 failed")
    'GET https://host/t/***/chan/x.conda failed'
    """
    text = _USERINFO.sub(r"\g<scheme>", text)
    text = _QUERY.sub(r"\g<url>", text)
    return _TOKEN.sub("/t/***", text)


def without_credentials(address: str, *, query: bool = False) -> str:
    """Return an address for documents: without user information and token, otherwise unchanged, byte for byte.

    Args:
        address: Of a channel, an index or a package; any other text is returned as it is.
        query: Also remove the query of a web address, which is a signature in the address of a package.

    >>> without_credentials("https://me:pw@host/t/abc/chan"), without_credentials("git+https://me@host/x.git?a=b")
    ('https://host/chan', 'git+https://host/x.git?a=b')
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        return address
    host, slash, path = rest.partition("/")
    shown = _TOKEN.sub("", f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")
    if query and scheme in _SCHEMES:
        before, mark, fragment = shown.partition("#")
        shown = before.partition("?")[0] + mark + fragment
    return shown


def unsigned(address: str) -> str:
    """Return an address without the parameters of its query that sign it or authenticate, otherwise unchanged, byte for
    byte.

    A query may identify the file, so unknown parameters are kept.

    >>> unsigned("https://host/a.whl?sig=1&se=2#sha256=3"), unsigned("https://host/get?file=a.whl&X-Amz-Signature=1")
    ('https://host/a.whl#sha256=3', 'https://host/get?file=a.whl')
    >>> unsigned("git+https://host/x.git?sp=1#subdirectory=a?token=b")
    'git+https://host/x.git?sp=1#subdirectory=a?token=b'
    """
    before, hash_sign, fragment = address.partition("#")
    place, mark, query = before.partition("?")
    if not mark or "://" not in place:
        return address
    parameters = query.split("&")
    names = [unquote(parameter.partition("=")[0]) for parameter in parameters]
    if not any(re.fullmatch(_SIGNING, name, re.IGNORECASE) for name in names):
        return address
    kept = [p for p, name in zip(parameters, names, strict=True) if not _is_signature(name)]
    return place + ("?" + "&".join(kept) if kept else "") + hash_sign + fragment


def _is_signature(name: str) -> bool:
    return any(re.fullmatch(pattern, name, re.IGNORECASE) for pattern in (_SIGNING, _WITH_SIGNATURE))


def secrets_in(address: str) -> list[str]:
    """Return the parts of an address that must never be shown: conda's token, and the values that `unsigned` removes.

    >>> secrets_in("https://host/t/tk/cf"), secrets_in("https://host/a.whl?sig=a%2Fb&raw=true")
    (['tk'], ['a%2Fb', 'a/b'])
    """
    token = _TOKEN.search(address)
    query = address.partition("#")[0].partition("?")[2]
    kept = unsigned(address).partition("#")[0].partition("?")[2].split("&")
    values = [parameter.partition("=")[2] for parameter in query.split("&") if parameter not in kept]
    return list(dict.fromkeys([*([token["token"]] if token else []), *_forms(values)]))


def _forms(values: Iterable[str]) -> list[str]:
    return [form for value in values if value for form in (value, unquote(value))]


def not_redacted(text: str | None) -> str | None:
    """Return a user name or password; None for one that another program had masked when it wrote the address."""
    return None if text is None or _REDACTED.fullmatch(text) else text


def split_address(text: str) -> SplitResult:
    """Split an address of any scheme, or of none.

    Raises:
        UsageError: It is invalid, or would lead out of a directory or end a line as a key, a path or text.
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname or "", parts.port
    except ValueError as exc:
        raise UsageError(f"{redacted(text)!r} is not a URL ({exc})") from exc
    if not text.isprintable():
        raise UsageError(f"{redacted(text)!r} is not a URL", expected="one line of printable characters")
    if any(unquote(segment) in {".", ".."} for segment in (host, *parts.path.split("/"))):
        raise UsageError(f"{redacted(text)!r} has '.' or '..' in its path, which would leave the cache's layout")
    return parts


def without_parameters(scheme: str, path: str) -> str:
    """Return a path without what follows a `;` in its last segment, if addresses of the scheme have parameters.

    >>> without_parameters("https", "/a;b/c-1-0.conda;v=1"), without_parameters("file", "/c.whl;v=1")
    ('/a;b/c-1-0.conda', '/c.whl;v=1')
    """
    directory, slash, name = path.rpartition("/")
    return directory + slash + name.partition(";")[0] if scheme in uses_params else path


@dataclass(frozen=True, slots=True)
class Access:
    """What a request needs and no record may contain. Its repr is blank; read the fields only to make the request.

    Attributes:
        username: User name for basic authentication, percent-decoded.
        password: Its password.
        query: The URL's query (a signature, often), without the question mark.
        token: conda's token, from the path part `/t/TOKEN`.
        token_at: Its position, in characters from the beginning of the path without it.
    """

    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    query: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    token_at: int = field(default=0, repr=False)

    def __bool__(self) -> bool:
        return self.username is not None or bool(self.query or self.token)

    @classmethod
    def of(cls, address: str) -> Access:
        """Return token and query of an address, which may be a channel's."""
        path, _, query = address.partition("#")[0].partition("?")
        _scheme, _, rest = path.partition("://")
        _host, slash, below = rest.partition("/")
        token = _TOKEN.search(slash + below)
        return cls(query=query, token=token["token"] if token else "", token_at=token.start() if token else 0)

    def requested(self, url: PackageURL) -> PackageURL:
        """Return the URL to request; it contains the token, so it may only be sent to its own host."""
        if not self.token:
            return url
        return replace(url, path=f"{url.path[: self.token_at]}/t/{self.token}{url.path[self.token_at :]}")


@dataclass(frozen=True, slots=True)
class PackageURL:
    """Where an archive is published: scheme, host, port and path, nothing else.

    Attributes:
        scheme: `http`, `https` or `file`.
        host: Lower-case host name; empty for `file`.
        port: As written in the URL, None if it was not.
        path: Percent-encoded as written, with the leading slash.

    >>> url, access = PackageURL.parse("https://me:pw@Conda.Example:8443/t/x/ch/noarch/a-1-0.conda?sig=1#frag")
    >>> str(url)
    'https://conda.example:8443/ch/noarch/a-1-0.conda'
    >>> access
    Access()
    """

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def parse(cls, text: str) -> tuple[PackageURL, Access]:
        """Split a URL into the part that may be recorded and the secrets.

        Raises:
            UsageError: Not an http, https or file URL with a path.
        """
        parts = split_address(text)
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
        username, path = not_redacted(parts.username), parts.path
        password = not_redacted(parts.password) if username is not None else None
        token = _TOKEN.search(path) if path.endswith(CONDA_FILES) else None
        if token is not None:
            path = path[: token.start()] + path[token.end() :]
        access = Access(
            username=unquote(username) if username is not None else None,
            password=unquote(password) if password is not None else None,
            query=parts.query,
            token=token["token"] if token is not None else "",
            token_at=token.start() if token is not None else 0,
        )
        return cls(parts.scheme, (parts.hostname or "").lower(), parts.port, path), access

    @property
    def netloc(self) -> str:
        """Host, and the port if the URL has one; IPv6 in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def filename(self) -> str:
        """Last path component without parameters, percent-decoded."""
        return unquote(without_parameters(self.scheme, self.path).rpartition("/")[2])

    @property
    def origin(self) -> str:
        """Scheme, host and port: what a connection budget counts by."""
        return f"{self.scheme}://{self.netloc}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.netloc}{self.path}"
