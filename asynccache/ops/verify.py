"""Reading a store to its last byte: is every archive what its key and its receipt say?"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from asynccache.engine.adoption import Adoption, Different
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import (
    AsyncCacheError,
    FetchError,
    IntegrityError,
    ObjectNotFoundError,
    StoreError,
    UsageError,
    error_from_document,
)
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.document import Documented
from asynccache.model.package import Package
from asynccache.model.shard import Shard
from asynccache.ops.contents import archives
from asynccache.ops.shard_journal import SAVE_EVERY, Journal
from asynccache.ops.shards import Division
from asynccache.runtime.tasks import outcome_of, run_works, with_beside
from asynccache.store import journal, layout
from asynccache.store.base import Store
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, NotWanted, Reading, Whole

if TYPE_CHECKING:
    from asynccache.archive import Receipt
    from asynccache.archive.second_opinion import Opinion


_COUNTS: Final = ("checked", "bytes", "skipped", "without_receipt", "compared")
_NOT_MOVED: Final = ("receipt", "missing")


@dataclass(frozen=True, slots=True)
class Damage(Documented):
    """One object that is not what it should be.

    Attributes:
        key: The key.
        part: `size`, `md5`, `sha256`, `receipt`, `members` or `missing`.
        expected: What the key, the receipt or the published archive says.
        found: What is there.
        moved_to: Where it was quarantined; empty if it was left in place.
    """

    key: str
    part: str
    expected: str
    found: str
    moved_to: str = ""

    def __str__(self) -> str:
        moved = f"; quarantined as {self.moved_to}" if self.moved_to else ""
        return f"{self.key} has the wrong {self.part}: expected {self.expected}, found {self.found}{moved}"


@dataclass(slots=True)
class Verification(Documented):
    """What reading a store showed.

    Attributes:
        checked: Objects read and digested.
        bytes: Their bytes.
        skipped: Objects that were not in the sample.
        without_receipt: Transmuted archives whose receipt is missing: whole, but their origin is not recorded.
        compared: Those that were compared with their published archive, where that was asked for, and are the same.
        uncompared: Key -> why it could not be, such as a published archive that is nowhere.
        damaged: What is wrong, by key.
        errors: What could not be read at all.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "whole", "checked", "bytes", "skipped", "without_receipt", "compared", "uncompared", "damaged", "errors"
    )  # fmt: skip

    checked: int = 0
    bytes: int = 0
    skipped: int = 0
    without_receipt: int = 0
    compared: int = 0
    uncompared: dict[str, AsyncCacheError] = field(default_factory=dict)
    damaged: list[Damage] = field(default_factory=list)
    errors: dict[str, AsyncCacheError] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether everything that was read is as it should be."""
        return not self.damaged and not self.errors

    @property
    def looked_at(self) -> int:
        """How many are read, passed over or could not be read."""
        return self.checked + self.skipped + len(self.errors)

    def forget_failure(self, unit: str) -> None:
        """Take out one that could not be read, and is retried."""
        self.errors.pop(unit, None)

    def add(self, other: Verification) -> None:
        """Add what reading other archives showed."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.uncompared |= other.uncompared
        self.damaged += other.damaged
        self.errors |= other.errors

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Verification:
        """Read what `as_document` wrote.

        Raises:
            KeyError, TypeError, ValueError: It is something else.
        """
        return cls(
            **{name: int(said[name]) for name in _COUNTS},
            uncompared={key: error_from_document(error) for key, error in said["uncompared"].items()},
            damaged=[Damage(**{name: str(value) for name, value in each.items()}) for each in said["damaged"]],
            errors={key: error_from_document(error) for key, error in said["errors"].items()},
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """Which archives of a store are read.

    Attributes:
        pattern: Shell pattern of file names or keys (see `contents.archives`); None for all.
        share: How many of them, above 0 up to 1. Which ones depends on key and seed only, so shards of a store can be
            read on different days with different seeds.
        seed: Any text.
        shard: Which part of the keys; None for all.
        run_id: Name of the run that shards have in common. Whoever does a part of a run continues where it was.

    Raises:
        UsageError: The share is none.
    """

    pattern: str | None = None
    share: float = 1.0
    seed: str = ""
    shard: Shard | None = None
    run_id: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            found = f"{self.share:g}"
            raise UsageError("--sample is wrong", expected="a share above 0 and up to 1 (100%)", found=found)

    @property
    def whole(self) -> bool:
        """Whether what belongs to no archive is read: by whoever reads the whole store, or the first part of it."""
        return self.of_all and self.index == 1

    @property
    def of_all(self) -> bool:
        """Whether all shards together read the whole store."""
        return self.pattern is None and self.share == 1

    def division(
        self, dirname: str, *, quarantine: bool = False, adopt: bool = False, check_with: str | None = None
    ) -> Division:
        """Return what is divided of a store with this directory of packages; named runs are told apart by all of it."""
        how = "quarantine" * quarantine, "adopt" * adopt, *([check_with] if check_with else [])
        about = (self.pattern, f"{self.share:g}", self.seed, *how) if self.run_id else ()
        return Division("verify", (self.run_id or None, *about), f"{dirname}/", self.shard.count if self.shard else 1)

    def journal_key(self, division: Division) -> str:
        """Return where the store keeps how far a run has come; empty where it has no name."""
        return division.part_key(self.index) if self.run_id else ""

    @property
    def index(self) -> int:
        """Which part, from 1."""
        return self.shard.index if self.shard else 1

    @property
    def shared(self) -> bool:
        """Whether others read other parts."""
        return self.shard is not None and self.shard.count > 1

    def takes(self, key: str) -> bool:
        """Return whether an archive that the pattern means is read."""
        number = int.from_bytes(hashlib.sha256(f"{self.seed}:{key}".encode()).digest()[:8], "big")
        return number < self.share * 2**64


Checked = Callable[[StoredArchive], object]
"""Told of each archive that was read."""
Total = Callable[[int, int], object]
"""Told how many archives there are to read, and their bytes, when that is known."""


async def verify_store(
    host: Host,
    sources: Sources,
    sample: Sample,
    *,
    keys: KeyRange = WHOLE,
    journal_key: str = "",
    quarantine: bool = False,
    adopt: bool = False,
    check_with: str | None = None,
    checked: Checked | None = None,
    total: Total | None = None,
) -> Verification:
    """Read and digest the archives of a store.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and upstream.
        sample: Which of them.
        keys: Only those of this range.
        journal_key: Where the store keeps how far this has come; where a journal is there, it goes on, and does nothing
            if all is done. Empty to keep none.
        quarantine: Move damaged objects out of every reader's way, so that the next `cache` brings them again.
        adopt: Compare each derived archive with its published archive, remember that, write a receipt; one that holds
            something else is damaged.
        check_with: Compare each derived archive that has a receipt with its published archive, and have this
            program compare them as well (`asynccache.archive.second_opinion`); one that differs for either is damaged.
        checked: Called with each archive that was read.
        total: Called with the amount to read; costs another listing, beside the reading.

    Raises:
        StoreError: The store cannot be listed, or the journal cannot be written.
        UsageError: There is nobody of that name who checks.
    """
    opinion = None if check_with is None else await host.threads.run(_opinion, check_with)
    journal = Journal(sources.store, journal_key, Verification)
    if journal_key:
        await journal.load()
        if not journal.loaded:
            await journal.begin_again()
    if not journal.complete:
        reading = _Reading(
            host, sources, sample, keys, journal, quarantine=quarantine, adopt=adopt, opinion=opinion, checked=checked
        )
        if total is None:
            await reading.run()
        else:
            await with_beside(reading.run(), outcome_of(reading.count(total)))
    journal.counts.damaged.sort(key=lambda d: d.key)
    return journal.counts


def left_of(journal: Journal[Verification], keys: KeyRange) -> KeyRange:
    """Return what of a range is behind the mark of a journal."""
    return keys.from_(journal.behind) if journal.behind else keys


class _Reading:
    """Reads what is behind the mark of a journal, and before that what could not be read."""

    def __init__(
        self,
        host: Host,
        sources: Sources,
        sample: Sample,
        keys: KeyRange,
        journal: Journal[Verification],
        *,
        quarantine: bool,
        adopt: bool,
        opinion: Opinion | None,
        checked: Checked | None,
    ) -> None:
        self._host = host
        self._sources = sources
        self._sample = sample
        self._journal = journal
        self._left = left_of(journal, keys)
        self._quarantine = quarantine
        self._adopt = adopt
        self._opinion = opinion
        self._checked = checked

    async def run(self) -> None:
        """Read them."""
        journal, derived = self._journal, self._sources.derived
        await derived.load()
        try:
            await run_works(self._chosen(), self._noted, room=self._host.budgets.in_flight, keep=False)
        except BaseException:
            with suppress(StoreError):  # why it ended is what is to be told
                await self._save()
            raise
        finally:
            await derived.save()
        journal.complete = not journal.failed
        await self._save()

    async def count(self, total: Total) -> None:
        """Tell how much there is to read."""
        count = size = 0
        async for archive in self._archives():
            if self._sample.takes(archive.key):
                count += 1
                size += archive.size
        total(count, size)

    def _archives(self) -> AsyncGenerator[StoredArchive]:
        return archives(
            self._sources.store, self._host.settings.packages_dirname, self._sample.pattern, keys=self._left
        )

    async def _save(self) -> None:
        if self._journal.key:
            await self._journal.save()

    async def _chosen(self) -> AsyncGenerator[StoredArchive]:
        journal, clock = self._journal, self._host.clock
        saved = clock.now()
        for key in sorted(journal.failed):
            info = await outcome_of(self._sources.store.head(key))
            if isinstance(info, AsyncCacheError):
                journal.tried_again(key, Verification(errors={key: info}), failed=True)
                continue
            archive = None if info is None else StoredArchive.listed(info, self._host.settings.packages_dirname)
            if archive is None:
                journal.tried_again(key, None)
            else:
                yield archive
        async for archive in self._archives():
            if self._sample.takes(archive.key):
                journal.begin(archive.key)
                yield archive
            else:
                journal.passed(archive.key, Verification(skipped=1))
            if clock.now() - saved >= SAVE_EVERY:
                saved = clock.now()
                await self._save()

    async def _noted(self, archive: StoredArchive) -> None:
        outcome = await outcome_of(self._check(archive))
        failed = isinstance(outcome, AsyncCacheError)
        counts = Verification(errors={archive.key: outcome}) if isinstance(outcome, AsyncCacheError) else outcome
        self._journal.end(archive.key, counts, failed=failed)

    async def _check(self, archive: StoredArchive) -> Verification:
        host, sources, counts = self._host, self._sources, Verification()
        receipt = await receipt_of(sources.store, archive, host.settings.packages_dirname)
        reading = await read_archive(host, sources, archive, counts, receipt)
        damage = None if isinstance(reading, Whole) else _damage(archive.key, reading)
        version = reading.version if isinstance(reading, Damaged) else archive.info.etag
        # a level of 0 is that of a format that others wrote and we compared
        opinion = self._opinion if receipt is not None and receipt.level else None
        if damage is None and archive.parts.transmuted and (self._adopt or opinion is not None):
            damage = await adopted(host, sources, archive, counts, write_receipt=self._adopt, opinion=opinion)
        if damage is not None:
            if self._quarantine and damage.part not in _NOT_MOVED:
                moved_to = await quarantined(sources.store, archive.key, version, host.settings.username)
                damage = replace(damage, moved_to=moved_to)
            counts.damaged.append(damage)
        if self._checked is not None:
            self._checked(archive)
        return counts


async def read_archive(
    host: Host, sources: Sources, archive: StoredArchive, result: Verification, receipt: Receipt | None
) -> Reading:
    """Read one archive, compare it with its key and its receipt, and count it in `result`.

    Raises:
        StoreError: It cannot be read.
    """
    wanted = Digests(sha256=receipt.derived.sha256) if receipt is not None else None
    name = hashlib.sha256(archive.key.encode()).hexdigest()[:32]
    path = await host.threads.run(host.workspace.passing_file, name)
    async with host.budgets.temp.borrow(archive.size):
        try:
            reading = await sources.reader.read(archive, path, wanted=wanted)
        finally:
            await host.threads.certainly(_remove, path)
    if not isinstance(reading, Absent):
        result.checked += 1
        result.bytes += archive.size
        result.without_receipt += archive.parts.transmuted and receipt is None
    return reading


async def adopted(
    host: Host,
    sources: Sources,
    archive: StoredArchive,
    result: Verification,
    *,
    write_receipt: bool = True,
    opinion: Opinion | None = None,
) -> Damage | None:
    """Compare a derived archive with its published archive, and count it in `result`.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and upstream.
        archive: The derived archive.
        result: Is added to.
        write_receipt: Whether one that has no receipt gets one.
        opinion: Compares them as well.
    """
    package = Package.from_url(archive.parts.source_url)
    found = await sources.inventory.refresh(package.url)
    published = next((a for a in found if a.format == package.url_format and a.stem == package.stem), None)
    try:
        package = package if published is None else package.with_digests(published.digests)
        reading = await Adoption(host, sources).adopt(
            package, found, archive, write_receipt=write_receipt, opinion=opinion
        )
    except (IntegrityError, FetchError) as exc:
        result.uncompared[archive.key] = exc
        return None
    if isinstance(reading, Different):
        return Damage(archive.key, reading.part, reading.expected, reading.found)
    if reading is not None:
        return _damage(archive.key, reading)
    result.compared += 1
    return None


def _damage(key: str, reading: Absent | NotWanted | Damaged) -> Damage:
    match reading:
        case Absent():
            return Damage(key, "missing", "the object that was listed", "none: it was removed meanwhile")
        case NotWanted():
            return Damage(key, "receipt", f"{reading.part} {reading.expected}", reading.found)
        case Damaged():
            return Damage(key, reading.part, reading.expected, reading.found)


async def quarantined(store: Store, key: str, version: str | None, user: str) -> str:
    """Move a damaged object out of every reader's way; return its new key, empty if it has changed meanwhile.

    Args:
        store: An open store, whose log it is entered in.
        key: The object.
        version: Of the object that was read.
        user: Who moves it.
    """
    there = await store.head(key)
    if there is None or there.etag != version:
        return ""
    moved_to = layout.quarantine_key(key, datetime.now(UTC))
    await journal.enter(store, "quarantine", [key], moved_to=moved_to, user=user)
    try:
        await store.move(key, moved_to)
    except ObjectNotFoundError:
        return ""
    return moved_to


async def receipt_of(store: Store, archive: StoredArchive, packages_dirname: str) -> Receipt | None:
    """Return the receipt of a transmuted archive; None if there is none.

    Raises:
        StoreError: The store cannot be read.
        ArchiveError: It is none.
    """
    if not archive.parts.transmuted:
        return None
    key = layout.receipt_key(archive.key, packages_dirname)
    try:
        from asynccache.archive import Receipt  # noqa: PLC0415 - few archives have one, and all codecs come with it

        return Receipt.from_json(await store.get(key))
    except ObjectNotFoundError:
        return None


def _opinion(name: str) -> Opinion | None:
    from asynccache.archive.second_opinion import opinion_of  # noqa: PLC0415 - as above

    return opinion_of(name)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
