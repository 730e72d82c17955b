"""A set of millions of keys, to know whether one was seen: eight bytes each, in any order."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from typing import Final

_FEWEST: Final = 1 << 16  # texts that are buffered before they are merged


class KeySet:
    """A set of texts that supports only membership tests.

    Each is kept as 64 bits of a digest: with ten million texts, the chance of a false positive is one in 2 * 10^12.
    """

    def __init__(self) -> None:
        self._sorted = array("Q")
        self._new: set[int] = set()

    def add(self, text: str) -> None:
        """Add a text."""
        self._new.add(number_of(text))
        if len(self._new) > max(_FEWEST, len(self._sorted) // 4):
            # two runs in order, which sorting merges
            self._sorted = array("Q", sorted([*self._sorted, *sorted(self._new)]))
            self._new.clear()

    def __contains__(self, text: str) -> bool:
        number = number_of(text)
        if number in self._new:
            return True
        place = bisect_left(self._sorted, number)
        return place < len(self._sorted) and self._sorted[place] == number


def number_of(text: str) -> int:
    """Return eight bytes that identify a text among millions: the chance that two of a million collide is 10^-7."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
