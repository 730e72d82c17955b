"""Copying single objects of a replication: existing ones are skipped, different ones kept, and all are counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from asynccache.engine import events
from asynccache.engine.host import Host
from asynccache.errors import AsyncCacheError, IntegrityError, ObjectNotFoundError, PreconditionFailedError
from asynccache.model.digest import Digests
from asynccache.ops.copying import Copier
from asynccache.ops.replicated import OnFinding, ReplicaFinding, ReplicaKind, Replicated, Trouble
from asynccache.runtime.tasks import outcome_of, run_together
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.key_set import KeySet
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Whole

T = TypeVar("T")


class ObjectReplica:
    """Copies objects, and knows which exist in the target.

    Args:
        host: Settings, threads and budgets to work with.
        store: The target, open.
        copier: Copies from the other store.
        result: Where it is counted.
        on_finding: Called with each finding.
    """

    def __init__(self, host: Host, store: Store, copier: Copier, result: Replicated, on_finding: OnFinding) -> None:
        self.host = host
        self.store = store
        self.source = copier.source
        self.result = result
        self._copier = copier
        self._messages = on_finding
        self._keys = KeySet()
        self._sizes = KeySet()
        self._places = KeySet()

    async def look(self, prefix: str, keys: KeyRange = WHOLE) -> None:
        """List the target's objects below a prefix, in a range of keys.

        Raises:
            StoreError: The store cannot be listed.
        """
        async for info in keys.scan(self.store, prefix):
            self.seen(info)

    def seen(self, info: ObjectInfo) -> None:
        """Record that an object exists."""
        self._keys.add(info.key)
        self._sizes.add(f"{info.size} {info.key}")
        archive = StoredArchive.listed(info, self.host.settings.packages_dirname)
        if archive is not None:
            self._places.add(place_of(archive))

    def same(self, info: ObjectInfo) -> bool:
        """Return whether an object of this key and size exists."""
        return f"{info.size} {info.key}" in self._sizes

    def has(self, key: str) -> bool:
        """Return whether an object exists, or an archive of any digest at a place (see `place_of`)."""
        return key in self._keys or key in self._places

    async def archive(self, archive: StoredArchive) -> bool:
        """Copy an archive; return whether it exists now."""

        async def copy() -> str | None:
            place = place_of(archive)
            if place in self._places:
                return f"{self.result.store} has {archive.filename} with another digest"
            reading = await self._copier.archive(archive)
            if isinstance(reading, Absent):
                raise ObjectNotFoundError(f"{archive.key} was removed from {self.result.source} meanwhile")
            if not isinstance(reading, Whole):
                raise reading.error(self.result.source)
            return None

        return await self._once("archives", archive.info, copy)

    async def file(self, kind: ReplicaKind, info: ObjectInfo, wrong: Callable[[Path, Digests], str]) -> bool:
        """Copy an object whose bytes `wrong` checks (see `Copier.file`); return whether it exists now."""
        return await self._once(kind, info, lambda: self._copier.file(info, wrong))

    async def small(self, kind: ReplicaKind, info: ObjectInfo, read: Callable[[bytes], object]) -> bool:
        """Copy a small object that `read` checks (see `Copier.look`); return whether it exists now."""

        async def copy() -> None:
            _value, data = await self._copier.look(info.key, read)
            await self.store.put(info.key, data, if_absent=True)

        return await self._once(kind, info, copy)

    async def look_at(self, key: str, read: Callable[[bytes], T]) -> tuple[T, bytes]:
        """Read a small object of the source (see `Copier.look`)."""
        return await self._copier.look(key, read)

    async def given(self, kind: ReplicaKind, info: ObjectInfo, data: bytes) -> bool:
        """Write a small object that was read with `look_at`, unless it exists; return whether it exists now."""
        return await self._once(kind, info, lambda: self.store.put(info.key, data, if_absent=True))

    async def changing(self, kind: ReplicaKind, info: ObjectInfo) -> None:
        """Copy a small object that its owner rewrites; if the target's differs, it has moved on."""
        if self.has(info.key):
            both = (self.source, self.store)
            outcome = await outcome_of(run_together([store.get(info.key) for store in both]))
            if isinstance(outcome, AsyncCacheError):
                self.report("failed", info.key, outcome)
                return
            if outcome[0] != outcome[1]:
                self.report("moved on", info.key, f"{self.result.store} has another one, which stays")
                return
            self.seen(info)
        await self.small(kind, info, lambda _data: None)

    def report(self, kind: Trouble, key: str, why: str | AsyncCacheError) -> None:
        """Report a finding, once."""
        result, text = self.result, str(why)
        if key in result.failures or key in result.moved_on:
            return
        if kind == "moved on":
            result.moved_on.append(key)
        else:
            result.failures[key] = why if isinstance(why, AsyncCacheError) else IntegrityError(text)
        if kind == "different":
            result.different.append(key)
        elif kind == "held back":
            result.held_back.append(key)
        self._messages(ReplicaFinding(kind, key, text))

    async def _once(self, kind: ReplicaKind, info: ObjectInfo, copy: Callable[[], Awaitable[object]]) -> bool:
        """Copy an object unless it exists; a text returned by `copy` says what is different."""
        tally, key = self.result.tally(kind), info.key
        if self.same(info):
            tally.there += 1
            return True
        if key in self._keys:
            self._different(key, f"{self.result.store} has another size of it")
            return True
        if not self.result.dry_run:
            outcome = await outcome_of(copy())
            if isinstance(outcome, PreconditionFailedError):  # another process was faster
                there = await self.store.head(key)
                if there is not None and there.size == info.size:
                    self.seen(info)
                    tally.there += 1
                    return True
                outcome = f"{self.result.store} has another size of it"
            if isinstance(outcome, AsyncCacheError):
                self.report("failed", key, outcome)
                return False
            if isinstance(outcome, str):
                self._different(key, outcome)
                return False
            self.host.emit(events.Uploaded(key.rpartition("/")[2], key, info.size, created=True))
        self.seen(info)
        self.result.failures.pop(key, None)  # it was tried before
        tally.copied += 1
        tally.bytes += info.size
        return True

    def _different(self, key: str, text: str) -> None:
        hint = "`asynccache verify` says whether one of the two is damaged"
        self.report("different", key, IntegrityError(f"{key} stays as it is: {text}", hint=hint))


def place_of(archive: StoredArchive) -> str:
    """Return the place of all digests of an archive's name; readers of the layout use one of them (contract, section
    3.4).
    """
    return f"{archive.parts.source_directory}/{archive.filename}"
