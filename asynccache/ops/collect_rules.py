"""The rules of a collection, and the candidates that it finds (docs/collecting.md)."""

from __future__ import annotations

import fnmatch
from dataclasses import field
from typing import Any, ClassVar, Final, Literal

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.store.base import ObjectInfo

GarbageKind = Literal[
    "environment", "beside", "package", "receipt", "bundle", "quarantine", "shards", "writers", "uses"
]
KEEP_DAYS: Final = 90.0
LEAST_DAYS_UNREFERENCED: Final = 30.0
"""Environments that nothing names may be of flows that run once a month."""
GRACE_HOURS: Final = 12.0
"""So that what one night marks the next one sweeps."""
LEAST_GRACE_HOURS: Final = 1.0
"""Longer than it takes to publish what was looked up; also that of whoever writes no use."""
DAY: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be collected.

    Attributes:
        keep_days: What was written or used within this many days is kept.
        unreferenced: Whether environments that no root reaches are collected.
        also: Shell pattern for keys of documents and archives that may be collected although no record says that they
            are ours.
        grace_hours: How many hours candidates wait between mark and sweep.
    """

    keep_days: float = KEEP_DAYS
    unreferenced: bool = False
    also: str = ""
    grace_hours: float = GRACE_HOURS

    def __post_init__(self) -> None:
        if not self.keep_days >= 1:  # uses are noted once a day
            raise UsageError("keep_days is too short", expected="1 or more", found=f"{self.keep_days:g}")
        if self.unreferenced and self.keep_days < LEAST_DAYS_UNREFERENCED:
            raise UsageError(
                "environments that nothing names are kept for longer",
                expected=f"keep_days of at least {LEAST_DAYS_UNREFERENCED:g} with unreferenced",
                found=f"{self.keep_days:g}",
                hint="their flows may run once a month",
            )
        if not self.grace_hours >= LEAST_GRACE_HOURS:
            raise UsageError(
                "the grace period is too short for those who publish meanwhile",
                expected=f"grace_hours of at least {LEAST_GRACE_HOURS:g}",
                found=f"{self.grace_hours:g}",
            )

    def named(self, key: str) -> bool:
        """Return whether a key matches the pattern `also`."""
        return bool(self.also) and fnmatch.fnmatchcase(key, self.also)


@dataclass(frozen=True, slots=True)
class Garbage(Documented):
    """Something that is collected, or would be.

    Attributes:
        kind: What it is; for an environment, the document stands for all that goes with it.
        info: The object, as it was listed.
        beside: Bytes of the objects beside a document.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("kind", "key", "bytes")

    kind: GarbageKind
    info: ObjectInfo
    beside: int = 0

    @property
    def key(self) -> str:
        """Key of the object."""
        return self.info.key

    @property
    def bytes(self) -> int:
        """Bytes that are freed with it."""
        return self.info.size + self.beside

    def as_list(self) -> list[object]:
        """Return it as the lists of candidates hold it."""
        return [self.kind, self.key, self.info.size, self.info.etag, self.info.modified, self.beside]

    @classmethod
    def from_list(cls, said: list[Any]) -> Garbage:
        """Read it.

        Raises:
            ValueError: It is not such a record.
        """
        kind, key, size, etag, modified, beside = said
        return cls(kind, ObjectInfo(str(key), int(size), etag, modified), int(beside))


@dataclass(slots=True)
class KindAmount(Documented):
    """Count and size of one kind.

    Attributes:
        objects: How many.
        bytes: Their total size.
    """

    objects: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more."""
        self.objects += 1
        self.bytes += size


@dataclass(slots=True)
class Amount(Documented):
    """What is collected, by kind.

    Attributes:
        by_kind: Kind -> count and size.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("objects", "bytes", "by_kind")

    by_kind: dict[str, KindAmount] = field(default_factory=dict)

    def add(self, garbage: Garbage) -> None:
        """Count one."""
        self.by_kind.setdefault(garbage.kind, KindAmount()).add(garbage.bytes)

    @property
    def objects(self) -> int:
        """How many in all; an environment counts once."""
        return sum(each.objects for each in self.by_kind.values())

    @property
    def bytes(self) -> int:
        """Total size."""
        return sum(each.bytes for each in self.by_kind.values())
