"""A store whose requests are counted by kind, and to which nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn, Self

from asynccache.model.digest import Digests
from asynccache.store.base import BytesMoved, Condition, ObjectInfo, Store, Unfinished
from asynccache.store.request_counts import RequestCounts


class CountedStore(Store):
    """Reads another store, for finding out what something would do there. Writing is a defect.

    Args:
        store: An open store.
        counts: Takes the requests; None to begin at nothing.

    Attributes:
        counts: What was asked so far.
    """

    def __init__(self, store: Store, counts: RequestCounts | None = None) -> None:
        super().__init__(store.root)
        self.counts = counts or RequestCounts()
        self._store = store
        self.lists_by_page = store.lists_by_page  # type: ignore[misc]  # that of the other one's class
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
        """See `Store.another`; it counts for this one."""
        return CountedStore(self._store.another(), self.counts)

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
        """Nothing is written here."""
        raise self._defect(upload.key)

    async def _delete(self, key: str) -> NoReturn:
        raise self._defect(key)

    async def _move(self, key: str, new_key: str) -> NoReturn:
        del new_key
        raise self._defect(key)

    async def _put(self, key: str, data: bytes, condition: Condition) -> NoReturn:
        del data, condition
        raise self._defect(key)

    async def _upload(
        self, key: str, path: Path, digests: Digests, condition: Condition, *, consume: bool, moved: BytesMoved | None
    ) -> NoReturn:
        del path, digests, condition, consume, moved
        raise self._defect(key)

    def _defect(self, key: str) -> AssertionError:
        return AssertionError(f"{key} would be changed in {self.address} by what only looks")
