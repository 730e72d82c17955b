"""MemoryStore: the in-memory twin of every object store, for tests and experiments."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable
from itertools import count
from pathlib import Path

from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, Hasher
from asynccache.model.root import StoreRoot
from asynccache.runtime.files import open_file
from asynccache.runtime.late_loop import in_thread
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
from asynccache.store.local_files import read_error, write_error


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    info: ObjectInfo


class MemoryStore(Store):
    """Objects in a dictionary. Every decision is made between two awaits, so every operation is atomic.

    Args:
        address: Its address in messages.
        now: Returns the time of writes, in seconds since the epoch.
    """

    def __init__(self, address: str = "memory:", now: Callable[[], float] = time.time) -> None:
        super().__init__(StoreRoot("memory", "", address))
        self._objects: dict[str, _Object] = {}
        self._keys: list[str] = []  # ascending
        self._versions = count(1)
        self._now = now

    def another(self) -> MemoryStore:
        """See `Store.another`; it holds the same objects."""
        other = MemoryStore(self._address, self._now)
        self.share(other)
        return other

    def timestamp(self) -> float:
        """See `Store.timestamp`."""
        return self._now()

    def share(self, other: MemoryStore) -> None:
        """Let another store hold the same objects."""
        other._objects, other._keys, other._versions = self._objects, self._keys, self._versions

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        await self._request(key)
        found = self._objects.get(key)
        return found.info if found else None

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        await self._request(key)
        data = self._found(key).data
        return data[start : None if length is None else start + length]

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`."""
        del size
        await self._request(key)
        data = self._found(key).data
        try:
            async with open_file(path, "wb") as file:
                await file.write(data)
        except OSError as exc:
            raise write_error(path, len(data), exc) from exc
        if moved is not None:
            moved(len(data))
        return len(data)

    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        await self._request(key)
        return self._write(key, bytes(data), condition)

    async def _upload(
        self, key: str, path: Path, digests: Digests, condition: Condition, *, consume: bool, moved: BytesMoved | None
    ) -> ObjectInfo:
        """Verify size and digests, too."""
        del consume
        try:
            async with open_file(path) as file:
                data = await file.read()
        except OSError as exc:
            raise read_error(path, exc) from exc
        self._check_put(key, len(data))
        await self._request(key)
        hasher = Hasher(*digests.algorithms())
        await in_thread(hasher.update, data)
        digests.check(
            hasher.digests(), f"{key} as it arrived in {self._address}", hint="the file changed; fetch it again"
        )
        info = self._write(key, data, condition)
        if moved is not None:
            moved(len(data))
        return info

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""
        self._requests += 1
        await asyncio.sleep(0)
        limit = min(limit, PAGE)
        # code points sort as their UTF-8 bytes do
        position = max(bisect_left(self._keys, prefix), bisect_right(self._keys, start_after) if start_after else 0)
        page = []
        for key in self._keys[position : position + limit]:
            if not key.startswith(prefix):
                break
            page.append(self._objects[key].info)
        return page

    async def _delete(self, key: str) -> None:
        await self._delete_same(key, None)

    async def _delete_same(self, key: str, known: ObjectInfo | None) -> bool:
        """See `Store.delete`."""
        await self._request(key)
        there = self._objects.get(key)
        if known is not None and (there is None or not same_version(there.info, known)):
            return False
        self._remove(key)
        return True

    async def _move(self, key: str, new_key: str) -> None:
        """See `Store.move`; atomic in this store."""
        checked_key(new_key)
        await self._request(key)
        data = self._found(key).data
        if new_key != key:
            self._write(new_key, data, ALWAYS)
            self._remove(key)

    async def _request(self, key: str) -> None:
        checked_key(key)
        self._requests += 1
        await asyncio.sleep(0)

    def _found(self, key: str) -> _Object:
        try:
            return self._objects[key]
        except KeyError:
            raise not_found(self._address, key) from None

    def _write(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        there = self._objects.get(key)
        condition.check(self._address, key, there.info if there else None)
        info = ObjectInfo(key, len(data), f'"{next(self._versions)}"', self._now())
        self._objects[key] = _Object(data, info)
        if there is None:
            insort(self._keys, key)
        return info

    def _remove(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
