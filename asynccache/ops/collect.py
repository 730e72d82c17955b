"""Garbage collection: mark what nothing refers to, and sweep it after a grace period (docs/collecting.md)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import ClassVar, Final

from asynccache.catalog.aliases import Ids
from asynccache.catalog.collection_state import (
    GC,
    STATE_KEY,
    CollectionState,
    KnownState,
    Marking,
    MarkRules,
    check_unclaimed,
    read_state,
)
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.place import datastore_directory
from asynccache.catalog.runs import recent_runs
from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.shard import Shard
from asynccache.ops.collect_roots import RootReader
from asynccache.ops.collect_rules import DAY, Amount, Garbage, Rules
from asynccache.ops.collect_scan import Scan, Watcher
from asynccache.ops.collect_sweep import Sweep, left_of, write_lists
from asynccache.ops.shards import Division, range_of
from asynccache.runtime.clock import Clock
from asynccache.runtime.late_loop import in_thread
from asynccache.store.base import Store
from asynccache.store.key_range import WHOLE, KeyRange

_HOUR: Final = 3600.0
_STALE_DAYS: Final = 7.0  # of a mark that lacks parts: it is begun anew
_WHOLE: Final = Shard(1, 1)
OnGarbage = Callable[[Garbage], object]
"""Told of each thing that would go, as it is found."""


@dataclass(slots=True)
class Collected(Documented):
    """The result of a collection.

    Attributes:
        store: Its address.
        dry_run: Whether nothing was marked or swept.
        archives: How many objects below the packages were looked at.
        documents: How many documents were read.
        marked: What nothing refers to; swept by a later run. Empty while an earlier mark is waiting.
        swept: What an earlier run had marked and is gone now: removed by this run, or by one that was killed before it
            could report it.
        kept: How much of that stayed, since something reaches it now or it has changed.
        due_at: When the marked objects may be swept; None if there are none.
        failed: What could not be removed, and why.
        unfinished: Shards that have not done their part, from 1: of the mark, of which nothing is swept before, or of
            the sweep.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "store", "dry_run", "archives", "documents", "marked", "swept", "kept", "due_at", "failed",
        "unfinished",
    )  # fmt: skip

    store: str
    dry_run: bool = False
    archives: int = 0
    documents: int = 0
    marked: Amount = field(default_factory=Amount)
    swept: Amount = field(default_factory=Amount)
    kept: int = 0
    due_at: datetime | None = None
    failed: dict[str, AsyncCacheError] = field(default_factory=dict)
    unfinished: tuple[int, ...] = ()

    def raise_for_failures(self) -> None:
        """Raise when something could not be removed.

        Raises:
            PartialFailureError: Why, by key.
        """
        if self.failed:
            raise PartialFailureError(f"{len(self.failed)} objects in {self.store} could not be removed", self.failed)


async def collector_of(settings: Settings, store: Store, rules: Rules, *, waits: bool = True) -> Collector:
    """Return what collects in a store, and knows the runs of this machine.

    Args:
        settings: All settings.
        store: An open store.
        rules: What may go.
        waits: As in `Collector`.
    """
    since = store.timestamp() - rules.keep_days * DAY
    runs = await in_thread(recent_runs, datastore_directory(settings), since)
    keys = CatalogKeys(settings.envs_dirname)
    return Collector(store, rules, keys, settings.packages_dirname, runs=runs, user=settings.username, waits=waits)


