"""Millions of keys of which it must be told whether they were seen: eight bytes each, in no order of any store."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from typing import Final

_FEWEST: Final = 1 << 16  # texts that are buffered before they are sorted in


class KeySet:
    """A set of texts that can only be asked.

    Each is kept as 64 bits of a digest: of ten million, one that is not there is taken for one of them in one of
    2 * 10^12 questions.
    """

    def __init__(self) -> None:
        self._sorted = array("Q")
        self._new: set[int] = set()

    def add(self, text: str) -> None:
        """Take one in."""
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
    """Return eight bytes that stand for a text where millions are held: two of a million agree once in 10^7 times."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
