"""What an audit of a store found, and how the results of several add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, ClassVar, Final, Literal

from asynccache.errors import AsyncCacheError, IntegrityError, PartialFailureError, error_from_document
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.ops.shard_journal import not_done
from asynccache.ops.verify import Verification

Kind = Literal[
    "damaged",
    "unreadable",
    "missing",
    "unnamed",
    "name",
    "pack",
    "receipt",
    "no receipt",
    "two digests",
    "empty",
    "upload",
]
WRONG: Final[frozenset[Kind]] = frozenset({"damaged", "unreadable", "missing", "name", "pack", "two digests"})
"""Kinds that somebody who uses the store will meet; the others take space, or leave an origin unknown."""
_COUNTS: Final = ("archives", "bytes", "documents", "names", "packs", "pack_bytes", "receipts")


@dataclass(frozen=True, slots=True)
class AuditFinding(Documented):
    """Something that is wrong or inconsistent.

    Attributes:
        kind: `damaged`: an archive differs from its key. `unreadable`: a document or alias cannot be read. `missing`: a
            document names an archive that does not exist. `unnamed`: an archive that no document names. `name`: an
            alias refers to nothing. `pack`: a pack has no document, is incomplete, or is not the one that the
            environment's digest names. `receipt`: a receipt of an archive that does not exist. `no receipt`: an archive
            was transmuted, and no receipt says how. `two digests`: two archives of one name were made from one address.
            `empty`: an empty object. `upload`: an upload that was begun more than a day ago and never completed.
        key: Key of the object, or the one that an upload would have got.
        text: What is wrong with it.
    """

    kind: Kind
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.key}: {self.text}"


@dataclass(slots=True)
class Audit(Documented):
    """What an audit found.

    Attributes:
        store: Address of the store.
        archives: How many archives it has.
        bytes: Total size of the archives.
        documents: How many were read; of several shards the first one counts documents, aliases and packs.
        names: How many were read.
        packs: How many there are.
        pack_bytes: Their total size.
        receipts: How many there are.
        read: The result of reading archives, if that was requested.
        found: How many findings there are, by kind.
        mended: How many of them were repaired, by kind.
        unmended: Why others could not be repaired, by key.
        run: What all shards have found so far; None unless requested.
        unrecorded: Why the store has no record of this audit for `report`; None if it has one, or if it is empty.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "store", "archives", "bytes", "documents", "names", "packs", "pack_bytes", "receipts", "read", "found",
        "mended", "unmended", "wrong", "run", "unrecorded",
    )  # fmt: skip

    store: str
    archives: int = 0
    bytes: int = 0
    documents: int = 0
    names: int = 0
    packs: int = 0
    pack_bytes: int = 0
    receipts: int = 0
    read: Verification | None = None
    found: Counter[Kind] = field(default_factory=Counter)
    mended: Counter[Kind] = field(default_factory=Counter)
    unmended: dict[str, AsyncCacheError] = field(default_factory=dict)
    run: AuditRun | None = None
    unrecorded: AsyncCacheError | None = None

    @property
    def wrong(self) -> int:
        """How many findings are left that affect users of the store."""
        return sum(count - self.mended[kind] for kind, count in self.found.items() if kind in WRONG)

    @property
    def empty(self) -> bool:
        """Whether there was nothing to look at."""
        return not (self.archives or self.documents or self.names or self.packs or self.receipts or self.found)

    def add(self, other: Audit) -> None:
        """Add the result of another part of the store."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.read is not None:
            self.read = self.read or Verification()
            self.read.add(other.read)
        self.found.update(other.found)
        self.mended.update(other.mended)
        self.unmended |= other.unmended

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Audit:
        """Read what `as_document` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is not such a document.
        """
        audit = cls(
            str(said["store"]),
            read=None if said["read"] is None else Verification.from_document(said["read"]),
            found=Counter(said["found"]),
            mended=Counter(said["mended"]),
            unmended={key: error_from_document(error) for key, error in said["unmended"].items()},
        )
        for name in _COUNTS:
            setattr(audit, name, int(said[name]))
        return audit

    def raise_for_failures(self) -> None:
        """Raise if something is wrong that was not repaired.

        Raises:
            PartialFailureError: What could not be repaired or read.
            IntegrityError: Something is wrong.
        """
        errors = {**self.unmended, **(self.read.errors if self.read is not None else {})}
        if errors:
            raise PartialFailureError(f"{len(errors)} objects in {self.store} could not be mended or read", errors)
        if self.wrong:
            raise IntegrityError(
                f"{self.wrong} things in {self.store} are wrong",
                hint="`asynccache audit --repair` restores what can be obtained again",
            )


@dataclass(frozen=True, slots=True)
class AuditRun(Documented):
    """The shards of one audit, added up.

    Attributes:
        audit: What the finished shards found.
        shards: Number of shards.
        unfinished: Shards that are not done, from 1.
        begun_at: When the first was begun; UTC, ISO 8601 with zone; empty if none is done.
        updated_at: When the last ended, likewise.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("*audit", "shards", "complete", "unfinished", "begun_at", "updated_at")

    audit: Audit
    shards: int
    unfinished: tuple[int, ...]
    begun_at: str
    updated_at: str

    @property
    def complete(self) -> bool:
        """Whether all shards are done."""
        return not self.unfinished

    def raise_for_failures(self) -> None:
        """Raise if a shard is not done, or something is wrong that was not repaired.

        Raises:
            StoreError: Something is left to do; the same shards may be started again.
            PartialFailureError: What could not be repaired or read.
            IntegrityError: Something is wrong.
        """
        if self.unfinished:
            raise not_done(self.unfinished, self.shards)
        self.audit.raise_for_failures()


Found = Callable[[AuditFinding], object]
"""Told of each finding as it is made."""
