"""What a store holds: its archives one by one, and totals."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import field
from typing import ClassVar

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.store.base import Store
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.stored import StoredArchive


async def archives(
    store: Store, dirname: str, pattern: str | None = None, *, below: str = "", keys: KeyRange = WHOLE
) -> AsyncGenerator[StoredArchive]:
    """Yield the archives of a store in the order of their keys.

    Args:
        store: An open store.
        dirname: Directory of the packages (setting `packages_dirname`).
        pattern: Shell pattern that the file name, or the key when the pattern has a `/`, must match.
        below: Only archives in this directory; all if empty.
        keys: Only archives whose key is in this range; no others are listed.
    """
    async for info in keys.scan(store, f"{below or dirname}/"):
        archive = StoredArchive.listed(info, dirname)
        if archive is not None and matches(archive, pattern):
            yield archive


def matches(archive: StoredArchive, pattern: str | None) -> bool:
    """Return whether a pattern selects an archive (see `archives`)."""
    if pattern is None:
        return True
    subject = archive.key if "/" in pattern else archive.filename
    return fnmatch.fnmatchcase(subject, pattern) or fnmatch.fnmatchcase(archive.stem, pattern)


@dataclass(slots=True)
class Totals(Documented):
    """Totals of a store.

    Attributes:
        store: Address of the store.
        objects: Archives by kind and format, such as `conda .conda`.
        bytes: Their size, likewise.
        transmuted: How many of the conda archives were transmuted.
        hosts: Archives by the host they were published on.
        packages: Distinct source URLs.
        both_forms: Conda packages that exist in both formats.
        duplicates: File-name directories with more than one hash, which no second writer may create.
        other: Objects outside the layout below the packages directory.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "store", "packages", "objects", "bytes", "transmuted", "both_forms", "hosts", "duplicates",
        "other as other_objects",
    )  # fmt: skip

    store: str
    objects: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    transmuted: int = 0
    hosts: Counter[str] = field(default_factory=Counter)
    packages: int = 0
    both_forms: int = 0
    duplicates: list[str] = field(default_factory=list)
    other: int = 0

    def add(self, group: Sequence[StoredArchive]) -> None:
        """Count everything that was made from one address."""
        for archive in group:
            parts = archive.parts
            label = f"{parts.kind} {parts.format}"
            self.objects[label] += 1
            self.bytes[label] += archive.size
            self.transmuted += parts.transmuted
            self.hosts[parts.host] += 1
        self.packages += 1
        names = Counter(archive.filename for archive in group)
        self.duplicates += [f"{group[0].parts.source_directory}/{name}" for name, n in names.items() if n > 1]
        self.both_forms += in_both_formats(group)


def in_both_formats(group: Sequence[StoredArchive]) -> bool:
    """Return whether a conda package exists in both formats."""
    return len({archive.format for archive in group if archive.kind == "conda"}) == 2


async def totals(store: Store, dirname: str) -> Totals:
    """Count a whole store: one request per thousand objects."""
    result = Totals(store.address)
    async for group in by_source(counted(store, dirname, result)):
        result.add(group)
    return result


async def counted(store: Store, dirname: str, result: Totals) -> AsyncGenerator[StoredArchive]:
    """Yield the archives of a store in the order of their keys, and count other objects among them."""
    async for info in store.scan(dirname + "/"):
        archive = StoredArchive.listed(info, dirname)
        if archive is None:
            result.other += 1
        else:
            yield archive


async def by_source(objects: AsyncIterator[StoredArchive]) -> AsyncGenerator[list[StoredArchive]]:
    """Group archives by source directory: everything that was ever made from one URL.

    The order of keys keeps a source directory together, so only one group is held at a time.
    """
    group: list[StoredArchive] = []
    async for item in objects:
        if group and item.parts.source_directory != group[0].parts.source_directory:
            yield group
            group = []
        group.append(item)
    if group:
        yield group
