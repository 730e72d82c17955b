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

RunCommand = Literal["backfill", "audit", "gc", "replicate"]
DuplicateKind = Literal["several channels", "two digests"]


@dataclass(frozen=True, slots=True)
class Duplicate(Documented):
    """Something that is there more than once.

    Attributes:
        kind: `several channels`: a file name that a channel before had, too. `two digests`: archives of one name that
            were made from one address.
        name: File name, of conda packages with its subdirectory.
        channel: Where it was met again.
        bytes: What is there beside the first.
    """

    kind: DuplicateKind
    name: str
    channel: str
    bytes: int


@dataclass(slots=True)
class Duplicates(Documented):
    """What is there more than once.

    Attributes:
        both_forms: Conda packages in both formats, and the bytes of the formats that were made by transmuting.
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
    """A name and its history.

    Attributes:
        name: Of the environment.
        req_id: What was asked for; empty where the name cannot be read.
        full_id: What was found, likewise.
        modified: When the name was last written; None where the store does not say.
        moves: How many moves its history has; 0 for a name that does not move.
        history: The last of them, the latest first.
        trouble: Why it cannot be read; empty where it can.
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
        command: Which.
        begun_at: When it was begun; UTC, ISO 8601 with zone; empty where that is not known.
        updated_at: When it last wrote something, likewise.
        shards: Into how many it was divided; of `gc` how many lists of candidates it wrote.
        unfinished: Those that are not done.
        figures: What was counted, by its name in that command's JSON.
    """

    command: RunCommand
    begun_at: str
    updated_at: str
    shards: int
    unfinished: int
    figures: dict[str, int]


@dataclass(slots=True)
class StoreReport(Documented):
    """What is in a store, who needs it, and what was done to it.

    Attributes:
        contents: What `stat` counts.
        made_at: When.
        channels: Archives by channel, the largest ones; all others together are `(others)`.
        ages: Archives by the time since they were written.
        repeated: What is there more than once.
        reach: Archives by who needs them: `kept`, those of environments that a name, its history, a lease, a use or a
            run keeps; `named`, those that only other documents name; `nothing`, those that no document names;
            `unknown`, all where that cannot be told.
        documents: Those of environments.
        packs: Those of environments.
        receipts: Those of transmuted archives.
        names: How many there are.
        aliases: Those that were written last.
        runs: The last runs that are recorded in the store.
        keep_days: What is younger would stay.
        unreferenced: Whether environments that nothing keeps would go.
        garbage: What `gc` would mark by these rules; null where it would refuse.
        refused: Why it would.
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
        """How many there are."""
        return sum(self.contents.objects.values())

    @property
    def bytes(self) -> int:
        """Of all archives."""
        return sum(self.contents.bytes.values())

    def raise_for_failures(self) -> None:
        """Raise when it cannot be told what is needed.

        Raises:
            IntegrityError: A name, lease or document cannot be read.
        """
        if self.refused is not None:
            raise self.refused
