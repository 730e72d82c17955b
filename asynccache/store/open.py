"""Opening a store by its root: a path, `file://`, or `s3://bucket/prefix`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.errors import ConfigurationError
from asynccache.model.url import redacted
from asynccache.store.base import Store
from asynccache.store.local import LocalStore

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/")
_SUPPORTED: Final = "a path, file:///path or s3://bucket/prefix"
_LATER: Final = {"az": "Azure Blob Storage", "azure": "Azure Blob Storage", "gs": "Google Cloud Storage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How to reach a store; what does not concern its kind is ignored.

    Attributes:
        endpoint_url: Address of a private S3 server; implies path-style addressing.
        profile: AWS profile; None as AWS tools decide.
        region: AWS region; None as AWS tools decide.
        connections: Connections at once.
        connect_timeout: Seconds to wait for a connection.
        read_timeout: Seconds without a byte after which an answer counts as stalled.
        attempts: Tries of one request, the first included; a refusal because of the rate is repeated for up
            to two minutes.
        part_bytes: Size from which objects move in parts, and of the parts, in bytes; at least 5 MiB on S3.
        parts_at_once: Parts of one object moving at once.
    """

    endpoint_url: str | None = None
    profile: str | None = None
    region: str | None = None
    connections: int = 64
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    attempts: int = 5
    part_bytes: int = 8 << 20
    parts_at_once: int = 4


def open_store(root: str, options: StoreOptions | None = None) -> Store:
    """Return the store of a root, to be opened with `async with`. Nothing is read or written before that.

    Args:
        root: A path (`~` is expanded), `file:///path` or `s3://bucket/prefix`.
        options: How to reach it.

    Raises:
        ConfigurationError: Not a root, or of a kind that this version does not support.
    """
    match = _SCHEME.match(root)
    if match is None:
        if not root.strip():
            raise ConfigurationError("the store's root is empty", expected=_SUPPORTED)
        return LocalStore(Path(root))
    scheme = match["scheme"].lower()
    if scheme == "file":
        return LocalStore(_file_path(root))
    if scheme == "s3":
        # a local store must not pay for importing the client
        from asynccache.store.s3 import S3Store  # noqa: PLC0415

        return S3Store(root, options or StoreOptions())
    if scheme in _LATER:
        raise ConfigurationError(
            f"{_LATER[scheme]} is not supported in this version, so {redacted(root)} cannot be the store",
            expected=_SUPPORTED,
        )
    raise ConfigurationError(
        f"{redacted(root)} cannot be the store", expected=_SUPPORTED, found=f"the scheme {scheme}://"
    )


def _file_path(root: str) -> Path:
    parts = urlsplit(root)
    if parts.netloc not in {"", "localhost"} or not parts.path.strip("/"):
        raise ConfigurationError(f"{redacted(root)} cannot be the store", expected="file:/// and an absolute path")
    return Path(unquote(parts.path))
