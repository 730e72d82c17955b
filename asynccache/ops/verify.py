"""Reading a store to its last byte: is every archive what its key and its receipt say?"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, ObjectNotFoundError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.document import Documented, document
from asynccache.ops.contents import archives
from asynccache.runtime.tasks import run_works
from asynccache.store import layout
from asynccache.store.base import Store
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, NotWanted, Reading, Whole

if TYPE_CHECKING:
    from asynccache.archive import Receipt


@dataclass(frozen=True, slots=True)
class Damage(Documented):
    """One object that is not what it should be.

    Attributes:
        key: Which.
        part: `size`, `md5`, `sha256`, `receipt` or `missing`.
        expected: What the key or the receipt says.
        found: What is there.
        moved_to: Where it was quarantined; empty when it was left in place.
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
class Verification:
    """What reading a store showed.

    Attributes:
        checked: Objects read and digested.
        bytes: Their bytes.
        skipped: Objects that were not in the sample.
        without_receipt: Transmuted archives whose receipt is missing: whole, but their origin is not recorded.
        damaged: What is wrong, by key.
        errors: What could not be read at all.
    """

    checked: int = 0
    bytes: int = 0
    skipped: int = 0
    without_receipt: int = 0
    damaged: list[Damage] = field(default_factory=list)
    errors: dict[str, AsyncCacheError] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        """Whether everything that was read is as it should be."""
        return not self.damaged and not self.errors

    def as_document(self) -> dict[str, object]:
        """Return the result as plain values."""
        return document(self, whole=self.whole)


@dataclass(frozen=True, slots=True)
class Sample:
    """Which archives of a store are read.

    Attributes:
        pattern: Shell pattern of file names or keys (see `contents.archives`); None for all.
        share: How many of them, above 0 up to 1. Which ones depends on key and seed only, so shards of a store can be
            read on different days with different seeds.
        seed: Any text.

    Raises:
        UsageError: The share is none.
    """

    pattern: str | None = None
    share: float = 1.0
    seed: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            found = f"{self.share:g}"
            raise UsageError("--sample is wrong", expected="a share above 0 and up to 1 (100%)", found=found)

    @property
    def whole(self) -> bool:
        """Whether it is the whole store."""
        return self.pattern is None and self.share == 1

    def takes(self, key: str) -> bool:
        """Tell whether an archive that the pattern means is read."""
        number = int.from_bytes(hashlib.sha256(f"{self.seed}:{key}".encode()).digest()[:8], "big")
        return number < self.share * 2**64


Checked = Callable[[StoredArchive], object]
"""Told of each archive that was read."""


async def verify_store(
    engine: Engine,
    sample: Sample,
    *,
    quarantine: bool = False,
    checked: Checked | None = None,
) -> Verification:
    """Read and digest the archives of a store.

    Args:
        engine: An open engine: its store, threads and budgets are used.
        sample: Which of them.
        quarantine: Move damaged objects out of every reader's way, so that the next `cache` brings them anew.
        checked: Told of each archive that was read.

    Raises:
        StoreError: The store cannot be listed.
    """
    result = Verification()
    keys: list[str] = []

    async def chosen() -> AsyncGenerator[StoredArchive]:
        async for archive in archives(engine.store, engine.settings.packages_dirname, sample.pattern):
            if sample.takes(archive.key):
                keys.append(archive.key)
                yield archive
            else:
                result.skipped += 1

    async def check(archive: StoredArchive) -> None:
        reading = await read_archive(engine, archive, result)
        damage = None if isinstance(reading, Whole) else _damage(archive.key, reading)
        if damage is not None:
            if quarantine and isinstance(reading, Damaged):
                damage = replace(damage, moved_to=await quarantined(engine.store, archive.key, reading.version))
            result.damaged.append(damage)
        if checked is not None:
            checked(archive)

    outcomes = await run_works(chosen(), check, room=engine.budgets.in_flight)
    result.errors = {
        key: outcome for key, outcome in zip(keys, outcomes, strict=True) if isinstance(outcome, AsyncCacheError)
    }
    result.damaged.sort(key=lambda d: d.key)
    return result


async def read_archive(engine: Engine, archive: StoredArchive, result: Verification) -> Reading:
    """Read one archive, compare it with its key and its receipt, and count it in `result`.

    Raises:
        StoreError: It cannot be read.
    """
    receipt = await _receipt(engine, archive.key) if archive.parts.transmuted else None
    wanted = Digests(sha256=receipt.derived.sha256) if receipt is not None else None
    name = hashlib.sha256(archive.key.encode()).hexdigest()[:32]
    path = await engine.threads.run(engine.workspace.passing_file, name)
    async with engine.budgets.temp.borrow(archive.size):
        try:
            reading = await engine.reader.read(archive, path, wanted=wanted)
        finally:
            await engine.threads.certainly(_remove, path)
    if not isinstance(reading, Absent):
        result.checked += 1
        result.bytes += archive.size
        result.without_receipt += archive.parts.transmuted and receipt is None
    return reading


def _damage(key: str, reading: Absent | NotWanted | Damaged) -> Damage:
    match reading:
        case Absent():
            return Damage(key, "missing", "the object that was listed", "none: it was removed meanwhile")
        case NotWanted():
            return Damage(key, "receipt", f"{reading.part} {reading.expected}", reading.found)
        case Damaged():
            return Damage(key, reading.part, reading.expected, reading.found)


async def quarantined(store: Store, key: str, version: str | None) -> str:
    """Move a damaged object out of every reader's way; return its new key, empty when it has changed meanwhile."""
    there = await store.head(key)
    if there is None or there.etag != version:
        return ""
    moved_to = layout.quarantine_key(key, datetime.now(UTC))
    try:
        await store.move(key, moved_to)
    except ObjectNotFoundError:
        return ""
    return moved_to


async def _receipt(engine: Engine, key: str) -> Receipt | None:
    try:
        from asynccache.archive import Receipt  # noqa: PLC0415 - few archives have one, and all codecs come with it

        return Receipt.from_json(await engine.store.get(layout.receipt_key(key, engine.settings.packages_dirname)))
    except ObjectNotFoundError:
        return None


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
