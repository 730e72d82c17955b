"""The receipts of a store beside its archives: which archive has none, and which receipt no archive?"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Final

from asynccache.store import layout
from asynccache.store.base import Store
from asynccache.store.key_range import KeyRange

RECEIPTS: Final = f"{layout.OWN}/receipts/"


class ReceiptsOfArchives:
    """The receipts of a range, in the order of their archives' keys; reports those without an archive.

    Args:
        store: An open store.
        dirname: Directory of the packages.
        keys: The range of the archives.
        orphan: Called with the key of each receipt without an archive.

    Attributes:
        count: How many were listed so far.
    """

    def __init__(self, store: Store, dirname: str, keys: KeyRange, orphan: Callable[[str], None]) -> None:
        self.count = 0
        self._store = store
        self._dirname = dirname
        self._listing = self._listed(keys.moved(f"{dirname}/", RECEIPTS))
        self._orphan = orphan
        self._next: str | None = ""

    async def has(self, name: str) -> bool:
        """Return whether an archive has a receipt, given its key below the packages; to be called in the order of the
        store.
        """
        while self._next is not None and await self._passed(self._next, name):
            await self._step()
        if self._next != name:
            return False
        self._next = await anext(self._listing, None)
        return True

    async def to_the_end(self) -> None:
        """Report all receipts that are left."""
        while self._next is not None:
            await self._step()

    async def aclose(self) -> None:
        """End the listing."""
        await self._listing.aclose()

    async def _passed(self, receipt: str, name: str) -> bool:
        """Return whether a listing that has reached an archive has passed the archive of a receipt.

        Stores order keys by bytes or by segments (see `key_range`). Where that makes a difference the store is asked:
        if the archive existed and had been passed, its receipt would have been found.
        """
        before = receipt < name
        if before == (receipt.split("/") < name.split("/")) or receipt == name:
            return before
        return await self._store.head(f"{self._dirname}/{receipt}") is None

    async def _step(self) -> None:
        if self._next:
            self._orphan(f"{RECEIPTS}{self._next}.json")
        self._next = await anext(self._listing, None)

    async def _listed(self, keys: KeyRange) -> AsyncGenerator[str]:
        async for info in keys.scan(self._store, RECEIPTS):
            self.count += 1
            yield info.key.removeprefix(RECEIPTS).removesuffix(".json")
