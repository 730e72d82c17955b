"""Stores whose requests are counted by kind, and to which nothing is written."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, NoReturn, Self

from asynccache.model.digest import Digests
from asynccache.store.base import PAGE, BytesMoved, Condition, ObjectInfo, Store, Unfinished
from asynccache.store.key_set import KeySet
from asynccache.store.request_counts import RequestCounts

_KEPT: Final = 64 << 10  # bytes of an object that is written and may be read again


class CountedStore(Store):
    """Reads another store, to find out what an operation would do. Writing is a defect.

    Args:
        store: An open store.
        counts: Where requests are counted; None to start at zero.

    Attributes:
        counts: Requests so far.
    """

    def __init__(self, store: Store, counts: RequestCounts | None = None) -> None:
        super().__init__(store.root)
        self.counts = counts or RequestCounts()
        self._store = store
        self.lists_by_page = store.lists_by_page  # type: ignore[misc]  # that of the other store's class
        self.lists_from_anywhere = store.lists_from_anywhere  # type: ignore[misc]
        self.holds_empty_segments = store.holds_empty_segments  # type: ignore[misc]

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._store.__aexit__(*error)

    @property
    def requests(self) -> int:
        """See `Store.requests`."""
        return self._store.requests

    def another(self) -> CountedStore:
        """See `Store.another`; its requests are counted here."""
        return CountedStore(self._store.another(), self.counts)

    def timestamp(self) -> float:
        """See `Store.timestamp`."""
        return self._store.timestamp()

    def rehearsal(self) -> RehearsedStore:
        """Return one that counts with this one, and on which a command can be run without changing anything."""
        return RehearsedStore(self._store, self.counts)

    def cost_of_reading(self, size: int) -> RequestCounts:
        """See `Store.cost_of_reading`."""
        return self._store.cost_of_reading(size)

    def cost_of_writing(self, size: int) -> RequestCounts:
        """See `Store.cost_of_writing`."""
        return self._store.cost_of_writing(size)

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        self.counts.head += 1
        return await self._store.head(key)

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        self.counts.get += 1
        return await self._store.get(key, start=start, length=length)

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`."""
        read = await self._store.download(key, path, size=size, moved=moved)
        self.counts.get += self.cost_of_reading(read).get
        return read

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        """See `Store.list_page`."""
        self.counts.list += 1
        return await self._store.list_page(prefix, start_after=start_after, limit=limit)

    async def unfinished(self) -> list[Unfinished]:
        """See `Store.unfinished`."""
        self.counts.list += type(self._store).unfinished is not Store.unfinished
        return await self._store.unfinished()

    async def abandon(self, upload: Unfinished) -> NoReturn:
        """Refuse to write."""
        raise self._defect(upload.key)

    async def _delete(self, key: str) -> None:
        raise self._defect(key)

    async def _move(self, key: str, new_key: str) -> NoReturn:
        del new_key
        raise self._defect(key)

    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        del data, condition
        raise self._defect(key)

    async def _upload(
        self, key: str, path: Path, digests: Digests, condition: Condition, *, consume: bool, moved: BytesMoved | None
    ) -> NoReturn:
        del path, digests, condition, consume, moved
        raise self._defect(key)

    def _defect(self, key: str) -> AssertionError:
        return AssertionError(f"{key} would be changed in {self.address} by what only looks")


class RehearsedStore(CountedStore):
    """Looks as if everything had been done, and leaves the other store as it is.

    What is removed is hidden: eight bytes each. Small objects that are written can be read again, and are not listed.

    Attributes:
        removals: How many objects were removed as the version that was known: where a service heeds no versions, each
            takes a look before.
    """

    def __init__(self, store: Store, counts: RequestCounts | None = None) -> None:
        super().__init__(store, counts)
        self.removals = 0
        self._removed = KeySet()
        self._written: dict[str, tuple[ObjectInfo, bytes]] = {}

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        if key in self._written:
            self.counts.head += 1
            return self._written[key][0]
        found = await super().head(key)
        return None if key in self._removed else found

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        if key in self._written:
            self.counts.get += 1
            return self._written[key][1][start : None if length is None else start + length]
        return await super().get(key, start=start, length=length)

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`; what was removed is passed over, as if it had not been there."""
        self.counts.list += 1
        found: list[ObjectInfo] = []
        while len(found) < limit:
            page = await self._store.list_page(prefix, start_after=start_after, limit=limit)
            found += [info for info in page if info.key not in self._removed]
            if len(page) < limit:
                break
            start_after = page[-1].key
        return found[:limit]

    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        del condition
        self.counts.put += 1
        info = ObjectInfo(key, len(data), hashlib.sha256(data).hexdigest(), self.timestamp())
        if len(data) <= _KEPT:
            self._written[key] = (info, data)
        return info

    async def _delete(self, key: str) -> None:
        self.counts.delete += 1
        self._written.pop(key, None)
        self._removed.add(key)

    async def _delete_same(self, key: str, known: ObjectInfo | None) -> bool:
        self.removals += known is not None
        await self._delete(key)
        return True
