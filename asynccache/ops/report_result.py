"""What a report on a store says (docs/operating.md)."""

from __future__ import annotations

from dataclasses import field
from datetime import datetime
from typing import ClassVar, Literal

from asynccache.catalog.aliases import Move
from asynccache.errors import AsyncCacheError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.ops.collect_rules import Amount, KindAmount
from asynccache.ops.contents import Totals

RunCommand = Literal["backfill", "audit", "verify", "gc", "replicate"]
DuplicateKind = Literal["several channels", "two digests"]


@dataclass(frozen=True, slots=True)
class Duplicate(Documented):
    """Something that exists more than once.

    Attributes:
        kind: `several channels`: a file name that an earlier channel has, too. `two digests`: archives of one name that
            were made from one address.
        name: File name, of conda packages with its subdirectory.
        channel: The channel in which it was found again.
        bytes: Size of all but the first.
    """

    kind: DuplicateKind
    name: str
    channel: str
    bytes: int


@dataclass(slots=True)
class Duplicates(Documented):
    """What exists more than once.

    Attributes:
        both_forms: Conda packages in both formats, and the size of the transmuted archives.
        several_channels: File names that another channel has, too, and the bytes of all but the first of each.
        two_digests: File names with more than one digest below one address, and the bytes of all but the first.
        examples: Some of the last two.
    """

    both_forms: KindAmount = field(default_factory=KindAmount)
    several_channels: KindAmount = field(default_factory=KindAmount)
    two_digests: KindAmount = field(default_factory=KindAmount)
    examples: list[Duplicate] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NamedEnvironment(Documented):
    """An alias and its history.

    Attributes:
        name: The alias.
        req_id: What was asked for; empty if the alias cannot be read.
        full_id: What was found, likewise.
        modified: When the alias was last written; None if the store does not say.
        moves: Number of moves in its history; 0 for an immutable alias.
        history: The last of them, most recent first.
        trouble: Why it cannot be read; empty if it can.
    """

    name: str
    req_id: str
    full_id: str
    modified: datetime | None
    moves: int = 0
    history: tuple[Move, ...] = ()
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class LastRun(Documented):
    """The last run of a command that has left something in the store.

    Attributes:
        command: The command.
        begun_at: When it was begun; UTC, ISO 8601 with zone; empty if unknown.
        updated_at: When it last wrote something, likewise.
        shards: Number of shards; for `gc`, number of lists of candidates.
        unfinished: Shards that are not done.
        figures: The counts, by their names in that command's JSON.
    """

    command: RunCommand
    begun_at: str
    updated_at: str
    shards: int
    unfinished: int
    figures: dict[str, int]


@dataclass(slots=True)
class StoreReport(Documented):
    """What is in a store, what refers to it, and what was done to it.

    Attributes:
        contents: The counts of `stat`.
        made_at: When the report was made.
        channels: Archives by channel, for the largest ones; all others together are `(others)`.
        ages: Archives by age.
        repeated: What exists more than once.
        reach: Archives by what refers to them: `kept`, archives of environments that an alias, its history, a lease, a
            use or a run keeps; `named`, archives that only other documents name; `nothing`, archives that no document
            names; `unknown`, all archives if this cannot be determined.
        documents: Documents of environments.
        packs: Packs of environments.
        receipts: Receipts of transmuted archives.
        names: Number of aliases.
        aliases: The aliases that were written last.
        runs: The last runs that are recorded in the store.
        keep_days: Days within which objects are kept.
        unreferenced: Whether environments that nothing keeps would be collected.
        garbage: What `gc` would mark under these rules; null if it would refuse.
        refused: Why it would refuse.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "*contents", "made_at", "channels", "ages", "repeated", "reach", "documents", "packs", "receipts", "names",
        "aliases", "runs", "keep_days", "unreferenced", "garbage", "refused",
    )  # fmt: skip

    contents: Totals
    made_at: datetime
    channels: dict[str, KindAmount] = field(default_factory=dict)
    ages: dict[str, KindAmount] = field(default_factory=dict)
    repeated: Duplicates = field(default_factory=Duplicates)
    reach: dict[str, KindAmount] = field(default_factory=dict)
    documents: KindAmount = field(default_factory=KindAmount)
    packs: KindAmount = field(default_factory=KindAmount)
    receipts: KindAmount = field(default_factory=KindAmount)
    names: int = 0
    aliases: tuple[NamedEnvironment, ...] = ()
    runs: tuple[LastRun, ...] = ()
    keep_days: float = 0.0
    unreferenced: bool = False
    garbage: Amount | None = None
    refused: AsyncCacheError | None = None

    @property
    def archives(self) -> int:
        """Number of archives."""
        return sum(self.contents.objects.values())

    @property
    def bytes(self) -> int:
        """Size of all archives."""
        return sum(self.contents.bytes.values())

    def raise_for_failures(self) -> None:
        """Raise if it cannot be determined what is needed.

        Raises:
            IntegrityError: An alias, lease or document cannot be read.
        """
        if self.refused is not None:
            raise self.refused
