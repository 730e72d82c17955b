"""Replicating packages and their receipts: all of a range of keys, or those that environments need."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import field
from typing import Final

from asynccache.catalog.aliases import Ids
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine import events
from asynccache.errors import IntegrityError
from asynccache.model.dataclass import dataclass
from asynccache.model.identity import EnvID
from asynccache.node.json_text import read_json
from asynccache.ops.backfill_run import Counts, Ending
from asynccache.ops.reachable import source_directories
from asynccache.ops.replicate_environments import objects_of_environments
from asynccache.ops.replicate_objects import ObjectReplica
from asynccache.ops.shard_journal import SAVE_EVERY, Journal
from asynccache.runtime.tasks import run_together, run_works
from asynccache.store import layout
from asynccache.store.base import ObjectInfo
from asynccache.store.inventory import Inventory
from asynccache.store.key_range import LAST, WHOLE, KeyRange
from asynccache.store.partition import unit_of
from asynccache.store.stored import StoredArchive

_AHEAD: Final = 10_000  # source directories that are listed ahead of copying, so that totals are known
_TOTALS_EVERY: Final = 500  # source directories after which totals are reported again
_TOGETHER: Final = 2_000  # source directories that are looked up together
_DOCUMENTS: Final = 50  # that are read together
_RECEIPTS: Final = f"{layout.OWN}/receipts/"


@dataclass(slots=True)
class _Unit:
    """Everything that was made from one address, or one object of an older layout.

    Attributes:
        place: The source directory; the key of an object of an older layout.
        objects: What the source has of it.
        receipts: Whether receipts are copied with the archives; otherwise they are listed separately.
        again: Whether it is before the journal's mark, where it failed.
    """

    place: str
    objects: list[ObjectInfo] = field(default_factory=list)
    receipts: bool = False
    again: bool = False


class PackageReplica:
    """Copies packages.

    Args:
        objects: Copies single objects.
        ids: Ids of the environments whose packages to copy; None for all packages.
    """

    def __init__(self, objects: ObjectReplica, ids: frozenset[Ids] | None) -> None:
        self._objects = objects
        self._ids = ids
        self._host = objects.host
        self._source = objects.source
        self._dirname = objects.host.settings.packages_dirname
        self._journal: Journal[Counts] | None = None

    async def copy(self, keys: KeyRange, there: KeyRange, journal: Journal[Counts] | None = None) -> None:
        """Copy what is missing.

        Args:
            keys: Range of the source's keys.
            there: The same range in the target, in its own order or wider.
            journal: Where to continue, and where each package is recorded; None to look at the whole range.

        Raises:
            StoreError: One of the stores cannot be listed, or the journal cannot be written.
        """
        self._journal = journal
        queue: asyncio.Queue[_Unit | None] = asyncio.Queue(_AHEAD)
        found = self._listed(keys, there) if self._ids is None else self._reached(self._ids, keys)
        works = run_works(self._todo(queue), self._copy_unit, room=self._host.budgets.in_flight, keep=False)
        await run_together([self._read_ahead(found, queue), works])
        if self._ids is None:
            await self._copy_receipts(keys, there)

    async def _read_ahead(self, found: AsyncGenerator[_Unit], queue: asyncio.Queue[_Unit | None]) -> None:
        """List ahead of copying, and report how much there is to do."""
        count = size = 0

        def report() -> None:
            nonlocal count, size
            if count:
                self._host.emit(events.RunStarted(count, size))
            count = size = 0

        async with aclosing(found) as units:
            async for unit in units:
                lacking = [info for info in unit.objects if not self._objects.same(info)]
                count, size = count + bool(lacking), size + sum(info.size for info in lacking)
                if count == _TOTALS_EVERY:
                    report()
                await queue.put(unit)
        report()
        await queue.put(None)

    async def _todo(self, queue: asyncio.Queue[_Unit | None]) -> AsyncGenerator[_Unit]:
        """Yield what is incomplete in the target, in the order of keys."""
        journal, clock = self._journal, self._host.clock
        saved = clock.now()
        while (unit := await queue.get()) is not None:
            if all(map(self._objects.same, unit.objects)):
                self._objects.result.tally("archives").there += len(unit.objects)
                if journal is not None and unit.again:
                    journal.tried_again(unit.place, Counts.of("there"))
                elif journal is not None:
                    journal.passed(unit.place, Counts.of("there"))
                continue
            if journal is not None and not unit.again:
                journal.begin(unit.place)
            yield unit
            if journal is not None and clock.now() - saved >= SAVE_EVERY:
                saved = clock.now()
                await journal.save()

    async def _copy_unit(self, unit: _Unit) -> None:
        objects, started = self._objects, self._host.clock.now()
        failed: str | None = None
        size = 0
        # the first one written is the one that documents name
        for info in sorted(unit.objects, key=lambda each: (each.modified or 0.0, each.key)):
            size += 0 if objects.same(info) else info.size
            archive = StoredArchive.listed(info, self._dirname)
            if archive is None:
                good = await objects.file("archives", info, lambda _path, _digests: "")
            else:
                if unit.receipts and archive.parts.transmuted and not objects.same(info):
                    await self._copy_receipt(archive.key)
                good = await objects.archive(archive)
            failed = failed if good else info.key
        name = unit.objects[0].key.rpartition("/")[2]
        if failed is None:
            self._host.emit(events.PackageDone(name, unit.place, self._host.clock.now() - started))
        else:
            self._host.emit(events.PackageFailed(name, unit.place, str(objects.result.failures.get(failed, ""))))
        if self._journal is not None:
            ending: Ending = "made" if failed is None else "failed"
            self._journal.end(unit.place, Counts.of(ending, size), failed=failed is not None)

    async def _listed(self, keys: KeyRange, there: KeyRange) -> AsyncGenerator[_Unit]:
        """Yield what the source has in a range, after listing the same range of the target."""
        prefix, journal = f"{self._dirname}/", self._journal
        left = keys
        if journal is not None and journal.behind:
            left = keys.from_(f"{journal.behind}/{LAST}")
            there = there if there == WHOLE else there.from_(f"{journal.behind}/{LAST}")
            for place in sorted(journal.failed):
                await self._objects.look(place)
                async for unit in self._units(WHOLE, place):
                    unit.again = True
                    yield unit
        await self._objects.look(prefix, there)
        async for unit in self._units(left, prefix):
            yield unit

    async def _units(self, keys: KeyRange, prefix: str) -> AsyncGenerator[_Unit]:
        unit = _Unit("")
        async for info in keys.scan(self._source, prefix):
            if not info.size:
                continue  # a local store looks like this after another reader has moved its archives away
            place = unit_of(info.key, f"{self._dirname}/")
            if place != unit.place:
                if unit.objects:
                    yield unit
                unit = _Unit(place)
            unit.objects.append(info)
        if unit.objects:
            yield unit

    async def _reached(self, ids: frozenset[Ids], keys: KeyRange) -> AsyncGenerator[_Unit]:
        """Yield what the source has of the packages of environments."""
        directories, named = await self._needed(ids)
        behind = self._journal.behind if self._journal is not None else ""
        left = keys.from_(f"{behind}/{LAST}") if behind else keys
        failed = self._journal.failed if self._journal is not None else set()
        wanted = sorted((d for d in directories if left.holds(f"{d}/") or d in failed), key=lambda d: f"{d}/")
        store, dirname = self._objects.store, self._dirname
        for begin in range(0, len(wanted), _TOGETHER):
            some = wanted[begin : begin + _TOGETHER]
            here, there = Inventory(store, dirname), Inventory(self._source, dirname)
            await run_together([here.load_directories(set(some)), there.load_directories(set(some))])
            for directory in some:
                for archive in here.below(directory):
                    self._objects.seen(archive.info)
                found = [archive.info for archive in there.below(directory)]
                if found:
                    yield _Unit(directory, found, receipts=True, again=not left.holds(f"{directory}/"))
        for key in sorted(named):
            if left.holds(key) and (info := await self._source.head(key)) is not None and info.size:
                if (at := await store.head(key)) is not None:
                    self._objects.seen(at)
                yield _Unit(key, [info])

    async def _needed(self, ids: frozenset[Ids]) -> tuple[set[str], set[str]]:
        """Return the source directories of environments' packages, and keys of older layouts that they name."""
        keys = CatalogKeys(self._host.settings.envs_dirname)
        documents = EnvironmentDocuments(self._source, keys)
        found: list[EnvID] = []
        async for env_id, info in objects_of_environments(self._source, keys, ids):
            if info.key == keys.document(env_id):
                found.append(env_id)
        directories: set[str] = set()
        named: set[str] = set()
        for begin in range(0, len(found), _DOCUMENTS):
            read, _unreadable = await documents.get_all(found[begin : begin + _DOCUMENTS])
            for package in (package for environment in read for package in environment.packages):
                directories |= source_directories(package, self._dirname)
                named |= {key for key in package.cached.values() if layout.parse_key(key, self._dirname) is None}
        return directories, named

    async def _copy_receipts(self, keys: KeyRange, there: KeyRange) -> None:
        """Copy the receipts of a range of archives."""
        await self._objects.look(_RECEIPTS, self._of_receipts(there))

        async def listed() -> AsyncGenerator[ObjectInfo]:
            async for info in self._of_receipts(keys).scan(self._source, _RECEIPTS):
                yield info

        async def copy(info: ObjectInfo) -> None:
            await self._objects.small("receipts", info, _checked_receipt)

        await run_works(listed(), copy, room=self._host.budgets.in_flight, keep=False)

    async def _copy_receipt(self, key: str) -> None:
        """Copy the receipt of an archive, before the archive: so an archive that exists has its receipt."""
        info = await self._source.head(layout.receipt_key(key, self._dirname))
        if info is not None:
            await self._objects.small("receipts", info, _checked_receipt)

    def _of_receipts(self, keys: KeyRange) -> KeyRange:
        """Return the range of the receipts for a range of archives."""

        def moved(place: str) -> str:
            prefix = f"{self._dirname}/"
            return _RECEIPTS + place.removeprefix(prefix) if place.startswith(prefix) else place

        return KeyRange(moved(keys.after), moved(keys.upto), keys.order)


def _checked_receipt(data: bytes) -> None:
    try:
        read_json(data)
    except ValueError as exc:
        raise IntegrityError("a receipt is no JSON", hint="`asynccache verify --adopt` writes it again") from exc
