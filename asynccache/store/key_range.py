"""A range of a store's keys, in the order in which the store lists them.

Servers order keys by their bytes, as the S3 protocol says, or segment by segment (SeaweedFS): `a-b/x` and `a/x` are
swapped. A listing of two objects with known keys shows which of the two a server uses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Literal

from asynccache.model.dataclass import dataclass
from asynccache.store.base import ObjectInfo, Store

Order = Literal["bytes", "segments"]
LAST: Final = "\U0010ffff"
"""Behind every key that goes on in another way: `a/` and this is behind all that lies below `a`, in either order."""


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys after one key up to another.

    Attributes:
        after: Only keys after this one; empty for the beginning.
        upto: Only keys up to this one; empty for the end.
        order: How the store orders keys.
    """

    after: str = ""
    upto: str = ""
    order: Order = "bytes"

    def holds(self, key: str) -> bool:
        """Return whether a key, or a directory with a slash at its end, is in the range."""
        return self.begun(key) and not self.passed(key)

    def begun(self, key: str) -> bool:
        """Return whether a listing that has reached a key is in the range or past it."""
        return not self.after or self._place(key) > self._place(self.after)

    def passed(self, key: str) -> bool:
        """Return whether a listing that has reached a key is past the range."""
        return bool(self.upto) and self._place(key) > self._place(self.upto)

    def from_(self, key: str) -> KeyRange:
        """Return the part of the range after a key."""
        return KeyRange(key, self.upto, self.order) if self.begun(key) else self

    def moved(self, prefix: str, other: str) -> KeyRange:
        """Return the same range of keys that begin with another prefix."""
        after, upto = (
            other + place.removeprefix(prefix) if place.startswith(prefix) else place
            for place in (self.after, self.upto)
        )
        return KeyRange(after, upto, self.order)

    async def scan(self, store: Store, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Yield the objects of the range whose key starts with a prefix, in the store's order; nothing else is listed.

        Args:
            store: An open store.
            prefix: As in `Store.scan`, ending in a slash.
        """
        after = self.after
        if after and not after.startswith(prefix):
            # some servers list wrongly from a key outside the prefix
            if self._place(after) > self._place(prefix):
                return
            after = ""
        async for info in store.scan(prefix, start_after=after):
            if self.passed(info.key):
                return
            yield info

    def _place(self, key: str) -> list[str]:
        return [key] if self.order == "bytes" else key.split("/")


WHOLE: Final = KeyRange()


async def order_shown_by(store: Store, stem: str) -> Order:
    """Return how a store orders keys, given that it has an object `STEM.json` and others below `STEM/`; one request."""
    first = await store.list_page(stem, limit=1)
    return "segments" if first and first[0].key.startswith(f"{stem}/") else "bytes"
