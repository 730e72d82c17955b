"""A store in memory that cannot be read at chosen keys."""

from __future__ import annotations

from pathlib import Path

from asynccache.errors import StoreError
from asynccache.store.base import BytesMoved, ObjectInfo
from asynccache.store.memory import MemoryStore


class FailingStore(MemoryStore):
    """Holds objects, and fails as a store does that is in trouble.

    Attributes:
        failing: Keys at which nothing can be read.
    """

    def __init__(self, address: str = "memory:") -> None:
        super().__init__(address)
        self.failing: set[str] = set()

    def another(self) -> FailingStore:
        """See `Store.another`; it fails as this one does."""
        other = FailingStore(self._address)
        self.share(other)
        other.failing = self.failing
        return other

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        self._fail(key)
        return await super().head(key)

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        self._fail(key)
        return await super().get(key, start=start, length=length)

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`."""
        self._fail(key)
        return await super().download(key, path, size=size, moved=moved)

    def _fail(self, key: str) -> None:
        if key in self.failing:
            raise StoreError(f"{key} cannot be read now")
