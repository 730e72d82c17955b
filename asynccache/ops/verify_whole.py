"""Verifying a store as a whole or in part: its archives, and what environments need of it.

    asynccache/shards/verify-HASH/N/I.json              what reading the archives of a shard showed (`shard_journal`)
    asynccache/shards/verify-HASH/N/environments.json   what the first shard found of environments

Named runs go on where they were; others write both when they have ended, for `report`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError, IntegrityError, ObjectNotFoundError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.ops.shard_journal import Journal
from asynccache.ops.shards import range_of
from asynccache.ops.verify import Checked, Sample, Total, Verification, verify_store
from asynccache.ops.verify_environments import EnvironmentsVerification, verify_environments
from asynccache.runtime.tasks import outcome_of


@dataclass(frozen=True, slots=True)
class StoreVerification(Documented):
    """What verifying showed.

    Attributes:
        store: Address of the store.
        pattern: Which archives were meant; None for all.
        quarantine: Whether damaged objects were moved to the quarantine.
        archives: What reading archives showed.
        environments: What reading documents, names and packs showed; nothing with a pattern or a sample. Of several
            shards the first one reads them.
        shared: Whether others read other parts of the store.
        unrecorded: Why the store has no record of this run for `report`; None where it has, or nothing was read.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("store", "*archives", "environments", "unrecorded")

    store: str
    pattern: str | None
    quarantine: bool
    archives: Verification
    environments: EnvironmentsVerification
    shared: bool = False
    unrecorded: AsyncCacheError | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was read: then nothing is known to be right."""
        found = self.environments
        return not (self.archives.checked or found.documents or found.names or found.packs)

    def raise_for_failures(self, *, allow_empty: bool = False) -> None:
        """Raise when something is wrong, or nothing was read.

        Args:
            allow_empty: Succeed although nothing was read.

        Raises:
            PartialFailureError: Objects that could not be read.
            IntegrityError: Archives, documents, names or packs that are damaged.
            ObjectNotFoundError: Nothing was read.
        """
        archives, environments = self.archives, self.environments
        if errors := {**archives.errors, **environments.errors}:
            raise PartialFailureError(f"{len(errors)} objects could not be read", errors)
        if archives.damaged:
            raise IntegrityError(
                f"{len(archives.damaged)} of {archives.checked} archives in {self.store} are damaged",
                hint=None if self.quarantine else "run again with --quarantine to move them to the quarantine",
            )
        if environments.damaged:
            raise IntegrityError(
                f"{len(environments.damaged)} documents, names or packs in {self.store} are damaged",
                hint="what was reported of each says what to do",
            )
        if self.empty and not allow_empty and not self.shared:
            raise self._nothing_read()

    def _nothing_read(self) -> ObjectNotFoundError:
        if self.archives.skipped:
            return ObjectNotFoundError(
                f"the sample has none of the {self.archives.skipped} archives in {self.store}, so nothing was read",
                hint="take a larger share or another --seed",
            )
        what = "there is nothing" if self.pattern is None else f"no archive matches {self.pattern!r}"
        return ObjectNotFoundError(
            f"{what} in {self.store}, so nothing was read",
            hint="check the address and the pattern; --allow-empty if an empty store is expected",
        )


async def verify_whole(
    host: Host,
    sources: Sources,
    sample: Sample,
    *,
    quarantine: bool = False,
    adopt: bool = False,
    check_with: str | None = None,
    checked: Checked | None = None,
    total: Total | None = None,
) -> StoreVerification:
    """Read a store (see `verify_store`); the whole of it also means documents, names and packs.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and upstream.
        sample: Which archives.
        quarantine: Move damaged objects to the quarantine.
        adopt: Compare derived archives with the published ones.
        check_with: Who compares those that we wrote as well: `cph`.
        checked: Called with each archive that was read.
        total: Called with the amount to read.

    Raises:
        StoreError: The store cannot be listed.
    """
    division = sample.division(
        host.settings.packages_dirname, quarantine=quarantine, adopt=adopt, check_with=check_with
    )
    store, named = sources.store, bool(sample.run_id)
    keys = await range_of(store, division, sample.shard, host.clock)
    own = Journal(store, division.part_key(sample.index), Verification)
    beside = Journal(store, environments_key(division.base), EnvironmentsVerification)
    if sample.whole and named:
        await beside.load()
    archives = await verify_store(
        host,
        sources,
        sample,
        keys=keys,
        journal_key=sample.journal_key(division),
        quarantine=quarantine,
        adopt=adopt,
        check_with=check_with,
        checked=checked,
        total=total,
    )
    environments = beside.counts
    if sample.whole and not beside.complete:
        environments = await verify_environments(host, sources, quarantine=quarantine)
    result = StoreVerification(store.address, sample.pattern, quarantine, archives, environments, sample.shared)
    if not named:
        return replace(result, unrecorded=await _recorded(result, own, beside if sample.whole else None))
    if sample.whole and not beside.complete:
        await beside.leave(environments, complete=not environments.errors)
    return result


def environments_key(base: str) -> str:
    """Return where the store keeps what the first shard found of environments; `base` is that of its division."""
    return f"{base}/environments.json"


async def _recorded(
    result: StoreVerification, own: Journal[Verification], beside: Journal[EnvironmentsVerification] | None
) -> AsyncCacheError | None:
    """Leave a record of a run without a name; return why that cannot be done: a store may be one that is only read."""
    if result.empty:
        return None  # a path that was mistyped is none of ours
    outcome = await outcome_of(own.leave(result.archives, complete=not result.archives.errors))
    if beside is not None and not isinstance(outcome, AsyncCacheError):
        environments = result.environments
        outcome = await outcome_of(beside.leave(environments, complete=not environments.errors))
    return outcome if isinstance(outcome, AsyncCacheError) else None
