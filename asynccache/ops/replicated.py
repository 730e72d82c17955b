"""The result of replicating a store, and what is reported meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import ClassVar, Literal

from asynccache.errors import AsyncCacheError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented

ReplicaKind = Literal[
    "archives", "receipts", "documents", "digests", "packs", "names", "supplies", "leases", "uses"
]  # fmt: skip
Trouble = Literal["failed", "different", "held back", "moved on"]


@dataclass(slots=True)
class Tally(Documented):
    """Objects of one kind.

    Attributes:
        copied: Number that were copied; in a dry run, that would be.
        there: Number that existed.
        bytes: Size of those that were copied.
    """

    copied: int = 0
    there: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaFinding(Documented):
    """Something that was not copied.

    Attributes:
        kind: `failed`: it is damaged in the source, or one of the stores failed. `different`: the target has something
            else under this key, another archive of this name, or an immutable alias that refers to another environment;
            it is kept. `held back`: a document or alias of an environment that is incomplete in the target. `moved on`:
            an alias that was moved in the target since; it is kept.
        key: Key of the object; for an alias, the alias.
        text: The reason.
    """

    kind: Trouble
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.key}: {self.text}"


OnFinding = Callable[[ReplicaFinding], object]
"""Told of each finding as it is made."""


@dataclass(slots=True)
class Replicated(Documented):
    """The result of replicating, or of a dry run.

    Attributes:
        source: Address of the source.
        store: Address of the target.
        objects: What was copied and what existed, by kind.
        different: Keys under which the target has something else.
        held_back: Documents and aliases that wait for something that could not be copied.
        moved_on: Aliases that were moved in the target, and are kept.
        failures: What could not be copied, by key; includes all of these except those that have moved on.
        unfinished: Shards whose packages are incomplete; the last of them copies documents and aliases.
        dry_run: Whether nothing was copied.
        seconds: In all.
        unrecorded: Why the store has no record of this replication for `report`; None where it has.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "source", "store", "objects", "different", "held_back", "moved_on", "failures", "unfinished", "dry_run",
        "seconds", "unrecorded",
    )  # fmt: skip

    source: str
    store: str
    objects: dict[ReplicaKind, Tally] = field(default_factory=dict)
    different: list[str] = field(default_factory=list)
    held_back: list[str] = field(default_factory=list)
    moved_on: list[str] = field(default_factory=list)
    failures: dict[str, AsyncCacheError] = field(default_factory=dict)
    unfinished: tuple[int, ...] = ()
    dry_run: bool = False
    seconds: float = 0.0
    unrecorded: AsyncCacheError | None = None

    def tally(self, kind: ReplicaKind) -> Tally:
        """Return the counts of a kind."""
        return self.objects.setdefault(kind, Tally())

    def raise_for_failures(self) -> None:
        """Raise if something was not copied that should be in the target now.

        Raises:
            PartialFailureError: The failures, by key.
        """
        if self.failures:
            raise PartialFailureError(
                f"{len(self.failures)} objects of {self.source} were not copied to {self.store}",
                self.failures,
                hint="mend what is damaged or different, and run the same command again: it copies what is left",
            )
