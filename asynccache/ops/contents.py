"""What a store holds: its archives one by one, and added up."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import field

from asynccache.model.dataclass import dataclass
from asynccache.model.document import document
from asynccache.store.base import Store
from asynccache.store.stored import StoredArchive


async def archives(
    store: Store, dirname: str, pattern: str | None = None, *, below: str = "", start_after: str = ""
) -> AsyncGenerator[StoredArchive]:
    """Yield the archives of a store in the order of their keys.

    Args:
        store: An open store.
        dirname: Directory of the packages (setting `packages_dirname`).
        pattern: Shell pattern that the file name, or the key when the pattern has a `/`, must match.
        below: Only of this directory; all when empty.
        start_after: Only those whose key comes behind this one.
    """
    async for info in store.scan(f"{below or dirname}/", start_after=start_after):
        archive = StoredArchive.listed(info, dirname)
        if archive is not None and matches(archive, pattern):
            yield archive


def matches(archive: StoredArchive, pattern: str | None) -> bool:
    """Tell whether an archive is meant by a pattern (see `archives`)."""
    if pattern is None:
        return True
    subject = archive.key if "/" in pattern else archive.filename
    return fnmatch.fnmatchcase(subject, pattern) or fnmatch.fnmatchcase(archive.stem, pattern)


@dataclass(slots=True)
class Totals:
    """What a store holds in all.

    Attributes:
        store: Address of the store.
        objects: Archives by kind and format, such as `conda .conda`.
        bytes: Their bytes, by the same.
        transmuted: How many of the conda archives were made by transmuting.
        hosts: Archives by the host they were published on.
        packages: Distinct source URLs.
        both_forms: Conda packages that are there in both forms.
        duplicates: File-name directories with more than one hash: no second writer may make these.
        other: Objects outside the layout below the packages directory.
    """

    store: str
    objects: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    transmuted: int = 0
    hosts: Counter[str] = field(default_factory=Counter)
    packages: int = 0
    both_forms: int = 0
    duplicates: list[str] = field(default_factory=list)
    other: int = 0

    def as_document(self) -> dict[str, object]:
        """Return the totals as plain values."""
        names = ("store", "packages", "objects", "bytes", "transmuted", "both_forms", "hosts", "duplicates")
        return document(self, *names, other_objects=self.other)


async def totals(store: Store, dirname: str) -> Totals:
    """Count a whole store: one request per thousand objects."""
    result = Totals(store.address)
    async for group in by_source(_all(store, dirname, result)):
        result.packages += 1
        forms = Counter(o.parts.filename for o in group)
        result.duplicates += [f"{group[0].parts.source_directory}/{name}" for name, n in forms.items() if n > 1]
        result.both_forms += len({o.parts.format for o in group if o.parts.kind == "conda"}) == 2
    return result


async def _all(store: Store, dirname: str, result: Totals) -> AsyncGenerator[StoredArchive]:
    async for info in store.scan(dirname + "/"):
        archive = StoredArchive.listed(info, dirname)
        if archive is None:
            result.other += 1
            continue
        parts = archive.parts
        label = f"{parts.kind} {parts.format}"
        result.objects[label] += 1
        result.bytes[label] += info.size
        result.transmuted += parts.transmuted
        result.hosts[parts.host] += 1
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
