"""MemoryStore: the in-memory twin of every object store, for tests and for trying things out."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Self

from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, Hasher
from asynccache.model.root import StoreRoot
from asynccache.store.base import (
    BytesMoved,
    Capabilities,
    ObjectInfo,
    checked_key,
    checked_put,
    lost,
    not_found,
)
from asynccache.store.local_files import read_error, write_error

_PAGE = 1000  # objects; as object stores do


@dataclass(frozen=True, slots=True)
class _Object:
    data: bytes
    info: ObjectInfo


class MemoryStore:
    """Objects in a dictionary. What is decided is decided between two awaits, so every operation is atomic.

    Args:
        address: What messages call it.
    """

    def __init__(self, address: str = "memory:") -> None:
        self._address = address
        self._objects: dict[str, _Object] = {}
        self._keys: list[str] = []  # ascending
        self._versions = count(1)
        self._requests = 0

    @property
    def root(self) -> StoreRoot:
        """Its name, as that of all stores in memory."""
        return StoreRoot("memory", "", self._address)

    @property
    def address(self) -> str:
        """What messages call the store."""
        return self._address

    @property
    def requests(self) -> int:
        """How many operations were asked for; a scan counts one a page."""
        return self._requests

    @property
    def lists_by_page(self) -> bool:
        """Like the object stores that it stands for."""
        return True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def another(self) -> MemoryStore:
        """See `Store.another`; what is stored is the same."""
        other = MemoryStore(self._address)
        self.share(other)
        return other

    def share(self, other: MemoryStore) -> None:
        """Let another one hold the same objects."""
        other._objects, other._keys, other._versions = self._objects, self._keys, self._versions

    async def capabilities(self) -> Capabilities:
        """Conditional writes are atomic."""
        return Capabilities(conditional_put=True)

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
            await asyncio.to_thread(path.write_bytes, data)
        except OSError as exc:
            raise write_error(path, len(data), exc) from exc
        if moved is not None:
            moved(len(data))
        return len(data)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> ObjectInfo:
        """See `Store.put`."""
        checked_put(self._address, key, len(data), if_absent=if_absent, if_match=if_match)
        await self._request(key)
        return self._write(key, bytes(data), if_absent=if_absent, if_match=if_match)

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
        """See `Store.upload`; size and digests are verified."""
        del consume
        try:
            data = await asyncio.to_thread(path.read_bytes)
        except OSError as exc:
            raise read_error(path, exc) from exc
        if_absent = if_absent and if_match is None
        checked_put(self._address, key, len(data), if_absent=if_absent, if_match=if_match)
        await self._request(key)
        hasher = Hasher(*digests.algorithms())
        await asyncio.to_thread(hasher.update, data)
        digests.check(
            hasher.digests(), f"{key} as it arrived in {self._address}", hint="the file changed; fetch it anew"
        )
        info = self._write(key, data, if_absent=if_absent, if_match=if_match)
        if moved is not None:
            moved(len(data))
        return info

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See `Store.scan`; sees what is written behind its position while it runs."""
        while True:
            page = await self.list_page(prefix, start_after=start_after)
            for info in page:
                yield info
            if len(page) < _PAGE:
                return
            start_after = page[-1].key

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = _PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""
        self._requests += 1
        await asyncio.sleep(0)
        limit = min(limit, _PAGE)
        # code points sort as their UTF-8 bytes do
        position = max(bisect_left(self._keys, prefix), bisect_right(self._keys, start_after) if start_after else 0)
        page = []
        for key in self._keys[position : position + limit]:
            if not key.startswith(prefix):
                break
            page.append(self._objects[key].info)
        return page

    async def delete(self, key: str) -> None:
        """See `Store.delete`."""
        await self._request(key)
        self._remove(key)

    async def move(self, key: str, new_key: str) -> None:
        """See `Store.move`; atomic here."""
        checked_key(new_key)
        await self._request(key)
        data = self._found(key).data
        if new_key != key:
            self._write(new_key, data)
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

    def _write(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> ObjectInfo:
        there = self._objects.get(key)
        if if_absent and there is not None:
            raise lost(self._address, key)
        if if_match is not None and (there is None or there.info.etag != if_match):
            raise lost(self._address, key, if_match=if_match)
        info = ObjectInfo(key, len(data), f'"{next(self._versions)}"', time.time())
        self._objects[key] = _Object(data, info)
        if there is None:
            insort(self._keys, key)
        return info

    def _remove(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            del self._keys[bisect_left(self._keys, key)]
