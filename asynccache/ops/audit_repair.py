"""Repairing what an audit found: missing or damaged objects come from other stores, the other format, or upstream.

Nothing is lost: a damaged archive is quarantined before another one takes its key, and an object is deleted only if it
is empty.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Final, Self

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.engine import Engine
from asynccache.engine.host import Host
from asynccache.engine.pipeline import Job
from asynccache.errors import AsyncCacheError, IntegrityError, ObjectNotFoundError, PreconditionFailedError
from asynccache.model.alias import Alias
from asynccache.model.digest import Digests
from asynccache.model.identity import EnvID
from asynccache.model.package import Package
from asynccache.model.platform import ARCHITECTURES
from asynccache.model.root import StoreRoot
from asynccache.ops.audit import Auditor
from asynccache.ops.audit_result import Audit, AuditFinding, Found, Kind
from asynccache.ops.audit_run import AuditSelection, KeptFindings, KeptSums, audit_run, done_before
from asynccache.ops.copying import Copier
from asynccache.ops.environment_packages import Need, Needs
from asynccache.ops.shards import range_of
from asynccache.ops.verify import Checked, Damage, Total, Verification, adopted
from asynccache.runtime.tasks import outcome_of, run_works
from asynccache.store import journal, layout
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.inventory import Inventory
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.open import open_store
from asynccache.store.options import store_options
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Whole

_AT_ONCE: Final = 100  # environments whose packages are fetched in one run
_MENDED: Final = frozenset({"empty", "missing", "no receipt", "name"})


async def audit(
    engine: Engine,
    found: Found,
    selection: AuditSelection | None = None,
    *,
    others: Sequence[StoreRoot] = (),
    checked: Checked | None = None,
    total: Total | None = None,
) -> Audit:
    """Audit a store or a shard of it (see `Auditor`), and repair what can be repaired if requested.

    Args:
        engine: An open engine.
        found: Called with each finding.
        selection: What to audit; None for a whole store without reading archives or repairing.
        others: Stores to take archives from, in this order, before upstream.
        checked: Called with each archive that was read.
        total: Called with the amount to read.

    Raises:
        StoreError: The store, or one of the others, cannot be read.
    """
    selection = selection or AuditSelection()
    if not selection.kept:
        sums = KeptSums(engine.host, engine.store, selection)
        result = await _audited(engine, found, selection, WHOLE, others, checked, total)
        await sums.end(result)
        return result
    done = await done_before(engine.host, engine.store, selection, found)
    result = done or await _kept(engine, found, selection, others, checked, total)
    if selection.report:
        result.run = await audit_run(engine.host, engine.store, selection, lambda _finding: None)
    return result


async def _kept(
    engine: Engine,
    found: Found,
    selection: AuditSelection,
    others: Sequence[StoreRoot],
    checked: Checked | None,
    total: Total | None,
) -> Audit:
    division = selection.division(engine.host.settings.packages_dirname)
    keys = await range_of(engine.store, division, selection.shard, engine.host.clock)
    async with KeptFindings(engine.host, engine.store, selection) as kept:

        def take(finding: AuditFinding) -> None:
            found(finding)
            kept.add(finding)

        result = await _audited(engine, take, selection, keys, others, checked, total)
        await kept.end(result)
    return result


async def _audited(
    engine: Engine,
    found: Found,
    selection: AuditSelection,
    keys: KeyRange,
    others: Sequence[StoreRoot],
    checked: Checked | None,
    total: Total | None,
) -> Audit:
    read, first = selection.read, selection.first
    journal_key = selection.journal_key(engine.host.settings.packages_dirname)
    if not selection.repair:
        auditor = Auditor(engine.host, engine.sources, found, keys=keys, first=first)
        return await auditor.run(read, checked, total=total, journal_key=journal_key)
    kept: list[AuditFinding] = []

    def keep(finding: AuditFinding) -> None:
        found(finding)
        if finding.kind in _MENDED:
            kept.append(finding)

    auditor = Auditor(engine.host, engine.sources, keep, keys=keys, first=first)
    result = await auditor.run(read, checked, total=total, quarantine=True, journal_key=journal_key)
    async with AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(_Other(engine.host, engine.store, root)) for root in others]
        repairs = Repairs(engine, result, readers)
        await repairs.empty([f for f in kept if f.kind == "empty"])
        left = await repairs.damaged(result.read.damaged if result.read is not None else [])
        missing = [f.key for f in kept if f.kind == "missing"]
        again: list[AuditFinding] = []
        if left:  # documents hold their addresses and digests
            auditor = Auditor(engine.host, engine.sources, again.append, keys=keys, first=first)
            await auditor.run()
        await repairs.missing(auditor.incomplete, missing, [f.key for f in again if f.kind == "missing"])
        await repairs.again(left)
        await repairs.without_receipt([f for f in kept if f.kind == "no receipt"])
        await repairs.names([f for f in kept if f.kind == "name"])
    return result


class _Other:
    """Another store, as a source of archives."""

    def __init__(self, host: Host, target: Store, root: StoreRoot) -> None:
        self._host = host
        self._target = target
        self._store = open_store(root, store_options(host.settings, host.clock), may_be_absent=False)

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._store.__aexit__(*error)

    async def give(self, key: str, package: Package | None, digests: Digests) -> bool:
        """Copy an archive into the engine's store, under its key in that store; return whether it exists now.

        Args:
            key: Its key in the engine's store, or its place if any digest will do.
            package: The package it belongs to, if that can be fetched.
            digests: Known digests of its bytes.

        Raises:
            StoreError: One of the stores fails.
        """
        dirname = self._host.settings.packages_dirname
        archives = [a for a in await self._below(key, package) if a.key == key or a.key.startswith(key + "/")]
        for archive in archives:
            if layout.parse_key(archive.key, dirname) is None or archive.digests.mismatch(digests) is not None:
                continue
            try:
                if isinstance(await Copier(self._host, self._target, self._store).archive(archive, digests), Whole):
                    return True
            except PreconditionFailedError:
                return True  # another process was faster
        return False

    async def _below(self, key: str, package: Package | None) -> list[StoredArchive]:
        dirname = self._host.settings.packages_dirname
        if package is not None:
            return list(await Inventory(self._store, dirname).refresh(package.url))
        found = [StoredArchive.listed(info, dirname) async for info in self._store.scan(key)]
        return [archive for archive in found if archive is not None]


class Repairs:
    """Repairs findings of one audit, and counts the repairs in its result.

    Args:
        engine: An open engine.
        result: Result of the audit.
        others: Stores to take archives from.
    """

    def __init__(self, engine: Engine, result: Audit, others: Sequence[_Other]) -> None:
        self._engine = engine
        self._host = engine.host
        self._store = engine.store
        self._result = result
        self._others = others
        self._keys = CatalogKeys(engine.host.settings.envs_dirname)
        # place of a file -> why it could not be obtained from the address in a document
        self._tried: dict[str, AsyncCacheError] = {}

    async def empty(self, findings: Sequence[AuditFinding]) -> None:
        """Delete empty objects, after logging it: no archive can be published under their keys."""
        store = self._store
        if findings:
            await journal.enter(store, "delete", (f.key for f in findings), user=self._host.settings.username)
        for finding in findings:
            info = await store.head(finding.key)
            if info is not None and not info.size:
                await store.delete(finding.key)
            self._result.mended["empty"] += 1

    async def damaged(self, damages: Sequence[Damage]) -> list[StoredArchive]:
        """Restore quarantined archives from other stores; return those that no other store has."""
        left: list[StoredArchive] = []
        for damage in damages:
            parts = layout.parse_key(damage.key, self._host.settings.packages_dirname)
            if not damage.moved_to or parts is None:
                self._result.unmended[damage.key] = IntegrityError(str(damage))
                continue
            archive = StoredArchive(ObjectInfo(damage.key, 0), parts)
            restored = await outcome_of(self._from_others(damage.key, _source_of(archive), archive.digests))
            if restored is True:
                self._result.mended["damaged"] += 1
            else:
                left.append(archive)
        return left

    async def again(self, archives: Sequence[StoredArchive]) -> None:
        """Fetch quarantined archives again that no document has restored meanwhile."""
        engine, store = self._engine, self._store
        for archive in archives:
            failure = self._tried.get(f"{archive.parts.source_directory}/{archive.filename}")
            if failure is None and await store.head(archive.key) is None:
                package = _source_of(archive)
                if package is None:
                    hint = "resolve the environment again where it can be built"
                    failure = ObjectNotFoundError(f"{archive.filename} was built, and has no address", hint=hint)
                else:
                    report = await engine.cache([package], wanted=archive.format if archive.parts.transmuted else None)
                    failure = next(iter(report.failures.values()), None)
            self._count("damaged", archive.key, failure)

    async def missing(
        self, incomplete: Sequence[EnvID], places: Iterable[str], quarantined: Iterable[str] = ()
    ) -> None:
        """Fetch what documents name and the store lacks.

        Args:
            incomplete: The environments of those documents.
            places: Keys of missing archives, counted when they are repaired.
            quarantined: Keys of archives that were quarantined as damaged.
        """
        engine, host, store = self._engine, self._host, self._store
        by_file: dict[str, list[str]] = {}
        for place in places:
            by_file.setdefault(place.rpartition("/")[2], []).append(place)
        files = {place.rpartition("/")[2] for place in quarantined} | set(
            by_file
        )  # other shards fetch what else is missing
        documents = EnvironmentDocuments(store, self._keys)
        for begin in range(0, len(incomplete), _AT_ONCE):
            found, _unreadable = await documents.get_all(list(incomplete[begin : begin + _AT_ONCE]))
            needs = Needs(store, engine.sources.inventory, host.settings.packages_dirname)
            await needs.add(found)
            wanting = [n for n in needs.all if any(n.package.filename + fmt in files for fmt in n.missing)]
            await run_works(wanting, self._take_from_others, room=host.budgets.in_flight)
            await needs.look_up(wanting)
            jobs = [job for need in wanting if (job := need.job()) is not None]
            report = await engine.run(_each(jobs))
            await needs.look_up(wanting)
            for need in wanting:
                url = str(need.fetchable.url) if need.fetchable is not None else ""
                failure = need.error or report.failures.get(url)
                if need.missing and failure is None:
                    failure = ObjectNotFoundError(
                        f"{need.name} could not be obtained", hint="resolve the environment again"
                    )
                if failure is not None and need.fetchable is not None:
                    directory = engine.sources.inventory.source_directory(need.fetchable.url)
                    self._tried |= {f"{directory}/{need.package.filename}{fmt}": failure for fmt in need.missing}
                for fmt in need.formats:
                    for place in by_file.pop(need.package.filename + fmt, []):
                        self._count("missing", place, failure if fmt in need.missing else None)

    async def without_receipt(self, findings: Sequence[AuditFinding]) -> None:
        """Compare transmuted archives with the published ones, and write receipts."""
        if not findings:
            return
        engine, host, store = self._engine, self._host, self._store
        await engine.sources.derived.load()
        try:
            for finding in findings:
                there = await store.head(finding.key)
                archive = None if there is None else StoredArchive.listed(there, host.settings.packages_dirname)
                if archive is None:
                    continue
                compared = Verification()
                damage = await outcome_of(adopted(host, engine.sources, archive, compared))
                failure = damage if isinstance(damage, AsyncCacheError) else compared.uncompared.get(finding.key)
                if isinstance(damage, Damage):
                    failure = IntegrityError(str(damage), hint="`asynccache verify --adopt --quarantine` moves it away")
                self._count("no receipt", finding.key, failure)
        finally:
            await engine.sources.derived.save()

    async def names(self, findings: Sequence[AuditFinding]) -> None:
        """Move aliases that refer to nothing back to the last environment of their history that exists."""
        if not findings:
            return
        aliases = Aliases(self._store, self._keys, self._host.settings.username)
        wanted = {finding.key for finding in findings}
        async for name, info in aliases.names():
            if info.key in wanted:
                done = await outcome_of(self._returned(aliases, name))
                self._count("name", info.key, done)

    async def _returned(self, aliases: Aliases, name: Alias) -> AsyncCacheError | None:
        for move in reversed(await aliases.history(name) if name.mutable else []):
            if await self._has_document(move.target):
                await aliases.assign(name, move.target, move.digests)
                return None
        return ObjectNotFoundError(
            f"{name} refers to an environment that does not exist, and so did every earlier entry",
            hint="publish that environment again (`asynccache env import`), or use another name",
        )

    async def _has_document(self, ids: tuple[str, str]) -> bool:
        for arch in ARCHITECTURES:
            if await self._store.head(self._keys.document(EnvID(*ids, arch))) is not None:
                return True
        return False

    async def _take_from_others(self, need: Need) -> None:
        for fmt in need.missing:
            key = need.package.cached.get(fmt)
            if key is None and need.fetchable is not None:
                directory = self._engine.sources.inventory.source_directory(need.fetchable.url)
                key = f"{directory}/{need.package.filename}{fmt}"
            if key is not None:
                await self._from_others(key, need.fetchable, need.package.digests_of(fmt))

    async def _from_others(self, key: str, package: Package | None, digests: Digests) -> bool:
        for other in self._others:
            if await other.give(key, package, digests):
                return True
        return False

    def _count(self, kind: Kind, key: str, failure: AsyncCacheError | None) -> None:
        if failure is None:
            self._result.mended[kind] += 1
        else:
            self._result.unmended[key] = failure


def _source_of(archive: StoredArchive) -> Package | None:
    """Return the package an archive was published as, as far as its key says; None if it cannot be downloaded.

    A key does not say whether its address begins with http or https.
    """
    if archive.parts.host == layout.FAKE:
        return None
    try:
        package = Package.from_url(archive.parts.source_url)
    except AsyncCacheError:
        return None
    return package.with_digests(archive.digests) if archive.parts.published else package


async def _each(jobs: Sequence[Job]) -> AsyncGenerator[Job]:
    for job in jobs:
        yield job
