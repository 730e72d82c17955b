"""The `Store` seam: what the engine needs of an object store, and nothing more.

A key is a relative path of non-empty segments separated by `/`, without `.` and `..` segments. An object is visible
in its final state or not at all. Every implementation passes one conformance suite (tests/store).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from asynccache.errors import ObjectNotFoundError, PreconditionFailedError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot

BytesMoved = Callable[[int], None]
"""Called with the number of bytes that just moved."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store says of an object without reading it.

    Attributes:
        key: Relative to the store's root.
        size: In bytes.
        etag: Opaque version for compare-and-swap (`put(if_match=...)`); None where a listing does not give one.
        modified: Seconds since the epoch; None where unknown.
    """

    key: str
    size: int
    etag: str | None = None
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store promises beyond reading and writing.

    Attributes:
        conditional_put: `if_absent` and `if_match` are atomic among all writers of the store.
    """

    conditional_put: bool


class Store(Protocol):
    """An object store below one root. Open it with `async with`; all calls are safe to make concurrently.

    Every call raises `StoreError` when the store cannot be reached or refuses, with the store's address (never its
    credentials), the key, and what to do. Cancelling a call leaves no partial object.
    """

    @property
    def root(self) -> StoreRoot:
        """Where the store lies; its `identity` keys what is remembered about the store."""
        ...

    @property
    def address(self) -> str:
        """The root as the user writes it, without credentials: a path or `s3://bucket/prefix`."""
        ...

    @property
    def requests(self) -> int:
        """How many requests were sent so far; file operations for a local store."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @property
    def lists_by_page(self) -> bool:
        """Whether a listing is a request of up to 1000 keys, so that neighbouring prefixes are better listed together.

        False where asking for each prefix by itself is cheaper, as on a file system.
        """
        ...

    def another(self) -> Store:
        """Return the same store, to be opened anew: it shares nothing with this one, connections least of all."""
        ...

    async def capabilities(self) -> Capabilities:
        """Find out what this store promises, by trying where it cannot be known; the answer is remembered."""
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, None when there is none."""
        ...

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a small object, or `length` bytes of one from `start`; fewer, or none, where the object ends before.

        Raises:
            ObjectNotFoundError: No such object.
        """
        ...

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """Write an object to a local file in bounded memory; return its size in bytes.

        The file is created or truncated. When `size` is known and large, ranges are read in parallel. The bytes are
        not verified here: the caller knows the digest. On any failure or cancellation the file may be left partial
        and the caller removes it.

        Raises:
            ObjectNotFoundError: No such object.
        """
        ...

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> ObjectInfo:
        """Write a small object atomically.

        Args:
            key: Where.
            data: Not empty: an empty object counts as a directory for other readers of the cache.
            if_absent: Only when no object has this key.
            if_match: Only when the object's etag is this one.

        Raises:
            UsageError: `data` is empty, or both conditions are given.
            PreconditionFailedError: The condition does not hold.
        """
        ...

    async def upload(
        self,
        key: str,
        path: Path,
        digests: Digests,
        *,
        if_absent: bool = True,
        if_match: str | None = None,
        consume: bool = False,
        moved: BytesMoved | None = None,
    ) -> ObjectInfo:
        """Publish a local file of any size atomically and in bounded memory.

        Args:
            key: Where.
            path: The file.
            digests: Its size and digests, computed by the caller; a store that can verify one on arrival does.
            if_absent: Only when no object has this key.
            if_match: In its place: only when the object's etag is this one.
            consume: The caller gives the file away: a store in the same file system takes it instead of copying it,
                and after success it may be gone. On failure, and without `consume`, the file stays as it is.
            moved: Told of progress, in bytes; what is sent again after a failure counts again.

        Raises:
            UsageError: The file is empty.
            PreconditionFailedError: The condition does not hold.
            IntegrityError: The store received other bytes than `digests` says.
        """
        ...

    def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in ascending order of the UTF-8 bytes of their keys.

        Args:
            prefix: Text, not a directory: `packages/conda/` and `packages/co` are both valid.
            start_after: Only keys greater than this one.
        """
        ...

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """Return the first objects of `scan(prefix, start_after=start_after)`, with one request.

        At most `limit` and at most 1000; a page shorter than `min(limit, 1000)` is the last one.
        """
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; removing what is not there is not an error."""
        ...

    async def move(self, key: str, new_key: str) -> None:
        """Give an object another key, overwriting what is there (used to set damaged objects aside).

        Not atomic on object stores: the new object is complete before the old one goes.

        Raises:
            ObjectNotFoundError: No such object.
        """
        ...


def checked_put(address: str, key: str, size: int, *, if_absent: bool, if_match: str | None) -> None:
    """Refuse a write that no store may make.

    Raises:
        UsageError: A malformed key, an empty object, or both conditions at once.
    """
    checked_key(key)
    if size == 0:
        raise UsageError(
            f"{key} cannot be stored in {address}: an empty object counts as a directory for other readers of the cache"
        )
    if if_absent and if_match is not None:
        raise UsageError(f"{key}: if_absent and if_match exclude each other")


def lost(address: str, key: str, *, if_match: str | None = None) -> PreconditionFailedError:
    """Return the error of a conditional write that lost."""
    if if_match is None:
        return PreconditionFailedError(f"{key} is in {address} already", hint="take what is there, or remove it first")
    return PreconditionFailedError(
        f"{key} in {address} is no longer the object that was read", hint="read it again and repeat the change"
    )


def not_found(address: str, key: str) -> ObjectNotFoundError:
    """Return the error of a read that found nothing."""
    return ObjectNotFoundError(f"{address} has no object {key}")


def checked_key(key: str) -> str:
    """Return the key, or refuse one that could leave the root or that no object may have.

    Raises:
        UsageError: The key is empty, absolute, has an empty, `.` or `..` segment, or holds a NUL or newline.
    """
    if not key or any(part in {"", ".", ".."} for part in key.split("/")) or any(c in key for c in "\0\n\r"):
        raise UsageError(f"{key!r} is not an object key", expected="non-empty segments separated by '/'")
    return key
