"""What replicating a store did, and what is told of it meanwhile."""

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
        copied: Those that were copied; in a dry run those that would be.
        there: Those that were there.
        bytes: Of those that were copied.
    """

    copied: int = 0
    there: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaFinding(Documented):
    """Something that was not copied.

    Attributes:
        kind: `failed`: it is damaged in the source, or one of the stores failed. `different`: the store has something
            else under this key, or another archive of this name, or gave an immutable name to another environment; it
            stays. `held back`: a document, or a name, of an environment of which not all is in the store. `moved on`:
            a name that was moved in the store since; it stays.
        key: Of the object; the name, of a name.
        text: What is the matter.
    """

    kind: Trouble
    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.key}: {self.text}"


Told = Callable[[ReplicaFinding], object]
"""Told of each finding as it is made."""


@dataclass(slots=True)
class Replicated(Documented):
    """What replicating did, or would do.

    Attributes:
        source: Address of the store that was copied from.
        store: Address of the store that was copied into.
        objects: What was copied and what was there, by kind.
        different: Keys under which the store has something else.
        held_back: Documents and names that wait for something that could not be copied.
        moved_on: Names that were moved in the store, and stay.
        failures: What could not be copied, these among them: by key, but those that have moved on.
        unfinished: Shards whose packages are not there yet; the last of them brings documents and names.
        dry_run: Whether it was only asked for.
        seconds: In all.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "source", "store", "objects", "different", "held_back", "moved_on", "failures", "unfinished", "dry_run",
        "seconds",
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

    def tally(self, kind: ReplicaKind) -> Tally:
        """Return what is counted of a kind."""
        return self.objects.setdefault(kind, Tally())

    def raise_for_failures(self) -> None:
        """Raise when something was not copied that should be in the store now.

        Raises:
            PartialFailureError: What, by key.
        """
        if self.failures:
            raise PartialFailureError(
                f"{len(self.failures)} objects of {self.source} were not copied to {self.store}",
                self.failures,
                hint="mend what is damaged or different, and run the same command again: it copies what is left",
            )
