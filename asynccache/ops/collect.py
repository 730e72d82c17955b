"""Garbage collection: mark what nothing refers to, and sweep it after a grace period (docs/collecting.md)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from dataclasses import field
from datetime import UTC, datetime
from typing import ClassVar, Final

from asynccache.catalog.aliases import Ids
from asynccache.catalog.collection import GC, STATE_KEY, CollectionState, KnownState, check_unclaimed, read_state
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.place import datastore_directory
from asynccache.catalog.runs import recent_runs
from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.ops.collect_roots import RootReader
from asynccache.ops.collect_rules import DAY, Amount, Garbage, Rules
from asynccache.ops.collect_scan import Scan, Watcher
from asynccache.ops.collect_sweep import Sweep, write_lists
from asynccache.runtime.late_loop import in_thread
from asynccache.store.base import Store

_HOUR: Final = 3600.0
Told = Callable[[Garbage], object]
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
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "store", "dry_run", "archives", "documents", "marked", "swept", "kept", "due_at", "failed",
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

    def raise_for_failures(self) -> None:
        """Raise when something could not be removed.

        Raises:
            PartialFailureError: Why, by key.
        """
        if self.failed:
            raise PartialFailureError(f"{len(self.failed)} objects in {self.store} could not be removed", self.failed)


async def collector_of(settings: Settings, store: Store, rules: Rules) -> Collector:
    """Return what collects in a store, and knows the runs of this machine.

    Args:
        settings: All settings.
        store: An open store.
        rules: What may go.
    """
    since = store.timestamp() - rules.keep_days * DAY
    runs = await in_thread(recent_runs, datastore_directory(settings), since)
    keys = CatalogKeys(settings.envs_dirname)
    return Collector(store, rules, keys, settings.packages_dirname, runs=runs, user=settings.username)


class Collector:
    """Collects in one store.

    Args:
        store: An open store.
        rules: What may be collected.
        keys: Where environments are.
        dirname: Directory of the packages.
        runs: Environments of known runs.
        user: The user, from the settings.
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
    ) -> None:
        self._store = store
        self._rules = rules
        self._keys = keys
        self._dirname = dirname
        self._runs = runs
        self._user = user

    async def look(self, found: Told = lambda _garbage: None, watcher: Watcher | None = None) -> Collected:
        """Report what would be collected; nothing is written.

        Args:
            found: Called with each.
            watcher: Called with everything that is scanned, including what is kept.

        Raises:
            IntegrityError: An alias, lease, history or document cannot be read: what it keeps is unknown.
            StoreError: The store cannot be read.
        """
        result = Collected(self._store.address, dry_run=True)
        async with aclosing(self._scanned(result, watcher)) as scanned:
            async for garbage in scanned:
                result.marked.add(garbage)
                found(garbage)
        return result

    async def run(self) -> Collected:
        """Sweep what was marked long enough ago, and mark what nothing keeps now.

        Raises:
            LockTimeoutError: Another process is collecting.
            IntegrityError: As in `look`.
            StoreError: The store cannot be read or written.
        """
        result = Collected(self._store.address)
        known = await read_state(self._store)
        check_unclaimed(self._store, known.state)
        grace = self._rules.grace_hours * _HOUR
        if known.state.waiting and known.state.marked_at + grace <= self._store.timestamp():
            sweep = Sweep(self._store, self._keys, self._dirname, known, runs=self._runs, user=self._user)
            result.swept, result.failed = sweep.swept, sweep.failed
            known = await sweep.run()
            result.kept = sweep.kept
        if not known.state.waiting or not self._same_rules(known.state):
            known = await self._mark(known, result)
        if known.state.waiting:
            result.due_at = datetime.fromtimestamp(known.state.marked_at + grace, UTC)
        return result

    def _same_rules(self, state: CollectionState) -> bool:
        rules = self._rules
        return (state.keep_days, state.unreferenced, state.also) == (rules.keep_days, rules.unreferenced, rules.also)

    async def _mark(self, known: KnownState, result: Collected) -> KnownState:
        """Write the candidates into lists, then record that the lists exist; lists of earlier marks are removed."""
        began = datetime.fromtimestamp(self._store.timestamp(), UTC)
        mark = f"{began.strftime('%Y%m%dT%H%M%SZ')}-{secrets.token_hex(4)}"
        async with aclosing(self._scanned(result)) as scanned:
            lists = await write_lists(self._store, mark, scanned, result.marked)
        rules = self._rules
        state = CollectionState(
            mark,
            self._store.timestamp(),
            lists,
            keep_days=rules.keep_days,
            unreferenced=rules.unreferenced,
            also=rules.also,
        )
        known = await known.replace(self._store, state)
        async for info in self._store.scan(GC):
            if info.key != STATE_KEY and not info.key.startswith(f"{GC}{mark}/"):
                await self._store.delete(info.key)
        return known

    async def _scanned(self, result: Collected, watcher: Watcher | None = None) -> AsyncGenerator[Garbage]:
        now = self._store.timestamp()
        roots = await RootReader(self._store, self._keys, self._runs).read(
            used_since=now - self._rules.keep_days * DAY, marked_at=now
        )
        scan = Scan(self._store, self._keys, self._dirname, self._rules, roots, now, watcher)
        async with aclosing(scan.all()) as found:
            async for garbage in found:
                yield garbage
        result.archives, result.documents = scan.archives, scan.documents
