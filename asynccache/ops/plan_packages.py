"""What adding packages to a store would take: `cache` and `backfill`."""

from __future__ import annotations

from collections.abc import Sequence

from asynccache.engine.adoption import Adoption
from asynccache.engine.engine import LOCATE_CHUNK, distinct_jobs
from asynccache.engine.pipeline import Job
from asynccache.errors import AsyncCacheError
from asynccache.model.package import KEY_ALGORITHM, Format, Package
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.backfill_run import Counts
from asynccache.ops.plan import Ledger
from asynccache.ops.shard_journal import SAVE_EVERY, Journal
from asynccache.store.stored import StoredArchive


async def plan_cache(ledger: Ledger, packages: Sequence[Package], *, keep_published: bool) -> None:
    """Count what caching packages takes (see `Engine.cache`).

    Raises:
        StoreError: The store cannot be listed.
    """
    jobs, failed = distinct_jobs(packages, ledger.host.settings.wanted_format, keep_published=keep_published)
    ledger.failing.update({outcome.url: outcome.error for outcome in failed if outcome.error is not None})
    await ledger.sources.derived.load()
    for begin in range(0, len(jobs), LOCATE_CHUNK):
        chunk = jobs[begin : begin + LOCATE_CHUNK]
        await ledger.sources.inventory.load([job.package.url for job in chunk])
        for job in chunk:
            await plan_job(ledger, Job(job.package, job.formats, ledger.sources.inventory.found(job.package.url)))
    ledger.writes()


async def plan_backfill(
    ledger: Ledger, selection: Selection, *, resume: bool = False, dry_run: bool = False, report: bool = False
) -> None:
    """Count what a backfill takes (see `Backfill`).

    Raises:
        UsageError: The list of keys is invalid.
        StoreError: The store cannot be listed.
    """
    engine, store = ledger.engine, ledger.store
    backfill = Backfill(engine, selection)
    keys = await backfill.keys(dry_run=True)
    journal = None
    if not dry_run:
        await _agreeing(ledger, backfill)
        journal = Journal(store, backfill.journal_key, Counts)
        if resume or selection.run_id:
            await journal.load()
        if not (journal.loaded and not journal.complete):
            if not (journal.complete and selection.run_id):
                ledger.ask(
                    list=1, put=1
                )  # to see whether there is a package at all, and to record that a worker begins
            done, journal = journal.complete and bool(selection.run_id), None
            if done:
                ledger.say("this part of the run is done")
                return
    async for job in backfill.todo(journal, keys):
        if dry_run:
            ledger.work["to be looked at"] += 1
        else:
            await plan_job(ledger, job)
        if journal is not None:
            journal.end(job.found[0].parts.source_directory, Counts.of("made"))  # packages that never end would be kept
    # those that are checked again were counted among them
    ledger.work["there"] = backfill.plan.complete - ledger.work["to be compared"]
    if report:
        ledger.ask(head=selection.shard.count if selection.shard else 1)
        ledger.ask(get=selection.shard.count if selection.shard else 1)
    if not dry_run:
        ledger.ask(put=1)
        ledger.marks_every = SAVE_EVERY
        ledger.writes()


async def _agreeing(ledger: Ledger, backfill: Backfill) -> None:
    """Count what it takes for shards to agree, besides finding a plan."""
    shard = backfill.selection.shard
    if shard is None or shard.count == 1:
        return
    there = await backfill.has_plan()
    ledger.ask(head=-1)  # the command does not make this request
    if there:
        return
    ledger.ask(list=1, get=1, put=2)
    ledger.maybe(get=12)
    ledger.say("shards that begin together ask up to 12 times for the plan of the first one")


async def plan_job(ledger: Ledger, job: Job) -> dict[Format, int]:
    """Count what the engine does for one package, given what the store has of it.

    Returns:
        The sizes of the formats that are made, as far as they are known.
    """
    package = job.package
    try:
        there = job.complete(job.found)
    except AsyncCacheError as exc:
        ledger.failing[str(package.url)] = exc
        return {}
    published = _published(job)
    if published is not None and package.digests and package.digests.get(KEY_ALGORITHM[package.kind]) is None:
        ledger.maybe(get=1)
        ledger.say("an archive whose key has no digest of the kind that a list gives is read once by each machine")
    doubtful = Adoption(ledger.host, ledger.sources).doubtful(job)
    for archive in doubtful:
        await plan_comparison(ledger, package, job.found, archive)
    missing = [fmt for fmt in job.formats if fmt not in there]
    if not missing:
        ledger.work["to be compared" if doubtful else "there"] += 1
        return {}
    ledger.ask(list=1)  # whether another process has just done it
    if published is not None:
        ledger.read(published)
        size = published.size
    else:
        size = await ledger.fetch(package)
    for fmt in missing:
        if fmt == package.url_format:
            ledger.write(size)
        else:
            ledger.ask(list=1)
            ledger.write_transmuted(size, fmt)
    made = any(fmt != package.url_format for fmt in missing)
    ledger.work["to be transmuted" if made else "to be fetched"] += 1
    return dict.fromkeys(missing, size)


async def plan_comparison(
    ledger: Ledger, package: Package, found: Sequence[StoredArchive], archive: StoredArchive
) -> None:
    """Count comparing a derived archive of another tool with the published one (see `Adoption`)."""
    ledger.read(archive)
    published = _published(Job(package, (), tuple(found)))
    if published is not None:
        ledger.read(published)
    else:
        await ledger.fetch(package)
    ledger.ask(get=1)
    ledger.maybe(put=1)
    ledger.say("a compared archive gets a receipt unless it has the right one")


def _published(job: Job) -> StoredArchive | None:
    package = job.package
    return next((a for a in job.found if a.stem == package.stem and a.format == package.url_format), None)
