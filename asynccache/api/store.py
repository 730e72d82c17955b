"""Verbs on what a store holds: list packages, stat, verify, audit, replicate, doctor, floor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened
from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass

if TYPE_CHECKING:
    from asynccache.model.root import StoreRoot
    from asynccache.model.shard import Shard
    from asynccache.ops.audit_result import Audit, AuditFinding, AuditRun
    from asynccache.ops.audit_run import AuditSelection
    from asynccache.ops.backfill_run import BackfillRun
    from asynccache.ops.contents import Totals
    from asynccache.ops.doctor import Examination, Finding
    from asynccache.ops.leftovers import StoreCleaned
    from asynccache.ops.replicate import Replication
    from asynccache.ops.replicated import ReplicaFinding, Replicated
    from asynccache.ops.verify_run import VerifyRun
    from asynccache.ops.verify_whole import StoreVerification
    from asynccache.store.admission import Writers
    from asynccache.store.stored import StoredArchive


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a replication copies, as in `StoreVerbs.replicate`."""

    environments: Sequence[str]
    aliases: bool
    move_aliases: bool
    shard: Shard | tuple[int, int] | None
    run_id: str


class StoreVerbs(Opened):
    """Operations on a store as a whole."""

    async def list_packages(self, pattern: str | None = None) -> AsyncGenerator[StoredArchive]:
        """Yield the archives of the store in the order of their keys; says so if there are none.

        Args:
            pattern: Shell pattern that the file name must match, or the whole key when it contains a slash.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.ops.contents import archives  # noqa: PLC0415 - other verbs do without

        store = await self._opening.store()
        empty = True
        async for item in archives(store, self.settings.packages_dirname, pattern):
            empty = False
            yield item
        if empty:
            self._note(f"{store.address} has no packages{f' that match {pattern!r}' if pattern else ': it is empty'}")

    async def stat(self) -> Totals:
        """Count the packages and bytes in the store, with one request per thousand objects; says so if there are none.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.ops.contents import totals  # noqa: PLC0415 - other verbs do without

        store = await self._opening.store()
        counted = await totals(store, self.settings.packages_dirname)
        if not counted.packages:
            self._note(f"{store.address} has no packages: it is empty")
        return counted

    async def verify(
        self,
        pattern: str | None = None,
        *,
        sample: float = 1.0,
        seed: str = "",
        quarantine: bool = False,
        adopt: bool = False,
        check_with: str | None = None,
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        checked: Callable[[StoredArchive], object] | None = None,
        total: Callable[[int, int], object] | None = None,
    ) -> StoreVerification:
        """Read and digest the archives of the store; if all are read, also the documents, aliases and packs of
        environments.

        Args:
            pattern: Only archives whose file name (or key, with a slash) matches; environments are not checked then.
            sample: Share of the archives to read, above 0 up to 1; below 1, environments are not checked.
            seed: Seed of the sample; another text selects other archives.
            quarantine: Move damaged objects to the quarantine, so that `cache` fetches them again.
            adopt: Compare each derived archive with the published one, member by member; record the result and write a
                receipt. An archive whose content differs counts as damaged.
            check_with: `cph` to compare each derived archive that asynccache wrote with the published one, also by
                conda-package-handling. An archive that differs for either of them counts as damaged.
            shard: (I, N): the I-th of N ranges of the archives' keys, from 1. The first shard also checks environments.
            run_id: Name of the run, shared by all its shards; each continues where it stopped.
            checked: Called with each archive that was read.
            total: Called with the number of archives to read and their bytes; costs another listing, beside the
                reading.

        Returns:
            What was read and what is wrong with it: `raise_for_failures()` raises the latter.

        Raises:
            UsageError: `sample` is not a share, there is no such shard, or no such program to check with.
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed.
        """
        from asynccache.model.shard import Shard  # noqa: PLC0415
        from asynccache.ops.verify import Sample  # noqa: PLC0415
        from asynccache.ops.verify_whole import verify_whole  # noqa: PLC0415 - other verbs do without

        wanted = Sample(pattern, sample, seed, Shard.of(shard), run_id)
        engine = await self._opening.engine()
        return await verify_whole(
            engine.host,
            engine.sources,
            wanted,
            quarantine=quarantine,
            adopt=adopt,
            check_with=check_with,
            checked=checked,
            total=total,
        )

    async def verify_run(
        self,
        count: int = 1,
        pattern: str | None = None,
        *,
        sample: float = 1.0,
        seed: str = "",
        quarantine: bool = False,
        adopt: bool = False,
        check_with: str | None = None,
        run_id: str = "",
    ) -> VerifyRun:
        """Add up what all shards of a verification have shown so far, as they have written it into the store.

        Args:
            count: Of the shards.
            pattern: As in `verify`.
            sample: As in `verify`.
            seed: As in `verify`.
            quarantine: As in `verify`.
            adopt: As in `verify`.
            check_with: As in `verify`.
            run_id: As in `verify`; without it the last run of each shard counts.

        Returns:
            The sums, and which shards are not done: `raise_for_failures()` raises then, and what is wrong.

        Raises:
            UsageError: `sample` is no share.
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be read.
        """
        from asynccache.model.shard import Shard  # noqa: PLC0415
        from asynccache.ops.verify import Sample  # noqa: PLC0415
        from asynccache.ops.verify_run import verify_run  # noqa: PLC0415 - other verbs do without

        wanted = Sample(pattern, sample, seed, Shard(1, count), run_id)
        store, dirname = await self._opening.store(), self.settings.packages_dirname
        return await verify_run(store, dirname, wanted, quarantine=quarantine, adopt=adopt, check_with=check_with)

    async def audit(
        self,
        *,
        read_data: float = 0.0,
        seed: str = "",
        repair: bool = False,
        others: Sequence[str] = (),
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        report: bool = False,
        found: Callable[[AuditFinding], object] | None = None,
        checked: Callable[[StoredArchive], object] | None = None,
        total: Callable[[int, int], object] | None = None,
    ) -> Audit:
        """Check that everything in the store fits together, using listings and documents.

        Args:
            read_data: Share of the archives that are read and digested as well, 0 for none, 1 for all.
            seed: Seed of the sample; another text selects other archives.
            repair: Repair what can be repaired: from the other stores, from the other format of a package, or from
                upstream.
            others: Roots of stores to take archives from.
            shard: (I, N): the I-th of N ranges of the archives' keys, from 1. What belongs to no range, such as aliases
                and packs, is done by the first one.
            run_id: Name of the run, shared by all its shards. A shard that is done is not done again.
            report: Add up what all shards have found so far.
            found: Called with each finding.
            checked: Called with each archive that was read.
            total: Called with the number of archives to read and their bytes; costs another listing, beside the
                reading.

        Returns:
            What was found and repaired: `raise_for_failures()` raises what is left.

        Raises:
            UsageError: `read_data` is not a share, or there is no such shard.
            StoreNotFoundError: There is no store at an address.
            StoreError: A store cannot be listed.
        """
        from asynccache.ops.audit_repair import audit  # noqa: PLC0415 - other verbs do without

        selection = audit_selection(read_data, seed, shard, run_id, repair=repair, report=report)
        roots = [self.settings.other_root(other) for other in others]
        engine = await self._opening.engine(writing=repair)
        on_finding = found or (lambda _finding: None)
        return await audit(engine, on_finding, selection, others=roots, checked=checked, total=total)

    async def audit_run(
        self,
        count: int = 1,
        *,
        read_data: float = 0.0,
        seed: str = "",
        repair: bool = False,
        run_id: str = "",
        found: Callable[[AuditFinding], object] | None = None,
    ) -> AuditRun:
        """Add up what all shards of an audit found, as recorded in the store.

        Args:
            count: Number of shards.
            read_data: As in `audit`.
            seed: As in `audit`.
            repair: As in `audit`.
            run_id: As in `audit`.
            found: Called with each finding of any shard.

        Returns:
            The totals, and the shards that are not done: `raise_for_failures()` raises if there are any, or findings
            that are left.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be read.
        """
        from asynccache.ops.audit_run import audit_run  # noqa: PLC0415 - other verbs do without

        selection = audit_selection(read_data, seed, (1, count), run_id, repair=repair)
        engine = await self._opening.engine()
        return await audit_run(engine.host, engine.store, selection, found or (lambda _finding: None))

    async def replicate(
        self,
        source: str,
        *,
        environments: Sequence[str] = (),
        aliases: bool = False,
        move_aliases: bool = False,
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        dry_run: bool = False,
        found: Callable[[ReplicaFinding], object] | None = None,
    ) -> Replicated:
        """Copy the content of another store into this one, packages first and aliases last.

        Nothing is overwritten. The target is listed first, so a run that was killed continues where it stopped.

        Args:
            source: Root of the other store, which is only read.
            environments: Aliases or ids of the only environments to copy; if empty, the whole store.
            aliases: Copy only environments that aliases refer to now.
            move_aliases: Also move aliases that were moved in this store since.
            shard: (I, N): the I-th of N ranges of the packages' keys, from 1. The last shard to finish copies the rest.
            run_id: Name of the run, shared by all its shards; each continues where it stopped.
            dry_run: Only report what would be copied.
            found: Called with each object that is not copied.

        Returns:
            What was copied and what existed: `raise_for_failures()` raises what failed.

        Raises:
            UsageError: A text is not a valid name, there is no such shard, or both addresses are of one store.
            ObjectNotFoundError: The other store has no environment of a name.
            StoreNotFoundError: There is no store at the other address.
            StoreError: A store cannot be listed.
        """
        what = _Wanted(environments, aliases, move_aliases, shard, run_id)
        async with self._replication(source, what, found, dry_run=dry_run) as replication:
            return await replication.run()

    async def replicate_run(
        self, source: str, count: int, *, environments: Sequence[str] = (), aliases: bool = False, run_id: str = ""
    ) -> BackfillRun:
        """Add up what all shards of a replication have copied so far, as recorded in the store.

        Args:
            source: As in `replicate`.
            count: Number of shards.
            environments: As in `replicate`.
            aliases: As in `replicate`.
            run_id: As in `replicate`.

        Returns:
            The totals, and the shards that are not done: `raise_for_failures()` raises if there are any.

        Raises:
            StoreNotFoundError: There is no store at an address.
            StoreError: A store cannot be read.
        """
        what = _Wanted(environments, aliases, False, (1, count), run_id)
        async with self._replication(source, what, None, dry_run=True) as replication:
            return await replication.so_far()

    @asynccontextmanager
    async def _replication(
        self, source: str, what: _Wanted, found: Callable[[ReplicaFinding], object] | None, *, dry_run: bool
    ) -> AsyncIterator[Replication]:
        from asynccache.catalog.keys import CatalogKeys  # noqa: PLC0415 - other verbs do without
        from asynccache.model.shard import Shard  # noqa: PLC0415
        from asynccache.ops.replicate import Replication, replica_selection  # noqa: PLC0415
        from asynccache.store.open import open_store  # noqa: PLC0415
        from asynccache.store.options import store_options  # noqa: PLC0415

        settings, root = self.settings, self.settings.other_root(source)
        shard = Shard.of(what.shard)
        engine = await self._opening.engine(writing=True)
        check_apart(root, engine.store.root)
        async with open_store(root, store_options(settings, engine.host.clock), may_be_absent=False) as other:
            selection = await replica_selection(
                other,
                CatalogKeys(settings.envs_dirname),
                what.environments,
                aliases=what.aliases,
                shard=shard,
                run_id=what.run_id,
                move_names=what.move_aliases,
            )
            yield Replication(engine.host, engine.store, other, selection, found or (lambda _finding: None), dry_run)

    async def floor(self, wanted: int | None = None) -> Writers:
        """Set which clients may write to the store, and report which may and which have written lately.

        Args:
            wanted: The oldest format of clients that may write from now on, 0 for any; None to change nothing.

        Raises:
            UsageError: This version does not have such a format.
            StoreError: The store cannot be read or written.
        """
        from asynccache.store.admission import read_writers, set_floor  # noqa: PLC0415 - other verbs do without

        store = await self._opening.store()
        if wanted is not None:
            await set_floor(store, wanted, self.settings.username)
        return await read_writers(store)

    async def clean_store(self, *, older_than: float | None = None, dry_run: bool = False) -> StoreCleaned:
        """Remove what dead processes left in the store: probes, and uploads that were never completed.

        Args:
            older_than: Seconds; younger objects may belong to work in progress. None for a day.
            dry_run: Remove nothing.

        Returns:
            What was removed, failures included: `raise_for_failures()` raises them.

        Raises:
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be listed, or its log not be written.
        """
        from asynccache.ops.leftovers import LEFT_AFTER, clean_store  # noqa: PLC0415 - other verbs do without

        age = LEFT_AFTER if older_than is None else older_than
        store = await self._opening.store()
        return await clean_store(store, older_than=age, dry_run=dry_run, user=self.settings.username)

    async def doctor(self, found: Callable[[Finding], object] | None = None) -> Examination:
        """Check everything that a run depends on: this machine, its tools, the store.

        Writes one object of 8 MiB below `asynccache/doctor/` in the store and removes it; creates no directory or
        bucket.

        Args:
            found: Called with each finding as it is made.

        Returns:
            All findings, failed checks among them: `raise_for_failures()` raises when a run would fail.
        """
        from asynccache.ops.doctor import examine  # noqa: PLC0415 - other verbs do without

        return await examine(self._opening, found)


def audit_selection(
    read_data: float,
    seed: str,
    shard: Shard | tuple[int, int] | None,
    run_id: str,
    *,
    repair: bool,
    report: bool = False,
) -> AuditSelection:
    """Return what an audit covers (see `StoreVerbs.audit`)."""
    from asynccache.model.shard import Shard  # noqa: PLC0415 - others do without
    from asynccache.ops.audit_run import AuditSelection  # noqa: PLC0415
    from asynccache.ops.verify import Sample  # noqa: PLC0415

    read = Sample(None, read_data, seed) if read_data else None
    return AuditSelection(read, Shard.of(shard), run_id, repair, report)


def check_apart(source: StoreRoot, target: StoreRoot) -> None:
    """Refuse to copy a store into itself.

    Raises:
        UsageError: Both addresses are of one store.
    """
    if source.identity == target.identity:
        raise UsageError(f"{source} would be copied into itself", hint="name two stores")