class Collector:
    """Collects in one store.

    Args:
        store: An open store.
        rules: What may be collected.
        keys: Where environments are.
        dirname: Directory of the packages.
        runs: Environments of known runs.
        user: The user, from the settings.
        clock: To wait on for the plan of shards.
        waits: Whether a shard waits for the first one to sweep environments.
    """

    def __init__(
        self,
        store: Store,
        rules: Rules,
        keys: CatalogKeys,
        dirname: str,
        *,
        runs: Collection[Ids] = (),
        user: str | None = None,
        clock: Clock | None = None,
        waits: bool = True,
    ) -> None:
        self._store = store
        self._rules = rules
        self._keys = keys
        self._dirname = dirname
        self._runs = runs
        self._user = user
        self._clock = clock or Clock()
        self._waits = waits

    async def look(
        self,
        found: OnGarbage = lambda _garbage: None,
        watcher: Watcher | None = None,
        shard: Shard | None = None,
    ) -> Collected:
        """Report what would be collected; nothing is written.

        Args:
            found: Called with each.
            watcher: Called with everything that is scanned, including what is kept.
            shard: Only that part.

        Raises:
            IntegrityError: An alias, lease, history or document cannot be read: what it keeps is unknown.
            StoreError: The store cannot be read.
        """
        result = Collected(self._store.address, dry_run=True)
        keys = await self._range("", shard or _WHOLE, write=False)
        async with aclosing(self._scanned(result, watcher, keys, shard or _WHOLE)) as scanned:
            async for garbage in scanned:
                result.marked.add(garbage)
                found(garbage)
        return result

    async def run(self, shard: Shard | None = None) -> Collected:
        """Sweep what was marked long enough ago, and mark what nothing keeps now; of several shards a run does either.

        Args:
            shard: Only that part of both. Nothing is swept before all parts are marked.

        Raises:
            LockTimeoutError: Another process is collecting.
            IntegrityError: As in `look`.
            StoreError: The store cannot be read or written.
        """
        result, part = Collected(self._store.address), shard or _WHOLE
        known = await read_state(self._store)
        mark, grace = known.state.mark, self._rules.grace_hours * _HOUR
        if part.count == 1:
            check_unclaimed(self._store, known.state)
        due = known.state.waiting and known.state.marked_at + grace <= self._store.timestamp()
        if due:
            sweep = Sweep(
                self._store,
                self._keys,
                self._dirname,
                known,
                runs=self._runs,
                user=self._user,
                shard=part,
                waits=self._waits,
            )
            result.swept, result.failed = sweep.swept, sweep.failed
            known = await sweep.run()
            result.kept = sweep.kept
        if due and part.count > 1:  # whoever comes last would mark alone
            shards = [Shard(index, part.count) for index in range(1, part.count + 1)]
            result.unfinished = tuple(each.index for each in shards if left_of(known.state, mark, each))
            return result
        if not known.state.waiting or known.state.rules != self._mark_rules:
            known = await (self._mark(known, result) if part.count == 1 else self._mark_part(known, part, result))
        if known.state.marking is not None and part.count > 1:
            result.unfinished = known.state.marking.unfinished
        elif known.state.waiting:
            result.due_at = datetime.fromtimestamp(known.state.marked_at + grace, UTC)
        return result

    @property
    def _mark_rules(self) -> MarkRules:
        return MarkRules(self._rules.keep_days, self._rules.unreferenced, self._rules.also)

    async def _mark(self, known: KnownState, result: Collected) -> KnownState:
        """Write the candidates into lists, then record that the lists exist; lists of earlier marks are removed."""
        marking = self._new_marking(1)
        async with aclosing(self._scanned(result)) as scanned:
            lists = await write_lists(self._store, marking.mark, _name_of(1), scanned, result.marked)
        known = await known.replace(self._store, self._completed(known.state, marking.with_part(1, lists)))
        await self._clear(marking.mark)
        return known

    async def _mark_part(self, known: KnownState, part: Shard, result: Collected) -> KnownState:
        """Write the candidates of a shard into lists; whoever finds that all shards have done so records the mark."""
        marking = self._new_marking(part.count)

        def begun(state: CollectionState) -> CollectionState | None:
            nonlocal marking
            there = state.marking
            if there is None or not self._goes_on(there, part):
                return replace(state, marking=marking)
            marking = there
            return None

        known = await known.changed(self._store, begun)
        if part.index in marking.parts:
            return known
        keys = await self._range(marking.mark, part)
        async with aclosing(self._scanned(result, None, keys, part)) as scanned:
            lists = await write_lists(self._store, marking.mark, _name_of(part.index), scanned, result.marked)

        def with_part(state: CollectionState) -> CollectionState | None:
            there = state.marking
            if there is None or there.mark != marking.mark or part.index in there.parts:
                return None  # somebody else has marked anew, or done this part
            there = there.with_part(part.index, lists)
            return replace(state, marking=there) if there.unfinished else self._completed(state, there)

        known = await known.changed(self._store, with_part)
        if known.state.mark == marking.mark:
            await self._clear(marking.mark)
        return known

    def _new_marking(self, shards: int) -> Marking:
        now = self._store.timestamp()
        began = datetime.fromtimestamp(now, UTC)
        mark = f"{began.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(4)}"
        return Marking(mark, now, shards, self._mark_rules)

    def _goes_on(self, marking: Marking, part: Shard) -> bool:
        """Return whether a shard takes part in a mark that others have begun."""
        young = self._store.timestamp() - marking.began_at < _STALE_DAYS * DAY
        return young and (marking.shards, marking.rules) == (part.count, self._mark_rules)

    def _completed(self, state: CollectionState, marking: Marking) -> CollectionState:
        """Return the state after all parts of a mark; those who sweep by the one before are still waited for."""
        now = self._store.timestamp()
        return CollectionState(
            marking.mark,
            marking.began_at,
            now,
            tuple(lists for _index, lists in sorted(marking.parts.items())),
            rules=marking.rules,
            claims=tuple(state.held(now)),
        )

    async def _clear(self, mark: str) -> None:
        """Remove the lists of earlier marks; names begin with their time."""
        async for info in self._store.scan(GC):
            if info.key != STATE_KEY and info.key < f"{GC}{mark}":
                await self._store.delete(info.key)

    async def _range(self, mark: str, part: Shard, *, write: bool = True) -> KeyRange:
        division = Division("gc", (mark,), f"{self._dirname}/", part.count)
        return await range_of(self._store, division, part, self._clock, write=write)

    async def _scanned(
        self,
        result: Collected,
        watcher: Watcher | None = None,
        keys: KeyRange = WHOLE,
        part: Shard = _WHOLE,
    ) -> AsyncGenerator[Garbage]:
        now = self._store.timestamp()
        roots = await RootReader(self._store, self._keys, self._runs).read(
            used_since=now - self._rules.keep_days * DAY, marked_at=now
        )
        scan = Scan(
            self._store,
            self._keys,
            self._dirname,
            self._rules,
            roots,
            now,
            watcher,
            key_range=keys,
            first=part.index == 1,
        )
        async with aclosing(scan.all()) as found:
            async for garbage in found:
                yield garbage
        result.archives, result.documents = scan.archives, scan.documents


def _name_of(part: int) -> str:
    """Return a name for the lists of a part that no other worker on it takes."""
    return f"{part:05d}-{secrets.token_hex(4)}"
