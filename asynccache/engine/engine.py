"""The engine: opens what a run needs, and caches any number of packages as one pipeline.

async with Engine(settings) as engine:
    report = await engine.cache(packages, wanted=Format.CONDA)
    report.raise_for_failures()
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Self

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.adoption import Adoption, Different
from asynccache.engine.credentials import HostCredentials
from asynccache.engine.derived import DerivedArchives
from asynccache.engine.fetch import Fetcher
from asynccache.engine.host import Host
from asynccache.engine.pipeline import Arrived, Job, Pipeline, Taker
from asynccache.engine.report import Outcome, Report, StoredFormat
from asynccache.engine.sources import Sources
from asynccache.engine.transport import HTTPTransport, Transport
from asynccache.engine.workspace import Workspace
from asynccache.errors import AsyncCacheError
from asynccache.model.package import Format, Package
from asynccache.runtime.budget import Budget, Budgets
from asynccache.runtime.clock import Clock
from asynccache.runtime.failures import as_failure
from asynccache.runtime.tasks import run_works
from asynccache.runtime.threads import Threads
from asynccache.store.base import Store
from asynccache.store.inventory import Inventory
from asynccache.store.open import open_store
from asynccache.store.options import store_options
from asynccache.store.verified import MEND, Absent, Damaged, Misread, VerifiedReader

if TYPE_CHECKING:
    pass

LOCATE_CHUNK: Final = 2000  # packages that one round of listings looks for


class Engine:
    """Opens store, connections and threads; everything is closed when the block ends.

    Args:
        settings: All settings.
        store: A store to use instead of the one that the settings name; the caller opens and closes it.
        transport: A transport to use instead of HTTP; the caller opens and closes it.
        clock: Clock for measuring and waiting.
        emit: Called with each event, besides the report.

    Attributes:
        host: Settings, clock, threads, budgets, working directory (once it is open, as below).
        store: The store that it fills.
        sources: Where archives come from: that store, and upstream.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        transport: Transport | None = None,
        clock: Clock | None = None,
        emit: events.EventSink = events.ignore,
    ) -> None:
        self._settings = settings
        self._clock = clock or Clock()
        self._given_store = store
        self._given_transport = transport
        self._sinks: list[events.EventSink] = [emit]
        self._takers: list[Taker] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        settings, clock = self._settings, self._clock
        async with AsyncExitStack() as stack:
            threads = stack.enter_context(Threads(settings.cpu_slots, closing=_end_decoders))
            self.store = self._given_store or open_store(settings.root, store_options(settings, clock))
            if self.store is not self._given_store:
                await stack.enter_async_context(self.store)
            transport = self._given_transport or HTTPTransport(
                connections=settings.connections,
                connections_per_host=settings.connections_per_host,
                connect_timeout=settings.connect_timeout,
                read_timeout=settings.read_timeout,
            )
            if transport is not self._given_transport:
                await stack.enter_async_context(transport)
            budgets = Budgets(
                in_flight=Budget(settings.in_flight, "in_flight"),
                cpu=Budget(settings.cpu_slots, "cpu_slots"),
                memory=Budget(settings.memory_bytes, "memory_bytes"),
                temp=Budget(settings.temp_bytes, "temp_bytes"),
                uploads=Budget(max(1, settings.store_connections // 4), "uploads"),
            )
            workspace = Workspace(settings.cache_dir, settings.lock_timeout, self._emit)
            stack.callback(workspace.close)
            self.host = Host(settings, clock, threads, budgets, workspace, self._emit)
            self.sources = Sources(
                self.host,
                VerifiedReader(self.store, threads, budgets.memory, budgets.cpu, self._take_finding),
                Inventory(self.store, settings.packages_dirname),
                Fetcher(
                    transport,
                    HostCredentials(settings.auth),
                    settings.patience,
                    clock,
                    threads,
                    budgets.memory,
                    settings.mirrors,
                    self._emit,
                ),
                DerivedArchives(settings.cache_dir, settings.derived_digests, threads),
            )
            self._left_over = await threads.run(workspace.sweep)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def cache(
        self, packages: Iterable[Package], *, wanted: Format | None = None, keep_published: bool = False
    ) -> Report:
        """Make the store hold packages.

        Packages with the same URL are one. Every package is tried, even if others fail; failures are in the report.

        Args:
            packages: Any number, in any order.
            wanted: Format in which the store should have conda packages; None for the published one.
            keep_published: Also store the published archive.
        """
        jobs, failed = distinct_jobs(packages, wanted, keep_published=keep_published)
        self._emit(events.RunStarted(len(jobs), sum(j.package.digests.size or 0 for j in jobs)))
        return await self.run(self._located(jobs), failed)

    async def run(self, jobs: AsyncGenerator[Job], outcomes: Iterable[Outcome] = (), *, keep: bool = True) -> Report:
        """Run jobs as they come, `in_flight` at once.

        Args:
            jobs: Each with what the store holds of its package; read only while there is room.
            outcomes: What is already known to have failed.
            keep: As in `Report`.
        """
        report = Report(self.store.address, self.host.clock, keep=keep)
        for outcome in outcomes:
            report.add(outcome)
        sent, asked = self.store.requests, self.sources.fetcher.requests
        pipeline = Pipeline(self.host, self.sources, self._take)
        try:
            with self.listening(report.take):
                one = partial(self._run_one, pipeline, report)
                await run_works(jobs, one, room=self.host.budgets.in_flight, keep=False)
        finally:
            await self.sources.derived.save()
            report.finish({"store": self.store.requests - sent, "sources": self.sources.fetcher.requests - asked})
        return report

    async def _located(self, jobs: Sequence[Job]) -> AsyncGenerator[Job]:
        """Yield the jobs with what the store holds of them, the largest first within a round of listings."""
        clock = self.host.clock
        for begin in range(0, len(jobs), LOCATE_CHUNK):
            chunk = jobs[begin : begin + LOCATE_CHUNK]
            started, sent = clock.now(), self.store.requests
            await self.sources.inventory.load([j.package.url for j in chunk])
            located = [replace(j, found=tuple(self.sources.inventory.found(j.package.url))) for j in chunk]
            complete = sum(len({a.format for a in j.found} & set(j.formats)) == len(j.formats) for j in located)
            self._emit(
                events.Located(complete, len(chunk) - complete, self.store.requests - sent, clock.now() - started)
            )
            for job in sorted(located, key=lambda j: j.estimated_temp_bytes, reverse=True):
                yield job

    async def _run_one(self, pipeline: Pipeline, report: Report, job: Job) -> None:
        package, url, started = job.package, str(job.package.url), self.host.clock.now()
        try:
            job.complete(job.found)  # raises where the store has other bytes
            await pipeline.confirm(job)
            job = await self._adopted(job)
            there = job.complete(job.found)
            if len(there) == len(job.formats) and not job.damaged:
                forms = tuple(StoredFormat(a.key, a.size, created=False) for a in there.values())
                self._emit(events.CacheHit(package.filename, url, sum(f.size for f in forms)))
                await self.tidy(package)
            else:
                forms = await pipeline.run(job)
        except Exception as exc:  # noqa: BLE001 - any exception is this package's failure and no other's
            failure = as_failure(exc)
            report.add(Outcome(package.filename, url, (), failure))
            self._emit(events.PackageFailed(package.filename, url, str(failure)))
        else:
            report.add(Outcome(package.filename, url, forms))
            self._emit(events.PackageDone(package.filename, url, self.host.clock.now() - started))

    async def _adopted(self, job: Job) -> Job:
        """Compare existing derived archives that are not vouched for; return the job with what has to be replaced."""
        adoption = Adoption(self.host, self.sources)
        if any(form != job.package.url_format for form in job.formats):
            await self.sources.derived.load()
        for archive in adoption.doubtful(job):
            if archive.format in {damaged.archive.format for damaged in job.damaged}:
                continue
            match await adoption.adopt(job.package, job.found, archive, trust_receipt=True):
                case Damaged() as damaged:
                    job = replace(job, damaged=(*job.damaged, damaged))
                case Absent():
                    job = replace(job, found=tuple(a for a in job.found if a is not archive))
                case Different() as other:
                    raise other.error(self.store.address)
                case None:
                    pass
        return job

    async def tidy(self, package: Package) -> None:
        """Remove the files of a run that was killed between publishing a package and removing them.

        `run` does it for its jobs; this is for callers that find a package in the store and create no job.
        """
        name = self.host.workspace.name(package.url)
        if name in self._left_over:
            self._left_over.discard(name)
            if await self.host.threads.run(self.host.workspace.locks.is_held, name):
                return  # it is in use: the process that uses it removes it
            async with self.host.workspace.locks.hold(name, label=package.filename):
                await self.host.threads.run(self.host.workspace.discard, package.url)

    @contextmanager
    def listening(self, sink: events.EventSink) -> Iterator[None]:
        """Deliver events to another sink as well, for the length of the block."""
        self._sinks.append(sink)
        try:
            yield
        finally:
            self._sinks.remove(sink)

    @contextmanager
    def taking(self, taker: Taker) -> Iterator[None]:
        """Pass fetched archives to a taker, for the length of the block, so that they need not be read again."""
        self._takers.append(taker)
        try:
            yield
        finally:
            self._takers.remove(taker)

    async def _take(self, arrived: Arrived) -> bool:
        taken = [await taker(arrived) for taker in list(self._takers)]
        return any(taken)

    def _take_finding(self, finding: Damaged | Misread) -> None:
        store, key = self.store.address, finding.archive.key
        reason = f"the {finding.part} is {finding.found}, expected {finding.expected}"
        if isinstance(finding, Damaged):
            self._emit(events.DamageFound(store, key, reason, MEND))
        else:
            self._emit(events.Misread(store, key, reason))

    def _emit(self, event: events.Event) -> None:
        for sink in self._sinks:
            sink(event)


def _end_decoders() -> None:
    """End the processes that decode bzip2, if any work has started one."""
    children = sys.modules.get("asynccache.archive.bzip2_children")
    if children is not None:
        children.end_idle()


def distinct_jobs(
    packages: Iterable[Package], wanted: Format | None, *, keep_published: bool
) -> tuple[list[Job], list[Outcome]]:
    """Merge packages of one URL into jobs; contradicting digests are that package's failure."""
    known: dict[str, Package] = {}
    failed: dict[str, Outcome] = {}
    for package in packages:
        url = str(package.url)
        try:
            known[url] = known[url].with_digests(package.digests) if url in known else package
        except AsyncCacheError as exc:
            failed[url] = Outcome(package.filename, url, (), exc)
    jobs = [
        Job(package, wanted_formats(package, wanted, keep_published=keep_published))
        for url, package in known.items()
        if url not in failed
    ]
    return jobs, list(failed.values())


def wanted_formats(package: Package, wanted: Format | None, *, keep_published: bool = False) -> tuple[Format, ...]:
    """Return the formats of a package that the store should have, the preferred one first."""
    if wanted is None or wanted.kind != package.kind or wanted == package.url_format:
        return (package.url_format,)
    return (wanted, package.url_format) if keep_published else (wanted,)
