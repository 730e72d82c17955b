"""Copying one store into another: packages first, aliases last, so that what an alias refers to is complete.

The target is listed first, so a run that was killed continues where it stopped. Nothing is overwritten, and nothing is
visible before it was compared with its key. A document is copied when all packages that it names exist, an alias when
all documents of its environment do.

Each shard copies the packages of its range. The one that finds all others done checks all packages once more, copies
what is left, and then the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import Final

from asynccache.boot.bundle import BUNDLES
from asynccache.boot.zstd import WHEELS_KEY
from asynccache.catalog.aliases import Aliases, Ids
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.host import Host
from asynccache.errors import AsyncCacheError, ObjectNotFoundError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.shard import Shard
from asynccache.ops.backfill_run import BackfillRun, Counts, backfill_run
from asynccache.ops.copying import Copier
from asynccache.ops.reachable import names_of_environments
from asynccache.ops.replicate_environments import EnvironmentReplica
from asynccache.ops.replicate_objects import ObjectReplica
from asynccache.ops.replicate_packages import PackageReplica
from asynccache.ops.replicate_protection import ProtectionReplica
from asynccache.ops.replicated import OnFinding, Replicated
from asynccache.ops.shard_journal import Journal
from asynccache.ops.shards import Division, range_of
from asynccache.runtime.tasks import outcome_of
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_range import WHOLE, order_shown_by

_WHEELS: Final = WHEELS_KEY.rpartition("/")[0]
_NAMED: Final = 16  # digits of their sha256 in the keys of what nodes need


@dataclass(frozen=True, slots=True)
class ReplicaSelection:
    """What to replicate, and which part of it.

    Attributes:
        ids: (req_id, full_id) of the only environments to copy; None for everything.
        names: The only aliases to copy; None for all.
        about: The request, which is the same for all shards of one run.
        shard: The part of the packages; None for all.
        run_id: Name of the run, shared by all its shards.
        move_names: Also move aliases that have been moved in the target since.
    """

    ids: frozenset[tuple[str, str]] | None = None
    names: frozenset[Alias] | None = None
    about: tuple[str, ...] = ()
    shard: Shard | None = None
    run_id: str = ""
    move_names: bool = False

    def division(self, source: Store, dirname: str) -> Division:
        """Return what is divided of a store with this directory of packages."""
        about = (source.address, *self.about, self.run_id or None)
        return Division("replicate", about, f"{dirname}/", self.shard.count if self.shard else 1)


async def replica_selection(
    source: Store,
    keys: CatalogKeys,
    environments: Sequence[str] = (),
    *,
    aliases: bool = False,
    shard: Shard | None = None,
    run_id: str = "",
    move_names: bool = False,
) -> ReplicaSelection:
    """Return what is selected in a store.

    Args:
        source: The store, open.
        keys: Keys of its environments.
        environments: Aliases and ids, `REQ_ID:FULL_ID` or `FULL_ID`; if empty, everything.
        aliases: Only what aliases refer to now, if no environments are given.
        shard: As in `ReplicaSelection`.
        run_id: Likewise.
        move_names: Likewise.

    Raises:
        UsageError: A text is neither alias nor ids.
        ObjectNotFoundError: The store has no environment of a name.
        StoreError: The store cannot be read.
    """
    names = Aliases(source, keys)
    found: dict[Alias, Ids] = {}
    for text in environments:
        alias = Alias.parse(text, full_ids=True)
        first, _, second = alias.stored.partition(":")
        ids = (first, second) if alias.kind == "both-id" else await names.get(alias)
        if ids is None:
            raise ObjectNotFoundError(
                f"{source.address} has no environment {text}", hint="`asynccache env ls` lists those that a store has"
            )
        found[alias] = ids
    if aliases and not environments:
        found = {alias: ids async for alias, ids in names_of_environments(source, keys)}
    some = bool(environments) or aliases
    return ReplicaSelection(
        ids=frozenset(found.values()) if some else None,
        names=frozenset(alias for alias in found if alias.kind == "generic") if some else None,
        about=(*sorted(environments), *(["aliases"] if aliases else [])),
        shard=shard,
        run_id=run_id,
        move_names=move_names,
    )


@dataclass(slots=True)
class Replication:
    """One replication of one store into another.

    Attributes:
        host: Settings, threads and budgets to work with.
        store: The target, open.
        source: The other store, open; it is only read.
        selection: What to copy.
        on_finding: Called with each finding.
        dry_run: Copy nothing.
    """

    host: Host
    store: Store
    source: Store
    selection: ReplicaSelection
    on_finding: OnFinding
    dry_run: bool = False
    _objects: ObjectReplica = field(init=False)
    _result: Replicated = field(init=False)

    def __post_init__(self) -> None:
        self._result = Replicated(self.source.address, self.store.address, dry_run=self.dry_run)
        self._objects = ObjectReplica(
            self.host, self.store, Copier(self.host, self.store, self.source), self._result, self.on_finding
        )

    async def run(self) -> Replicated:
        """Replicate.

        Returns:
            What was copied, and what was not.

        Raises:
            StoreError: One of the stores cannot be listed, or the journal of a shard cannot be written.
        """
        clock, result, shard = self.host.clock, self._result, self.selection.shard
        started = clock.now()
        shared = shard is not None and shard.count > 1
        if shared:
            await self._share()
            if not self.dry_run:
                result.unfinished = (await self.so_far()).unfinished
        own = Journal(self.store, self._division.part_key(1), Counts)
        if not shared or not (self.dry_run or result.unfinished):
            for tally in result.objects.values():
                tally.there = 0  # counted again
            await self._whole()
            if not shared and not self.dry_run:
                await self._record(own)
        result.seconds = clock.now() - started
        return result

    async def so_far(self) -> BackfillRun:
        """Add up what all shards have copied.

        Raises:
            StoreError: A journal cannot be read.
        """
        return await backfill_run(self.store, self._division)

    @property
    def _division(self) -> Division:
        return self.selection.division(self.source, self.host.settings.packages_dirname)

    async def _record(self, own: Journal[Counts]) -> None:
        """Leave a record of a replication that is no shard, for `report`; where all was there, one may only read."""
        archives, failed = self._result.tally("archives"), len(self._result.failures)
        counts = Counts(there=archives.there, made=archives.copied, failed=failed, made_bytes=archives.bytes)
        outcome = await outcome_of(own.leave(counts, complete=not failed))
        self._result.unrecorded = outcome if isinstance(outcome, AsyncCacheError) else None

    async def _share(self) -> None:
        """Copy the packages of a shard; its journal is in the target."""
        shard, division = self.selection.shard, self._division
        dry_run, store = self.dry_run, self.store
        keys = await range_of(self.source, division, shard, self.host.clock, write=not dry_run, kept=store)
        # boundaries mean little to a store that lists in another order
        there = keys if await order_shown_by(store, division.base) == keys.order else WHOLE
        journal = Journal(store, division.part_key(shard.index if shard else 1), Counts)
        if self.selection.run_id:
            await journal.load()
            if journal.complete:
                return
        packages = PackageReplica(self._objects, self.selection.ids)
        if dry_run:
            await packages.copy(keys, there)
            return
        if not journal.loaded:
            await journal.begin_again()
        try:
            await packages.copy(keys, there, journal)
            # damaged objects stay damaged, and the last shard reports them again; what a store refused is retried
            journal.complete = not any(error.retryable for error in self._result.failures.values())
        finally:
            await journal.save()

    async def _whole(self) -> None:
        ids = self.selection.ids
        await ProtectionReplica(self._objects, ids).copy()
        await PackageReplica(self._objects, ids).copy(WHOLE, WHOLE)
        await self._supplies()
        environments = EnvironmentReplica(self._objects, ids)
        await environments.copy()
        await environments.copy_names(self.selection.names, anyway=self.selection.move_names)

    async def _supplies(self) -> None:
        """Copy what bare nodes need: bundles and decoders, then the lists that name them."""
        lists: list[ObjectInfo] = []
        for prefix in (f"{BUNDLES}/", f"{_WHEELS}/"):
            await self._objects.look(prefix)
            async for info in self.source.scan(prefix):
                if info.key.endswith(".json"):
                    lists.append(info)
                else:
                    await self._objects.file("supplies", info, partial(_not_named, info.key))
        for info in lists:
            await self._objects.changing("supplies", info)


def _not_named(key: str, _path: Path, digests: Digests) -> str:
    """Return what is wrong with a file for nodes, whose key has the first digits of its sha256."""
    sha256 = digests.sha256 or ""
    return "" if sha256[:_NAMED] in key else f"its sha256 is {sha256}, which its key does not name"
