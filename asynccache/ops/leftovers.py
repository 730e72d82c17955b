"""What dead processes left in a store: probes, and uploads that were never completed."""

from __future__ import annotations

import time
from dataclasses import field
from datetime import UTC, datetime
from typing import ClassVar, Final

from asynccache.errors import AsyncCacheError, PartialFailureError, StoreError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.store import journal, layout
from asynccache.store.base import Store, Unfinished

LEFT_AFTER: Final = 24 * 3600.0
"""Seconds after which nobody is taken to work on something any more: an upload of the largest object takes an hour."""
_PREFIXES: Final = (f"{layout.OWN}/probe", f"{layout.OWN}/doctor/")


@dataclass(frozen=True, slots=True)
class Leftover(Documented):
    """Something that was removed, or would be.

    Attributes:
        kind: `object` or `upload`.
        key: Key of the object, or the one that the upload would have got.
        bytes: Size of the object; 0 for an upload, whose parts are not counted.
        modified: Seconds since the epoch; when the upload began.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("kind", "key", "bytes", "modified_at as modified")

    kind: str
    key: str
    bytes: int
    modified: float

    @property
    def modified_at(self) -> datetime:
        """When it was written; when the upload began."""
        return datetime.fromtimestamp(self.modified, UTC)


@dataclass(slots=True)
class StoreCleaned(Documented):
    """The result of cleaning a store.

    Attributes:
        store: Its address.
        removed: What was removed, sorted by kind and key.
        failed: What could not be removed, and why.
        dry_run: Whether nothing was removed.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("store", "dry_run", "removed", "failed")

    store: str
    removed: list[Leftover] = field(default_factory=list)
    failed: dict[str, AsyncCacheError] = field(default_factory=dict)
    dry_run: bool = False

    def raise_for_failures(self) -> None:
        """Raise when something could not be removed.

        Raises:
            PartialFailureError: Why, by key.
        """
        if self.failed:
            raise PartialFailureError(f"{len(self.failed)} leftovers could not be removed", self.failed)


async def clean_store(
    store: Store, *, older_than: float = LEFT_AFTER, dry_run: bool = False, user: str | None = None
) -> StoreCleaned:
    """Remove what dead processes left in a store, and log it there.

    Args:
        store: An open store.
        older_than: Seconds; younger objects may belong to work in progress.
        dry_run: Remove nothing.
        user: The user, from the settings.

    Raises:
        StoreError: The store cannot be listed, or the log cannot be written.
    """
    done = StoreCleaned(store.address, dry_run=dry_run)
    before = time.time() - older_than
    objects = [
        Leftover("object", info.key, info.size, info.modified)
        for prefix in _PREFIXES
        async for info in store.scan(prefix)
        if info.modified is not None and info.modified <= before
    ]
    uploads = [upload for upload in await store.unfinished() if upload.begun <= before]
    if dry_run:
        done.removed = [*objects, *map(_shown, uploads)]
        return done
    if objects:
        await journal.enter(store, "delete", (each.key for each in objects), user=user)
    for each in objects:
        try:
            await store.delete(each.key)
            done.removed.append(each)
        except StoreError as exc:
            done.failed[each.key] = exc
    if uploads:
        await journal.enter(store, "abort", (upload.key for upload in uploads), user=user)
    for upload in uploads:
        try:
            await store.abandon(upload)
            done.removed.append(_shown(upload))
        except StoreError as exc:
            done.failed[upload.key] = exc
    return done


def _shown(upload: Unfinished) -> Leftover:
    return Leftover("upload", upload.key, 0, upload.begun)
