"""What a backfill counts, and what all its shards have done, put together from their journals in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Literal

from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.ops.shard_journal import add_up, not_done
from asynccache.ops.shards import Division, part_key
from asynccache.store.base import Store

Ending = Literal["there", "made", "failed", "skipped"]


@dataclass(slots=True)
class Counts(Documented):
    """Packages that were looked at, by outcome.

    Attributes:
        there: Packages that had the wanted format, or were in the store already.
        made: Packages that were given it, or were copied.
        failed: Packages that failed; each is retried by the next worker that continues.
        skipped: Packages that the pattern does not select.
        made_bytes: Bytes of the published archives of those that were converted, or of those that were copied.
    """

    there: int = 0
    made: int = 0
    failed: int = 0
    skipped: int = 0
    made_bytes: int = 0

    @property
    def looked_at(self) -> int:
        """How many in all."""
        return self.there + self.made + self.failed + self.skipped

    @classmethod
    def of(cls, ending: Ending, size: int = 0) -> Counts:
        """Return the counts of one package; `size` are the bytes of its published archive."""
        counts = cls(made_bytes=size if ending == "made" else 0)
        setattr(counts, ending, 1)
        return counts

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Counts:
        """Read what `as_document` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is not such a document.
        """
        return cls(*(int(said[each.name]) for each in fields(cls)))

    def add(self, other: Counts) -> None:
        """Add what others counted."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))

    def forget_failure(self, unit: str) -> None:
        """Remove one that failed and is retried."""
        del unit
        self.failed -= 1


@dataclass(frozen=True, slots=True)
class BackfillRun(Documented):
    """The shards of one backfill or replication, added up.

    Attributes:
        store: Address of the store.
        shards: Number of shards.
        counts: Packages that were looked at, by outcome: `there`, `made`, `failed`, `skipped`.
        unfinished: Shards that are not done, from 1: not begun, still running, or with failures.
        failed_directories: Source directories of packages that failed.
        begun_at: When the first was begun; UTC, ISO 8601 with zone; empty if none was.
        updated_at: When the last wrote something, likewise.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "store", "shards", "complete", "packages", "*counts", "unfinished", "failed_directories", "begun_at",
        "updated_at",
    )  # fmt: skip

    store: str
    shards: int
    counts: Counts
    unfinished: tuple[int, ...]
    failed_directories: tuple[str, ...]
    begun_at: str
    updated_at: str

    @property
    def complete(self) -> bool:
        """Whether all is done."""
        return not self.unfinished

    @property
    def packages(self) -> int:
        """How many were looked at."""
        return self.counts.looked_at

    def raise_for_failures(self) -> None:
        """Raise unless all is done.

        Raises:
            StoreError: Something is left to do; the same shards may be started again.
        """
        if self.unfinished:
            raise not_done(
                self.unfinished,
                self.shards,
                f", {self.counts.failed} packages failed",
                hint="start those shards again with --resume",
            )


async def backfill_run(store: Store, division: Division) -> BackfillRun:
    """Read the journals of all shards.

    Raises:
        StoreError: One cannot be read.
    """
    return await run_of_base(store, division.base, division.count)


async def run_of_base(store: Store, base: str, count: int) -> BackfillRun:
    """Read the journals of all shards of a run of any kind.

    Args:
        store: An open store.
        base: What the keys of all of them begin with (`Division.base`).
        count: Number of shards.

    Raises:
        StoreError: One cannot be read.
    """
    found = await add_up(store, [part_key(base, index) for index in range(1, count + 1)], Counts)
    return BackfillRun(
        store=store.address,
        shards=count,
        counts=found.counts,
        unfinished=found.unfinished,
        failed_directories=tuple(sorted(directory for each in found.there.values() for directory in each.failed)),
        begun_at=found.begun_at,
        updated_at=found.updated_at,
    )
