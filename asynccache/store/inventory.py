"""What a store holds below the source directories of many URLs, found with few requests.

Neighbouring directories are listed together: one page of a thousand keys covers every wanted directory in it, and the
next page begins at the next wanted directory. If the store holds so much in between that a page covers few of them,
each is listed by itself, many at once. So a run costs about one request per thousand objects when the store is small,
and never more than about one per wanted directory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby, takewhile
from typing import Final

from asynccache.model.url import PackageURL
from asynccache.runtime.tasks import run_together
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.stored import StoredArchive

_PAGE: Final = 1000  # keys
_DENSE: Final = 16  # wanted directories per page below which listing each by itself is cheaper than parsing the page
_AT_ONCE: Final = 16  # listings


class Inventory:
    """Remembers what the store held when it was listed.

    Args:
        store: An open store.
        dirname: Directory of the packages below the root.
    """

    def __init__(self, store: Store, dirname: str = layout.DIRNAME) -> None:
        self._store = store
        self._dirname = dirname
        self._found: dict[str, tuple[StoredArchive, ...]] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self.duplicates: dict[str, tuple[str, ...]] = {}
        """File-name directories with more than one hash -> the keys in them, the one that is taken first."""

    def source_directory(self, url: PackageURL) -> str:
        """Return the source directory of a URL."""
        return layout.source_directory(url, layout.kind_of(url), self._dirname)

    async def load(self, urls: Iterable[PackageURL]) -> None:
        """Find out what the store holds of these URLs, replacing what was known about them.

        Raises:
            StoreError: The store cannot be listed.
        """
        await self.load_directories({self.source_directory(url) for url in urls})

    async def load_directories(self, every: AbstractSet[str]) -> None:
        """Find out what the store holds below these source directories, as `load` does.

        Raises:
            StoreError: The store cannot be listed.
        """
        wanted = {directory for directory in every if self._store.can_hold(directory)}
        self._record(sorted(every - wanted), ())
        if not self._store.lists_by_page:
            await self._each(sorted(wanted))
            return
        # one group per kind and host to begin with: nothing between hosts is wanted
        groups = _groups(wanted, depth=self._dirname.count("/") + 3)
        await run_together([self._together(group) for group in groups])

    async def refresh(self, url: PackageURL) -> tuple[StoredArchive, ...]:
        """Ask again for one URL.

        Raises:
            StoreError: The store cannot be listed.
        """
        directory = self.source_directory(url)
        if self._store.can_hold(directory):
            await self._one(directory)
        else:
            self._record([directory], ())
        return self._found[directory]

    def found(self, url: PackageURL) -> tuple[StoredArchive, ...]:
        """Return the archives below a URL's source directory, at most one a file name, by file name.

        Raises:
            KeyError: The URL was neither loaded nor refreshed.
        """
        return self.below(self.source_directory(url))

    def below(self, directory: str) -> tuple[StoredArchive, ...]:
        """Return the same of a source directory.

        Raises:
            KeyError: It was not loaded.
        """
        return self._found[directory]

    async def _together(self, wanted: Sequence[str]) -> None:
        """List neighbouring directories, in ascending order, together."""
        if len(wanted) < _DENSE // 4:
            await self._each(wanted)
            return
        prefix = _common_directory(wanted)
        async with self._limit:
            page = await self._store.list_page(prefix, start_after=wanted[0] + "/")
        # directories that the last key has not passed may continue after it
        passed = wanted if len(page) < _PAGE else takewhile(lambda d: _is_behind(page[-1].key, d), wanted)
        done = len(list(passed))
        self._record(wanted[:done], page)
        rest = wanted[done:]
        if not rest:
            return
        if done < _DENSE:
            await self._each(rest)
            return
        size = max(2 * done, -(-len(rest) // _AT_ONCE))  # two pages' worth at least, or the parallel pages overlap
        await run_together([self._together(rest[begin : begin + size]) for begin in range(0, len(rest), size)])

    async def _each(self, wanted: Sequence[str]) -> None:
        """List directories one by one, many at once."""
        await run_together([self._one(directory) for directory in wanted])

    async def _one(self, directory: str) -> None:
        infos: list[ObjectInfo] = []
        async with self._limit:
            while True:
                page = await self._store.list_page(directory + "/", start_after=infos[-1].key if infos else "")
                infos += page
                if len(page) < _PAGE:
                    break
        self._record([directory], infos)

    def _record(self, wanted: Sequence[str], infos: Iterable[ObjectInfo]) -> None:
        by_directory: dict[str, dict[str, list[StoredArchive]]] = {directory: {} for directory in wanted}
        for info in infos:
            archive = StoredArchive.listed(info, self._dirname)
            if archive is not None and archive.parts.source_directory in by_directory:
                by_directory[archive.parts.source_directory].setdefault(archive.filename, []).append(archive)
        for directory, names in by_directory.items():
            taken = []
            for filename in sorted(names):
                # the first one written is the one that documents name
                archives = sorted(names[filename], key=lambda a: (a.info.modified or 0.0, a.key))
                taken.append(archives[0])
                place = f"{directory}/{filename}"  # of all hashes of one file name, of which the contract allows one
                if len(archives) > 1:
                    self.duplicates[place] = tuple(a.key for a in archives)
                else:
                    self.duplicates.pop(place, None)
            self._found[directory] = tuple(taken)


def _groups(wanted: Iterable[str], depth: int) -> list[list[str]]:
    """Divide directories into groups with common first `depth` segments, each in ascending order of its keys.

    Some servers (SeaweedFS) order keys segment by segment, so that `a/x` comes before `a-b/x`. A group in which the two
    orders differ is divided further, so that it does not matter which one a server has.
    """
    groups = []
    segments = {directory: directory.split("/") for directory in wanted}
    # keys of `a-b` come before those of `a`, since they continue with `-` and `/`
    ordered = sorted(segments, key=lambda d: d + "/")
    for _, members in groupby(ordered, key=lambda d: segments[d][:depth]):
        group = list(members)
        if group == sorted(group, key=segments.__getitem__):
            groups.append(group)
        else:
            groups += _groups(group, depth + 1)
    return groups


def _is_behind(key: str, directory: str) -> bool:
    """Return whether a listing that has reached `key` has passed all of a directory, in either order (see
    `_groups`).
    """
    segments = directory.split("/")
    return key >= directory + "0" and key.split("/")[: len(segments)] > segments  # "0" follows "/"


def _common_directory(wanted: Sequence[str]) -> str:
    """Return the longest common prefix that ends in a slash."""
    first, last = wanted[0] + "/", wanted[-1] + "/"  # in ascending order, so these two differ most
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("/", 0, length) + 1]
