"""Dividing the keys below a prefix among workers, without listing them.

Workers that start together find no plan, so each may have to make one: a plan costs a number of requests that grows
with the number of workers and not with the store. A store with few keys is listed, which takes the fewest requests. In
a larger one, the keys form a tree of prefixes. The heaviest prefix is divided again and again, into its directories or
by its next character, until there are several for each worker; each costs one request for its first keys. A prefix with
fewer is counted, the weight of any other is estimated from how far its first keys reach. Of 270,000 keys with the names
of real packages the heaviest of 4, 16 and 64 shards had 1.4, 2.2 and 2.9 times the mean, after 200, 290 and 840
requests; a listing takes 273. Where one process plans for all, `counted` lists once and divides evenly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from itertools import groupby
from typing import Final

from asynccache.model.dataclass import dataclass
from asynccache.runtime.tasks import run_together
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_range import LAST

_SEEN: Final = 300  # keys of a prefix that are sampled
_PARTS: Final = 4  # prefixes for each worker, so that their weights even out
_BUDGET: Final = 12  # requests for each worker, plus _LEAST for all together
_LEAST: Final = 64
_AT_ONCE: Final = 8  # prefixes that are divided together
_SIBLINGS: Final = 24  # sibling directories; more are divided by their next character
_REACH: Final = 36  # an estimate is at most this multiple of what was seen: letters and digits
_EACH: Final = 256 << 10  # weight in bytes of an empty package: its requests take as long as transferring that much
_UNKNOWN: Final = 1000  # the same for a directory, whose first names say nothing about the others: it is divided first
_ALPHABET: Final = "-._0123456789abcdefghijklmnopqrstuvwxyz"
_COMMON: Final = [1.0 if letter.isalpha() else 0.05 for letter in _ALPHABET]
_SHARES: Final = [each / sum(_COMMON) for each in _COMMON]
_BELOW: Final = [sum(_SHARES[:place]) for place in range(len(_SHARES))]
_SMALL: Final = 32_000  # keys that are listed rather than sampled: 32 requests
_MARKS: Final = 4096  # boundaries that `counted` remembers


async def sampled(store: Store, prefix: str, count: int) -> list[str]:
    """Return the boundaries between `count` ranges of keys below a prefix, at most count - 1, in the store's order.

    Args:
        store: An open store.
        prefix: Ends in a slash.
        count: Number of ranges; the first begins at the beginning, the last ends at the end.

    Raises:
        StoreError: The store cannot be listed.
    """
    places = await counted(store, prefix, count, most=_SMALL)
    return await _Sampling(store, prefix, count).run() if places is None else places


async def counted(store: Store, prefix: str, count: int, *, most: int | None = None) -> list[str] | None:
    """Return such boundaries that divide evenly, found by listing everything once in constant memory.

    Args:
        store: An open store.
        prefix: Ends in a slash.
        count: Number of ranges.
        most: Give up after so many keys, and return None.

    Raises:
        StoreError: The store cannot be listed.
    """
    marks: list[tuple[float, str]] = []
    stride, total, unit = 1, 0.0, ""
    number = listed = 0
    async for info in store.scan(prefix):
        listed += 1
        if most is not None and listed > most:
            return None
        here = unit_of(info.key, prefix)
        if here != unit and unit:
            number += 1
            if number % stride == 0:
                marks.append((total, unit))
        if len(marks) > _MARKS:
            marks, stride = marks[1::2], stride * 2
        total, unit = total + _weight([info]), here
    return _divided([(weight, f"{unit}/{LAST}") for weight, unit in marks], total, count)


def given(units: Iterable[tuple[str, float]], count: int) -> list[str]:
    """Return such boundaries for known source directories with their weights, in the order of their bytes."""
    marks, total = [], 0.0
    for unit, weight in sorted(units, key=lambda each: each[0] + "/"):
        total += weight
        marks.append((total, f"{unit}/{LAST}"))
    return _divided(marks, total, count)


def unit_of(key: str, prefix: str) -> str:
    """Return what of a key stays in one range: its source directory; the key itself where it is no archive's."""
    dirname = prefix.partition("/")[0]
    parts = layout.parse_key(key, dirname)
    return key if parts is None else parts.source_directory


def _divided(marks: Iterable[tuple[float, str]], total: float, count: int) -> list[str]:
    """Return the keys at which the weight passes each share of the total; marks give the weight up to each."""
    places: list[str] = []
    wanted = 1
    for weight, place in marks:
        if wanted < count and weight >= total * wanted / count and weight < total:
            places.append(place)
            while wanted < count and weight >= total * wanted / count:
                wanted += 1
    return places


def _weight(infos: Iterable[ObjectInfo]) -> float:
    return sum(info.size + _EACH for info in infos)


