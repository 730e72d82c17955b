"""RemoteStore: what all stores behind a network have in common, whatever their protocol."""

from __future__ import annotations

import asyncio
import secrets
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, Self, TypeVar

from asynccache.errors import AsyncCacheError, StoreError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.runtime.threads import ThreadRoom
from asynccache.store.base import (
    ALWAYS,
    PAGE,
    BytesMoved,
    Condition,
    ObjectInfo,
    Store,
    checked_key,
    not_found,
    same_version,
)
from asynccache.store.download import Download, ReplacedError, requests_of
from asynccache.store.local_files import read_error
from asynccache.store.options import StoreOptions
from asynccache.store.request_counts import RequestCounts
from asynccache.store.requests import CallFailedError
from asynccache.store.transfer import Reader, Reading, Transfer, Wanted

T = TypeVar("T", bound=Transfer[Any])
_RESTARTS: Final = 3  # tries of a transfer whose object changed meanwhile


class Client(Reader, Protocol):
    """Makes the requests to one bucket or container, and counts them."""

    requests: int

    async def open(self) -> None:
        """Prepare; nothing is sent."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class Described:
    """What a store reports about an object without reading it.

    Attributes:
        info: Size, version, age; the key is the store's.
        writer: The writer recorded in its metadata; None if there is none.
    """

    info: ObjectInfo
    writer: str | None


class RemoteStore(Store):
    """Objects below a prefix of a bucket or container.

    Args:
        root: Their root.
        options: How to reach them.
        client: Makes the requests.
        smallest_part: Smallest size of a part, in bytes.
    """

    _no_version: ClassVar[str] = '"00000000000000000000000000000000"'
    """Well formed, and of no object."""

    def __init__(self, root: StoreRoot, options: StoreOptions, client: Client, smallest_part: int = 0) -> None:
        super().__init__(root)
        self._options = options
        self._prefix = f"{root.path}/" if root.path else ""
        self._requester = client
        self._threads = ThreadRoom(4, "asynccache-store")
        self._part_bytes = max(options.part_bytes, smallest_part)
        self._deletes_same: bool | None = None  # whether the service honours a version in a removal; None until tried
        self._trying = asyncio.Lock()

    @property
    def requests(self) -> int:
        """Number of HTTP requests sent, including retries."""
        return self._requester.requests

    async def __aenter__(self) -> Self:
        await self._requester.open()
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._requester.close()
        finally:
            self._threads.close()

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        with self._errors(checked_key(key)):
            found = await self._describe(key)
        return None if found is None else found.info

    async def _own(self, key: str, writer: str) -> ObjectInfo | None:
        """Return the properties of an object if this writer wrote it; None if it is another's.

        Called whenever a condition fails, since an earlier try may have succeeded and its answer been lost; not only
        after our own retries, as aiohttp repeats a request by itself if a kept-alive connection breaks.
        """
        with self._errors(key):
            found = await self._describe(key)
        return found.info if found is not None and found.writer == writer else None

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        # a range cannot be empty; the object must exist all the same
        wanted = Wanted(start, None if length is None else start + max(length, 1))

        async def receive(answer: Reading) -> bytes:
            return bytes(await answer.body.read())

        try:
            data = await self._requester.read(
                self._prefix + checked_key(key), lambda: wanted, receive, length or 1 << 20
            )
        except CallFailedError as exc:
            if exc.beyond:
                return b""
            raise self._error(exc, key) from exc.cause
        return data[:length]

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`. An object that is replaced meanwhile is read again from its beginning."""
        checked_key(key)
        for _ in range(_RESTARTS):
            try:
                return await self._transfer(Download, key, path, moved, self._requester).run(size)
            except ReplacedError:
                continue
            except CallFailedError as exc:
                if exc.lost:
                    continue
                if exc.beyond:  # an empty object has no range
                    return 0
                raise self._error(exc, key) from exc.cause
        raise StoreError(f"{key} in {self._address} is replaced again and again while it is read")

    def cost_of_reading(self, size: int) -> RequestCounts:
        """See `Store.cost_of_reading`."""
        return RequestCounts(get=requests_of(size, self._part_bytes))

    def cost_of_writing(self, size: int) -> RequestCounts:
        """See `Store.cost_of_writing`."""
        if size <= 2 * self._part_bytes:
            return RequestCounts(put=1)
        return RequestCounts(head=1, put=self._requests_in_parts(size))

    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        return await self._put_whole(key, data, Digests(), condition)

    async def _put_whole(self, key: str, data: bytes, digests: Digests, condition: Condition) -> ObjectInfo:
        writer = secrets.token_hex(16)
        sent = await self._atomic(condition, key)
        try:
            etag = await self._send(key, data, digests, sent, writer)
        except CallFailedError as exc:
            own = await self._own(key, writer) if exc.lost else None
            if own is None:
                raise self._error(exc, key, condition) from exc.cause
            return own
        return ObjectInfo(key, len(data), etag)

    async def _atomic(self, condition: Condition, key: str) -> Condition:
        """Return the condition to send to the server; if the server ignores conditions, check before writing."""
        if condition and not (await self.capabilities()).conditional_put:
            condition.check(self._address, key, await self.head(key))
            return ALWAYS
        return condition

    async def _upload(
        self, key: str, path: Path, digests: Digests, condition: Condition, *, consume: bool, moved: BytesMoved | None
    ) -> ObjectInfo:
        """Send small files in one request, large ones in parts; the server verifies either."""
        del consume
        try:
            size = (await self._threads.run(path.stat)).st_size
            self._check_put(key, size)
            digests.check(Digests(size=size), str(path), hint="the file has changed; make it again")
            if size > 2 * self._part_bytes:
                return await self._upload_parts(key, path, size, digests, condition, moved)
            data = await self._threads.run(path.read_bytes)
        except OSError as exc:
            raise read_error(path, exc) from exc
        info = await self._put_whole(key, data, digests, condition)
        if moved is not None:
            moved(size)
        return info

    async def _upload_parts(
        self, key: str, path: Path, size: int, digests: Digests, condition: Condition, moved: BytesMoved | None
    ) -> ObjectInfo:
        if condition:
            # checking first saves the transfer; the condition is checked again by the server
            condition.check(self._address, key, await self.head(key))
        sent = await self._atomic(condition, key)
        for attempt in range(1, _RESTARTS + 1):
            writer = secrets.token_hex(16)
            try:
                return ObjectInfo(key, size, await self._send_file(key, path, size, digests, sent, writer, moved))
            except CallFailedError as exc:
                # the upload is gone: completed by a try whose answer was lost, or removed by another process
                own = await self._own(key, writer) if exc.gone or exc.lost else None
                if own is not None:
                    return own
                if attempt == _RESTARTS or not exc.gone:
                    raise self._error(exc, key, condition) from exc.cause
        raise AssertionError("the last attempt returns or raises")

    def _transfer(self, kind: type[T], key: str, path: Path, moved: BytesMoved | None, client: Any) -> T:
        return kind(
            client=client,
            threads=self._threads,
            key=self._prefix + key,
            path=path,
            part_bytes=self._part_bytes,
            at_once=self._options.parts_at_once,
            moved=moved,
        )

    def _requests_in_parts(self, size: int) -> int:
        """Return how many requests `_send_file` makes: one for each part, and one that begins or completes them."""
        return -(-size // self._part_bytes) + 1

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""
        limit = min(limit, PAGE)
        infos: list[ObjectInfo] = []
        while len(infos) < limit:
            # after the prefix itself, which some tools create as an empty object
            after = self._prefix + (infos[-1].key if infos else start_after)
            with self._errors(""):
                found, more = await self._page(self._prefix + prefix, after, limit - len(infos))
            infos += found
            # a server may send less than was requested; only it knows whether that was all
            if not found or not more:
                break
        return infos

    async def _delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            await self._remove(checked_key(key))
        except CallFailedError as exc:
            if not exc.absent:
                raise self._error(exc, key) from exc.cause

    async def _delete_same(self, key: str, known: ObjectInfo | None) -> bool:
        """See `Store.delete`: one request with the version if the service honours it, which the first one shows."""
        if known is None or known.etag is None:
            return await super()._delete_same(key, known)
        checked_key(key)
        async with self._trying:
            if self._deletes_same is None:
                there = await self.head(key)
                if there is None or not same_version(there, known):
                    return False
                if await self._removed_as_another(key):
                    return True
        if not self._deletes_same:
            return await super()._delete_same(key, known)
        return await self._removed(key, known.etag)

    async def _removed_as_another(self, key: str) -> bool:
        """Try to remove an object to be deleted with a wrong version: a service that does so ignores versions."""
        try:
            await self._remove(key, self._no_version)
        except CallFailedError as exc:
            if not exc.lost and not exc.unsupported and not exc.absent:
                raise self._error(exc, key) from exc.cause
            self._deletes_same = None if exc.absent else exc.lost
            return False
        self._deletes_same = False
        return True

    async def _removed(self, key: str, etag: str) -> bool:
        """Remove an object of this version; return whether it was there."""
        try:
            await self._remove(key, etag)
        except CallFailedError as exc:
            if exc.lost or exc.absent:
                return False
            raise self._error(exc, key) from exc.cause
        return True

    async def _move(self, key: str, new_key: str) -> None:
        """See `Store.move`; the server copies."""
        checked_key(key)
        checked_key(new_key)
        if key == new_key:
            if await self.head(key) is None:
                raise not_found(self._address, key)
            return
        with self._errors(key):
            await self._copy(key, new_key)
        await self._delete(key)

    @contextmanager
    def _errors(self, key: str) -> Iterator[None]:
        try:
            yield
        except CallFailedError as exc:
            raise self._error(exc, key) from exc.cause

    @abstractmethod
    async def _describe(self, key: str) -> Described | None:
        """Request an object's properties; None if there is none. This and the following methods raise
        `CallFailedError`.
        """

    @abstractmethod
    async def _send(self, key: str, data: bytes, digests: Digests, condition: Condition, writer: str) -> str:
        """Write an object in one request that the server verifies; return its etag.

        Args:
            key: Where.
            data: The bytes.
            digests: Their known digests.
            condition: Condition under which the server may write.
            writer: Kept in the object's metadata.
        """

    @abstractmethod
    async def _send_file(
        self, key: str, path: Path, size: int, digests: Digests, condition: Condition, writer: str,
        moved: BytesMoved | None,
    ) -> str:  # fmt: skip
        """Write an object in parts; return its etag. However it ends early, it leaves nothing at the server."""

    @abstractmethod
    async def _page(self, prefix: str, after: str, limit: int) -> tuple[list[ObjectInfo], bool]:
        """List objects of the bucket after a key with one request; return whether there are more."""

    @abstractmethod
    async def _remove(self, key: str, etag: str | None = None) -> None:
        """Remove an object, only of this version if the service honours that."""

    @abstractmethod
    async def _copy(self, key: str, new_key: str) -> None:
        """Copy an object, which is complete before it becomes visible."""

    @abstractmethod
    def _error(self, failure: CallFailedError, key: str, condition: Condition = ALWAYS) -> AsyncCacheError:
        """Return the error for a failed request."""
