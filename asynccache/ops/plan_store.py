"""What examining a whole store would take: `verify`, `audit` and `clean --store`."""

from __future__ import annotations

from collections import Counter
from typing import Final

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.hydrate.unpack import cost_of_verifying
from asynccache.model.identity import EnvID
from asynccache.model.package import Package
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.node.settings_table import REQUEST_KINDS
from asynccache.ops.audit import Auditor
from asynccache.ops.audit_receipts import RECEIPTS
from asynccache.ops.audit_run import AuditSelection, done_before
from asynccache.ops.contents import archives, by_source
from asynccache.ops.environment_packages import Needs
from asynccache.ops.leftovers import clean_store
from asynccache.ops.plan import Ledger
from asynccache.ops.plan_packages import plan_comparison, plan_job
from asynccache.ops.shard_journal import SAVE_EVERY, Journal
from asynccache.ops.shards import range_of
from asynccache.ops.verify import Sample, Verification, left_of
from asynccache.ops.verify_environments import EnvironmentsVerification
from asynccache.ops.verify_whole import environments_key
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.stored import StoredArchive

_READ: Final = ("archives to be read", "documents to be read", "packs to be read", "names")


async def plan_verify(
    ledger: Ledger, sample: Sample, *, quarantine: bool, adopt: bool, check_with: str | None = None
) -> None:
    """Count what verifying takes (see `verify_whole`).

    Raises:
        StoreError: The store cannot be listed.
    """
    division = sample.division(
        ledger.host.settings.packages_dirname, quarantine=quarantine, adopt=adopt, check_with=check_with
    )
    keys = await range_of(ledger.store, division, sample.shard, ledger.host.clock, write=False)
    if sample.shard is not None:
        _agreeing(ledger, sample.shard.count)
    await _archives(ledger, sample, keys, sample.journal_key(division), adopt=adopt or check_with is not None)
    beside = Journal(ledger.store, environments_key(division.base), EnvironmentsVerification)
    if sample.whole and sample.run_id:
        await beside.load()
    records = 0 if sample.run_id else 1
    if sample.whole and not beside.complete:
        await _environments(ledger)
        records += 1
    if sample.run_id or any(ledger.work[what] for what in _READ):  # of nothing there is no record
        ledger.ask(put=records)
        ledger.writes()
    ledger.say("what is damaged is read a second time, with one more request for its properties")
    if quarantine:
        ledger.say("moving a damaged object takes 4 requests: its properties, the log, a copy, and deleting it")


async def plan_audit(ledger: Ledger, selection: AuditSelection, others: int) -> None:
    """Count what an audit takes (see `audit_repair.audit`); to plan repairs, the audit itself is done.

    Args:
        ledger: Where it is counted.
        selection: What the audit covers.
        others: Stores that archives are taken from.

    Raises:
        StoreError: The store cannot be listed.
    """
    shards = selection.shard.count if selection.shard else 1
    keys = WHOLE
    if selection.kept:
        if await done_before(ledger.host, ledger.store, selection, lambda _finding: None) is not None:
            ledger.say("this part of the run is done")
            return
        division = selection.division(ledger.host.settings.packages_dirname)
        keys = await range_of(ledger.store, division, selection.shard, ledger.host.clock, write=False)
        _agreeing(ledger, shards)
    if selection.report:
        ledger.ask(get=shards)
        ledger.maybe(head=shards, get=shards)
    if selection.repair:
        await _repairs(ledger, keys, selection, others)
    else:
        await _looking(ledger, keys, selection)
    if selection.read is not None:
        await _archives(
            ledger, selection.read, keys, selection.journal_key(ledger.host.settings.packages_dirname), adopt=False
        )
        ledger.say("what is damaged is read a second time, with one more request for its properties")
    if selection.kept or any(ledger.work.values()):  # of nothing there is no record
        ledger.ask(put=1)
        ledger.writes()


async def plan_clean_store(ledger: Ledger, older_than: float, *, dry_run: bool) -> None:
    """Count what cleaning the store takes (see `clean_store`).

    Raises:
        StoreError: The store cannot be listed.
    """
    found = await clean_store(ledger.store, older_than=older_than, dry_run=True)
    kinds = Counter(each.kind for each in found.removed)
    for kind, number in kinds.items():
        ledger.work[f"{kind}s to be removed"] = number
        if not dry_run:
            ledger.ask(put=1, delete=number)  # removals are logged first
    ledger.freed_bytes = sum(each.bytes for each in found.removed)
    if kinds["upload"]:
        ledger.say("of uploads that were never completed nobody counts the bytes")
    if kinds and not dry_run:
        ledger.writes()


def _agreeing(ledger: Ledger, shards: int) -> None:
    if shards > 1:
        ledger.maybe(list=1, get=13, put=2)
        ledger.say("shards that find no plan make one, and wait for that of the first one")


