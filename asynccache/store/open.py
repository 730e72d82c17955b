"""Opening the store that lies at a root."""

from __future__ import annotations

from typing import Final

from asynccache.config import Settings
from asynccache.errors import ConfigurationError
from asynccache.model.dataclass import dataclass
from asynccache.model.root import StoreRoot
from asynccache.store.base import Store
from asynccache.store.local import LocalStore

_LATER: Final = {"azure": "Azure Blob Storage", "gs": "Google Cloud Storage"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How to reach a store; what does not concern its kind is ignored.

    Attributes:
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

    profile: str | None = None
    region: str | None = None
    connections: int = 64
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    attempts: int = 5
    part_bytes: int = 8 << 20
    parts_at_once: int = 4


def store_options(settings: Settings) -> StoreOptions:
    """Return what a store needs of the settings."""
    return StoreOptions(
        profile=settings.s3_profile,
        region=settings.s3_region,
        connections=settings.store_connections,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        attempts=settings.attempts,
    )


def open_store(root: StoreRoot, options: StoreOptions | None = None, *, may_be_absent: bool = True) -> Store:
    """Return the store of a root, to be opened with `async with`. Nothing is read or written before that.

    Opening makes nothing: neither a directory, which the first write makes, nor ever a bucket.

    Args:
        root: Where it lies.
        options: How to reach it.
        may_be_absent: Whether a directory that is not there is an empty store. Say no for what only reads from a store
            that somebody has named, where an absent one means a mistyped path (see `ops.opening`).

    Raises:
        ConfigurationError: Of a kind that this version does not support.
    """
    if root.kind == "local":
        return LocalStore(root.directory, may_be_absent=may_be_absent)
    if root.kind == "s3":
        # a local store must not pay for importing the client
        from asynccache.store.s3 import S3Store  # noqa: PLC0415

        return S3Store(root, options or StoreOptions())
    raise ConfigurationError(
        f"{_LATER.get(root.kind, root.kind)} is not supported in this version, so {root} cannot be the store",
        expected="a directory or s3://bucket/prefix",
    )