@dataclass(slots=True)
class _Node:
    """Keys with one prefix.

    Attributes:
        prefix: The prefix.
        page: The first keys.
        whole: Whether these are all.
        divided: Its parts, in the store's order; empty until it is divided.
        final: Whether it cannot be divided.
    """

    prefix: str
    page: list[ObjectInfo]
    whole: bool
    divided: list[_Node] = field(default_factory=list)
    final: bool = False

    @property
    def weight(self) -> float:
        """Weight: bytes, plus a cost per object; an estimate unless it was counted."""
        seen = _weight(self.page)
        if self.whole:
            return seen
        if self.prefix.endswith("/") and not self.final:
            return seen * _UNKNOWN
        first, last = (_fraction(info.key[len(self.prefix) :]) for info in (self.page[0], self.page[-1]))
        return seen * min(_REACH, max(1.0, (1.0 - first) / max(last - first, 1e-9)))

    def leaves(self) -> list[_Node]:
        """Return its undivided parts, in the store's order."""
        return [leaf for node in self.divided for leaf in node.leaves()] if self.divided else [self]


class _Sampling:
    def __init__(self, store: Store, prefix: str, count: int) -> None:
        self._store = store
        self._prefix = prefix
        self._count = count
        self._budget: int = _LEAST + _BUDGET * count

    async def run(self) -> list[str]:
        page = await self._list(self._prefix)
        root = _Node(self._prefix, page, len(page) < _SEEN)
        while True:
            leaves = root.leaves()
            most = sum(leaf.weight for leaf in leaves) / (_PARTS * self._count)
            heavy = [leaf for leaf in leaves if leaf.weight > most and not leaf.final]
            if self._budget <= 0:
                heavy = [leaf for leaf in heavy if leaf.whole]
            if not heavy:
                break
            heavy.sort(key=lambda leaf: leaf.weight, reverse=True)
            await run_together([self._divide(leaf) for leaf in heavy[:_AT_ONCE]])
        marks, total = [], 0.0
        for leaf in root.leaves():
            total += leaf.weight
            marks.append((total, leaf.prefix + LAST))
        return _divided(marks, total, self._count)

    async def _list(self, prefix: str, after: str = "") -> list[ObjectInfo]:
        self._budget -= 1
        return await self._store.list_page(prefix, start_after=after, limit=_SEEN)

    async def _divide(self, node: _Node) -> None:
        if node.whole:
            self._divide_counted(node)
            return
        units = [unit_of(info.key, self._prefix) for info in node.page]
        shared = _shared(units)
        if len(shared) > len(node.prefix):
            behind = await self._list(node.prefix, shared + LAST)
            if not behind:
                node.prefix = shared
        by_directory = node.prefix.endswith("/")
        found = await self._children(node, by_directory=by_directory)
        if found is None:
            found = await self._children(node, by_directory=False) or []
        self._settle(node, found)

    async def _children(self, node: _Node, *, by_directory: bool) -> list[_Node] | None:
        """Return the parts of a prefix; None if it has too many directories."""
        found: list[_Node] = []
        page, last = node.page, False
        while page:
            child = self._child(node.prefix, page[0].key, by_directory=by_directory)
            inside = [info for info in page if info.key.startswith(child)]
            rest = page[len(inside) :]
            whole = bool(rest) or last
            if not whole and len(inside) < _SEEN // 2:
                inside = await self._list(child)
                whole = len(inside) < _SEEN
            found.append(_Node(child, inside, whole))
            if by_directory and len(found) > _SIBLINGS:
                return None
            if rest:
                page = rest
            elif last:
                break
            else:
                page = await self._list(node.prefix, child + LAST)
                last = len(page) < _SEEN
        return found

    def _divide_counted(self, node: _Node) -> None:
        """Divide a prefix that was listed completely, without requests: each unit is a part."""
        found = []
        for unit, infos in groupby(node.page, key=lambda info: unit_of(info.key, self._prefix)):
            found.append(_Node(f"{unit}/", list(infos), whole=True, final=True))
        self._settle(node, found)

    def _settle(self, node: _Node, found: list[_Node]) -> None:
        if len(found) == 1 and found[0].prefix == node.prefix:
            found = []
        node.divided = found
        node.final = not found

    def _child(self, prefix: str, key: str, *, by_directory: bool) -> str:
        rest = unit_of(key, self._prefix)[len(prefix) :]
        if by_directory and "/" in rest:
            return prefix + rest[: rest.index("/") + 1]
        return prefix + rest[:1]


def _shared(units: list[str]) -> str:
    """Return the common beginning of all units, shorter than any of them."""
    first, last = min(units), max(units)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: min(length, min(map(len, units)) - 1)]


def _fraction(text: str) -> float:
    """Return the position of a text among all texts, from 0 to 1; names continue with a letter more often than not."""
    found, share = 0.0, 1.0
    for letter in text[:4]:
        place = _ALPHABET.find(letter.lower())
        place = place if place >= 0 else 0 if letter < "0" else len(_ALPHABET) - 1
        found += share * _BELOW[place]
        share *= _SHARES[place]
    return found