async def _archives(ledger: Ledger, sample: Sample, keys: KeyRange, journal_key: str, *, adopt: bool) -> None:
    """Count reading archives of a range, except what an earlier worker of the same run has read."""
    if journal_key:
        journal = Journal(ledger.store, journal_key, Verification)
        await journal.load()
        if journal.complete:
            ledger.say("all archives of this part of the run are read")
            return
        keys = left_of(journal, keys)
        ledger.ask(put=1 if journal.loaded else 2)
        ledger.say(f"how far it has come is written every {SAVE_EVERY:g} seconds, a request each time")
        ledger.writes()
    dirname = ledger.host.settings.packages_dirname
    async for group in by_source(archives(ledger.store, dirname, sample.pattern, keys=keys)):
        for archive in group:
            if not sample.takes(archive.key):
                ledger.work["archives not in the sample"] += 1
                continue
            ledger.work["archives to be read"] += 1
            ledger.read(archive)
            if archive.parts.transmuted:
                ledger.ask(get=1)  # its receipt
                if adopt:
                    ledger.ask(list=1)
                    await plan_comparison(ledger, Package.from_url(archive.parts.source_url), group, archive)


async def _environments(ledger: Ledger) -> None:
    """Count reading documents, names and packs, and comparing the documents with all archives."""
    ids, packs, digests = await _listed(ledger)
    ledger.ask(get=len(ids))
    ledger.maybe(get=len(ids))
    ledger.say("a document that names what is not there is read twice")
    if ids:
        async for _info in ledger.store.scan(f"{ledger.host.settings.packages_dirname}/"):
            pass
    await _names(ledger)
    for env_id, size in packs.items():
        ledger.read_size(size, cost_of_verifying(size))
        ledger.maybe(get=1)
        _pack(ledger, digests[env_id])
    ledger.work.update({"documents to be read": len(ids), "packs to be read": len(packs)})


def _pack(ledger: Ledger, digests: int) -> None:
    """Count checking whether a pack is the one that the digests of its environment name."""
    ledger.ask(list=1, head=1, get=1 + digests)
    ledger.maybe(head=1)


async def _looking(ledger: Ledger, keys: KeyRange, selection: AuditSelection) -> None:
    """Count auditing without reading archives."""
    store, prefix = ledger.store, f"{ledger.host.settings.packages_dirname}/"
    ids, packs, digests = await _listed(ledger)
    ledger.ask(get=len(ids))
    ledger.maybe(get=len(ids))
    ledger.work["documents"] += len(ids)
    ledger.say("a document that names what is not there is read twice")
    if selection.first:
        await _names(ledger)
        ledger.work["packs"] += len(packs)
        for env_id in packs:
            _pack(ledger, digests[env_id])
        await store.unfinished()
    async for info in keys.scan(store, prefix):
        ledger.work["archives"] += StoredArchive.listed(info, prefix[:-1]) is not None
    async for _info in keys.moved(prefix, RECEIPTS).scan(store, RECEIPTS):
        ledger.work["receipts"] += 1


async def _repairs(ledger: Ledger, keys: KeyRange, selection: AuditSelection, others: int) -> None:
    """Audit, and count what repairing takes."""
    auditor = Auditor(ledger.host, ledger.sources, lambda _finding: None, keys=keys, first=selection.first)
    result = await auditor.run()
    counts = {"archives": result.archives, "documents": result.documents, "names": result.names, "packs": result.packs}
    ledger.work.update({**counts, **{f"to be mended: {kind}": number for kind, number in result.found.items()}})
    found, _unreadable = await EnvironmentDocuments(ledger.store, _keys(ledger)).get_all(auditor.incomplete)
    needs = Needs(ledger.store, ledger.sources.inventory, ledger.host.settings.packages_dirname)
    await needs.add(found)
    missing = [need for need in needs.all if need.missing]
    for need in missing:
        job = need.job()
        if job is not None:
            await plan_job(ledger, job)
        elif need.error is not None:
            ledger.failing[need.name] = need.error
    if result.found:
        ledger.maybe(list=(2 + others) * len(missing))
        for kind in ("no receipt", "name", "empty"):
            ledger.maybe(**dict.fromkeys(REQUEST_KINDS, 4 * result.found[kind]))
        ledger.say("what is missing comes from where it is published; each of the other stores is asked before")
        ledger.say("mending another finding takes up to 4 requests of each kind, and comparing an archive reads it")
        ledger.writes()


async def _names(ledger: Ledger) -> None:
    async for _name, _info in Aliases(ledger.store, _keys(ledger)).names():
        ledger.ask(head=1, get=1)
        ledger.work["names"] += 1


async def _listed(ledger: Ledger) -> tuple[list[EnvID], dict[EnvID, int], Counter[EnvID]]:
    """List the documents of environments, their packs with sizes, and how many digests each has."""
    keys = _keys(ledger)
    ids: list[EnvID] = []
    packs: dict[EnvID, int] = {}
    digests = Counter[EnvID]()
    async for info in ledger.store.scan(f"{keys.dirname}/"):
        directory, _, name = info.key.rpartition("/")
        env_id = keys.parse_document(f"{directory}/env")
        if env_id is None:
            continue
        if name == OBJECT_NAME:
            packs[env_id] = info.size
        elif info.key == keys.document(env_id):
            ids.append(env_id)
        elif info.key.startswith(keys.digest(env_id, "")):
            digests[env_id] += 1
    return ids, packs, digests


def _keys(ledger: Ledger) -> CatalogKeys:
    return CatalogKeys(ledger.host.settings.envs_dirname)
