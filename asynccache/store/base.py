"""The `Store` seam: what the engine needs of an object store, and nothing more.

A key is a relative path of non-empty segments separated by `/`, without `.` and `..` segments. An object is visible
in its final state or not at all. Every implementation passes one conformance suite (tests/store).
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, Self

from asynccache.errors import ObjectNotFoundError, PreconditionFailedError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.store.request_counts import RequestCounts

if TYPE_CHECKING:
    from asynccache.store.admission import Admission

PAGE: Final = 1000  # most objects in one page of a listing, as in object stores
BytesMoved = Callable[[int], None]
"""Called with the number of bytes that just moved."""


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store reports about an object without reading it.

    Attributes:
        key: Relative to the store's root.
        size: In bytes.
        etag: Opaque version for compare-and-swap (`put(if_match=...)`); None if a listing does not give one.
        modified: Seconds since the epoch; None if unknown.
    """

    key: str
    size: int
    etag: str | None = None
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An upload that was begun and not completed: it takes space and is not visible.

    Attributes:
        key: The key it would have got, relative to the store's root.
        upload_id: The server's name for it.
        begun: Seconds since the epoch.
    """

    key: str
    upload_id: str
    begun: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store guarantees beyond reading and writing.

    Attributes:
        conditional_put: `if_absent` and `if_match` are atomic among all writers of the store.
    """

    conditional_put: bool


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a write; by default none.

    Attributes:
        if_absent: No object has the key.
        if_match: The object has this etag.
    """

    if_absent: bool = False
    if_match: str | None = None

    def __bool__(self) -> bool:
        return self.if_absent or self.if_match is not None

    def check(self, address: str, key: str, there: ObjectInfo | None) -> None:
        """Check that it holds for the object of a key.

        Raises:
            PreconditionFailedError: It does not.
        """
        if self.if_absent and there is not None:
            raise self.lost(address, key)
        if self.if_match is not None and (there is None or there.etag != self.if_match):
            raise self.lost(address, key)

    def lost(self, address: str, key: str) -> PreconditionFailedError:
        """Return the error of a write whose condition failed."""
        if self.if_match is None:
            return PreconditionFailedError(
                f"{key} is in {address} already", hint="take what is there, or remove it first"
            )
        return PreconditionFailedError(
            f"{key} in {address} is no longer the object that was read", hint="read it again and repeat the change"
        )


ALWAYS: Final = Condition()


class Store(ABC):
    """An object store below one root. Open it with `async with`; all calls are safe to make concurrently.

    Every call raises `StoreError` when the store cannot be reached or refuses, with the store's address (never its
    credentials), the key, and what to do. Cancelling a call leaves no partial object.

    Args:
        root: Its root; its `identity` is the key of what is remembered about the store.

    Attributes:
        lists_by_page: Whether a listing is a request of up to 1000 keys, so that neighbouring prefixes are better
            listed together. False if listing each prefix by itself is cheaper, as on a file system.
        lists_from_anywhere: Whether a listing may begin at any key; False if earlier entries are read and skipped.
        holds_empty_segments: Whether a key may have empty segments (`a//b`), as those of some addresses have.
    """

    lists_by_page: ClassVar[bool] = True
    lists_from_anywhere: ClassVar[bool] = True
    holds_empty_segments: ClassVar[bool] = True

    def __init__(self, root: StoreRoot) -> None:
        self._root = root
        self._address = str(root)
        self._requests = 0
        self._capabilities: Capabilities | None = None
        self._probing = asyncio.Lock()
        self._admission: Admission | None = None
        self._admitting = asyncio.Lock()

    @property
    def root(self) -> StoreRoot:
        """Where the store is."""
        return self._root

    @property
    def address(self) -> str:
        """The root as the user writes it, without credentials: a path or `s3://bucket/prefix`."""
        return self._address

    def timestamp(self) -> float:
        """Return the time in seconds since the epoch, as the store would give a new object, up to clock differences."""
        return time.time()

    @property
    def asked_with(self) -> str | None:
        """Which identity is used, as text for people: never a secret; None if there is nothing to say."""
        return None

    @property
    def requests(self) -> int:
        """Number of requests sent so far; for a local store file operations, of which a page of a listing is one."""
        return self._requests

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    def admit(self, admission: Admission | None) -> None:
        """Set who decides (None: no one) before the first write whether this client may write, and records that it
        does.
        """
        self._admission = admission

    async def _may_write(self) -> None:
        admission = self._admission
        if admission is None:
            return
        async with self._admitting:
            if self._admission is not admission:  # another call has just been admitted
                return
            await admission.check(self)
            self._admission = None
        await admission.mark(self)

    @abstractmethod
    def another(self) -> Store:
        """Return the same store, to be opened again: it shares nothing with this one, in particular no connections."""

    async def capabilities(self, *, again: bool = False) -> Capabilities:
        """Find out what this store guarantees, by trying if it is not known; the answer is remembered.

        Args:
            again: Try it even if an answer is remembered.
        """
        async with self._probing:
            if self._capabilities is None or again:
                self._capabilities = Capabilities(conditional_put=await self._honours_conditions(again=again))
        return self._capabilities

    @abstractmethod
    async def head(self, key: str) -> ObjectInfo | None:
        """Return the properties of an object; None if there is none."""

    @abstractmethod
    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """Read a small object, or `length` bytes of one from `start`; fewer, or none, if the object ends before.

        Raises:
            ObjectNotFoundError: No such object.
        """

    @abstractmethod
    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """Write an object to a local file in bounded memory; return its size in bytes.

        The file is created or truncated. When `size` is known and large, ranges are read in parallel. The bytes are
        not verified here: the caller knows the digest. On any failure or cancellation the file may be left partial
        and the caller removes it.

        Raises:
            ObjectNotFoundError: No such object.
        """

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> ObjectInfo:
        """Write a small object atomically.

        Args:
            key: Its key.
            data: Not empty: an empty object counts as a directory for other readers of the cache.
            if_absent: Only if no object has this key.
            if_match: Only if the object has this etag.

        Raises:
            UsageError: `data` is empty, or both conditions are given.
            PreconditionFailedError: The condition does not hold.
        """
        if if_absent and if_match is not None:
            raise UsageError(f"{key}: if_absent and if_match exclude each other")
        self._check_put(key, len(data))
        await self._may_write()
        return await self._put(key, data, Condition(if_absent, if_match))

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
            key: Its key.
            path: The file.
            digests: Its size and digests, computed by the caller; a store that can verify one on arrival does so.
            if_absent: Only if no object has this key.
            if_match: Replace it, only if the object has this etag.
            consume: The caller gives the file away: a store in the same file system takes it instead of copying it,
                and after success it may be gone. On failure, and without `consume`, the file stays as it is.
            moved: Called with progress, in bytes; what is sent again after a failure counts again.

        Raises:
            UsageError: The file is empty.
            PreconditionFailedError: The condition does not hold.
            IntegrityError: The store received other bytes than `digests` says.
        """
        condition = Condition(if_absent and if_match is None, if_match)
        await self._may_write()
        return await self._upload(key, path, digests, condition, consume=consume, moved=moved)

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """Yield the objects whose key starts with `prefix`, in ascending order of the UTF-8 bytes of their keys.

        Args:
            prefix: Text, not a directory: `packages/conda/` and `packages/co` are both valid.
            start_after: Only keys greater than this one.
        """
        while True:
            page = await self.list_page(prefix, start_after=start_after)
            for info in page:
                yield info
            if len(page) < PAGE:
                return
            start_after = page[-1].key

    @abstractmethod
    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = PAGE) -> list[ObjectInfo]:
        """Return the first objects of `scan(prefix, start_after=start_after)`, with one request.

        At most `limit` and at most 1000; a page shorter than `min(limit, 1000)` is the last one.
        """

    async def delete(self, key: str, *, unless_changed: ObjectInfo | None = None) -> bool:
        """Remove an object; removing one that does not exist is not an error.

        Args:
            key: The key.
            unless_changed: What was known about it: another version is kept. Others may write in between only if a
                service ignores conditions on removals, or its listings have no etags: there this takes two requests.

        Returns:
            Whether it was removed; False if `unless_changed` is given and there is another version or none.
        """
        await self._may_write()
        return await self._delete_same(key, unless_changed)

    async def move(self, key: str, new_key: str) -> None:
        """Move an object to another key, overwriting an existing one (used to quarantine damaged objects).

        Not atomic on object stores: the new object is complete before the old one is removed.

        Raises:
            ObjectNotFoundError: No such object.
        """
        await self._may_write()
        await self._move(key, new_key)

    async def unfinished(self) -> list[Unfinished]:
        """Return the uncompleted uploads below the root, including those of other writers."""
        return []

    async def abandon(self, upload: Unfinished) -> None:
        """Abort an upload and free its parts; aborting one that does not exist is not an error."""
        del upload

    def cost_of_reading(self, size: int) -> RequestCounts:
        """Return the requests that `download` of an object of so many bytes takes without failures."""
        del size
        return RequestCounts(get=1)

    def cost_of_writing(self, size: int) -> RequestCounts:
        """Return the requests that `upload` of a file of so many bytes takes, likewise, when no object has the key."""
        del size
        return RequestCounts(put=1)

    def can_hold(self, key: str) -> bool:
        """Return whether this kind of store can have an object of a well-formed key, or below a prefix."""
        return self.holds_empty_segments or "//" not in key

    async def _honours_conditions(self, *, again: bool) -> bool:
        """Find out whether conditional writes are atomic among all writers; `again`: whatever is remembered."""
        del again
        return True

    async def _delete_same(self, key: str, known: ObjectInfo | None) -> bool:
        """Remove an object if it is unchanged; see `delete`."""
        if known is not None:
            there = await self.head(key)
            if there is None or not same_version(there, known):
                return False
        await self._delete(key)
        return True

    @abstractmethod
    async def _delete(self, key: str) -> None:
        """Remove an object; see `delete`."""

    @abstractmethod
    async def _move(self, key: str, new_key: str) -> None:
        """Move an object to another key; see `move`."""

    @abstractmethod
    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        """Write a small object; see `put`."""

    @abstractmethod
    async def _upload(
        self, key: str, path: Path, digests: Digests, condition: Condition, *, consume: bool, moved: BytesMoved | None
    ) -> ObjectInfo:
        """Publish a file whose size `_check_put` has not seen yet; see `upload`."""

    def _check_put(self, key: str, size: int) -> None:
        """Refuse a malformed key, one that this kind of store cannot hold, and an empty object."""
        if not self.can_hold(checked_key(key)):
            raise UsageError(
                f"{key} cannot be stored in {self._address}: this kind of store has no keys with empty segments ('//')",
                hint="write the address of its channel or index without the doubled '/'",
            )
        if size == 0:
            raise UsageError(
                f"{key} cannot be stored in {self._address}: an empty object counts as a directory for other readers"
                " of the cache"
            )


def same_version(one: ObjectInfo, other: ObjectInfo) -> bool:
    """Return whether two answers of a store are about the same version of an object.

    Compares their etags if both have one, which not all listings do; otherwise size and time, which a store may give
    with different precision in different answers.
    """
    if one.etag is not None and other.etag is not None:
        return one.etag == other.etag
    if one.size != other.size:
        return False
    return one.modified is None or other.modified is None or int(one.modified) == int(other.modified)


def not_found(address: str, key: str) -> ObjectNotFoundError:
    """Return the error of a read that found nothing."""
    return ObjectNotFoundError(f"{address} has no object {key}")


def checked_key(key: str) -> str:
    """Return the key, or refuse one that could leave the root or that no object may have.

    Raises:
        UsageError: The key is empty, begins or ends with a slash, has a `.` or `..` segment, or holds a NUL or newline.
    """
    segments = key.split("/")
    if not segments[0] or not segments[-1] or not {".", ".."}.isdisjoint(segments) or any(c in key for c in "\0\n\r"):
        raise UsageError(
            f"{key!r} is not an object key", expected="segments separated by '/', none of them '.' or '..'"
        )
    return key
