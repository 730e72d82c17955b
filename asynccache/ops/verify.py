"""Reading a store to its last byte: is every archive what its key and its receipt say?"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING

from asynccache.engine.engine import Engine
from asynccache.engine.quarantine import set_aside
from asynccache.errors import AsyncCacheError, ObjectNotFoundError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, digest_file
from asynccache.model.package import KEY_ALGORITHM
from asynccache.ops.contents import StoredObject, archives
from asynccache.store import layout

if TYPE_CHECKING:
    from asynccache.archive import Receipt


@dataclass(frozen=True, slots=True)
class Damage:
    """One object that is not what it should be.

    Attributes:
        key: Which.
        part: `size`, `md5`, `sha256`, `receipt` or `missing`.
        expected: What the key or the receipt says.
        found: What is there.
        moved_to: Where it was set aside; empty when it was left in place.
    """

    key: str
    part: str
    expected: str
    found: str
    moved_to: str = ""

    def __str__(self) -> str:
        moved = f"; set aside as {self.moved_to}" if self.moved_to else ""
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
        return {
            "checked": self.checked,
            "bytes": self.bytes,
            "skipped": self.skipped,
            "without_receipt": self.without_receipt,
            "damaged": [
                {"key": d.key, "part": d.part, "expected": d.expected, "found": d.found, "moved_to": d.moved_to}
                for d in self.damaged
            ],
            "errors": {key: error.as_document() for key, error in self.errors.items()},
            "whole": self.whole,
        }


Checked = Callable[[StoredObject, Damage | None], None]
"""Called after each object, with what is wrong with it."""


async def verify_store(
    engine: Engine,
    *,
    pattern: str | None = None,
    sample: float = 1.0,
    seed: str = "",
    quarantine: bool = False,
    checked: Checked | None = None,
) -> Verification:
    """Read and digest the archives of a store.

    Args:
        engine: An open engine: its store, threads and budgets are used.
        pattern: Shell pattern of file names or keys (see `contents.archives`).
        sample: Share of the objects to read, above 0 up to 1. Which ones depends on key and seed only, so shards of a
            store can be read on different days with different seeds.
        seed: Any text.
        quarantine: Set damaged objects aside, so that the next `cache` brings them anew.
        checked: Told of every object.

    Raises:
        StoreError: The store cannot be listed.
    """
    result = Verification()
    limit = asyncio.Semaphore(engine.settings.in_flight)

    async def check(item: StoredObject) -> None:
        try:
            damage = await check_archive(engine, item, result)
            if damage is not None and quarantine and damage.part != "receipt":
                moved = await set_aside(engine.store, damage.key)
                damage = Damage(damage.key, damage.part, damage.expected, damage.found, moved)
        except AsyncCacheError as exc:
            result.errors[item.info.key] = exc
        else:
            if damage is not None:
                result.damaged.append(damage)
            if checked is not None:
                checked(item, damage)
        finally:
            limit.release()

    async with asyncio.TaskGroup() as group:
        async for item in archives(engine.store, engine.settings.packages_dirname, pattern):
            if not _in_sample(item.info.key, sample, seed):
                result.skipped += 1
                continue
            await limit.acquire()
            group.create_task(check(item))
    result.damaged.sort(key=lambda d: d.key)
    return result


async def check_archive(engine: Engine, item: StoredObject, result: Verification) -> Damage | None:
    """Read one archive, count it in `result`, and return what is wrong with it.

    Raises:
        StoreError: It cannot be read.
    """
    key, parts = item.info.key, item.parts
    receipt = await _receipt(engine, key) if parts.transmuted else None
    algorithm = KEY_ALGORITHM[parts.kind]
    algorithms = {algorithm, "sha256"} if receipt else {algorithm}
    directory = engine.workspace.path / "verify"
    path = directory / hashlib.sha256(key.encode()).hexdigest()[:32]
    async with engine.budgets.temp.borrow(item.info.size), engine.budgets.memory.borrow(min(item.info.size, 32 << 20)):
        try:
            await engine.threads.run(directory.mkdir, parents=True, exist_ok=True)
            try:
                await engine.store.download(key, path, size=item.info.size)
            except ObjectNotFoundError:
                return Damage(key, "missing", "the object that was listed", "none: it was removed meanwhile")
            async with engine.budgets.cpu.borrow():
                found = await engine.threads.work(lambda _stop: digest_file(str(path), *algorithms))
        finally:
            await engine.threads.run(path.unlink, missing_ok=True)
    result.checked += 1
    result.bytes += found.size or 0
    if parts.transmuted and receipt is None:
        result.without_receipt += 1
    difference = Digests.of(algorithm, parts.hash, size=item.info.size).mismatch(found)
    if difference is None and receipt is not None and receipt.derived.mismatch(found):
        return Damage(key, "receipt", f"sha256 {receipt.derived.sha256}", str(found.sha256))
    return None if difference is None else Damage(key, difference[0], str(difference[1]), str(difference[2]))


async def _receipt(engine: Engine, key: str) -> Receipt | None:
    try:
        from asynccache.archive import Receipt  # noqa: PLC0415 - few archives have one, and all codecs come with it

        return Receipt.from_json(await engine.store.get(layout.receipt_key(key, engine.settings.packages_dirname)))
    except ObjectNotFoundError:
        return None


def _in_sample(key: str, share: float, seed: str) -> bool:
    number = int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")
    return number < share * 2**64
