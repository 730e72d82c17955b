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
from typing import TYPE_CHECKING, Final, Self

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.credentials import HostCredentials
from asynccache.engine.fetch import Fetcher
from asynccache.engine.pipeline import Budgets, Job, Pipeline
from asynccache.engine.report import Outcome, Report, StoredForm
from asynccache.engine.transport import HTTPTransport, Transport
from asynccache.engine.workspace import Workspace
from asynccache.errors import AsyncCacheError
from asynccache.model.package import Format, Package
from asynccache.runtime.budget import Budget
from asynccache.runtime.clock import Clock
from asynccache.runtime.failures import as_failure
from asynccache.runtime.retry import Backoff, RetryPolicy
from asynccache.runtime.tasks import run_works
from asynccache.runtime.threads import Threads
from asynccache.store.base import Store
from asynccache.store.inventory import Inventory
from asynccache.store.open import open_store, store_options
from asynccache.store.verified import MEND, Damaged, Misread, VerifiedReader

if TYPE_CHECKING:
    from asynccache.archive import Limits

LOCATE_CHUNK: Final = 2000  # packages that one round of listings looks for


class Engine:
    """Opens store, connections and threads; everything is closed when the block ends.

    Args:
        settings: All settings.
        store: A store to use instead of the one that the settings name; the caller opens and closes it.
        transport: A transport to use instead of HTTP; the caller opens and closes it.
        clock: Time to measure with and to wait on.
        emit: Where events go, besides the report.
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
        self.settings = settings
        self.clock = clock or Clock()
        self._given_store = store
        self._given_transport = transport
        self._sinks: list[events.EventSink] = [emit]
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        settings = self.settings
        async with AsyncExitStack() as stack:
            self.threads = stack.enter_context(Threads(settings.cpu_slots, closing=_end_decoders))
            self.store = self._given_store or open_store(settings.root, store_options(settings))
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
            self.budgets = Budgets(
                in_flight=Budget(settings.in_flight, "in_flight"),
                cpu=Budget(settings.cpu_slots, "cpu_slots"),
                memory=Budget(settings.memory_bytes, "memory_bytes"),
                temp=Budget(settings.temp_bytes, "temp_bytes"),
                uploads=Budget(max(1, settings.store_connections // 4), "uploads"),
            )
            self.workspace = Workspace(settings.cache_dir, settings.lock_timeout, self.emit)
            self.reader = VerifiedReader(
                self.store, self.threads, self.budgets.memory, self.budgets.cpu, self._take_finding
            )
            self.inventory = Inventory(self.store, settings.packages_dirname)
            self.fetcher = Fetcher(
                transport,
                HostCredentials(settings.auth),
                RetryPolicy(settings.attempts, Backoff(base=0.5, cap=settings.retry_cap)),
                self.clock,
                self.threads,
                self.budgets.memory,
                settings.mirrors,
                self.emit,
            )
            self._left_over = await self.threads.run(self.workspace.sweep)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def cache(
        self, packages: Iterable[Package], *, wanted: Format | None = None, keep_published: bool = False
    ) -> Report:
        """Make the store hold packages.

        Packages with the same URL are one. Every package is tried, whatever becomes of the others; what failed stands
        in the report.

        Args:
            packages: Any number, in any order.
            wanted: Form of conda packages that the store shall hold; None for the published one.
            keep_published: Hold the published form as well.
        """
        jobs, failed = _distinct(packages, wanted, keep_published=keep_published)
        self.emit(events.RunStarted(len(jobs), sum(j.package.digests.size or 0 for j in jobs)))
        return await self.run(self._located(jobs), failed)

    async def run(self, jobs: AsyncGenerator[Job], outcomes: Iterable[Outcome] = ()) -> Report:
        """Run jobs as they come, `in_flight` at once.

        Args:
            jobs: Each with what the store holds of its package; taken from only while there is room.
            outcomes: What is already known to have failed.
        """
        report = Report(self.store.address)
        report.outcomes += outcomes
        sent, asked = self.store.requests, self.fetcher.requests
        pipeline = self._pipeline()
        try:
            with self.listening(report.take):
                await run_works(jobs, lambda job: self._run_one(pipeline, job, report), room=self.budgets.in_flight)
        finally:
            report.finish({"store": self.store.requests - sent, "sources": self.fetcher.requests - asked})
        return report

    async def _located(self, jobs: Sequence[Job]) -> AsyncGenerator[Job]:
        """Yield the jobs with what the store holds of them, the largest first within a round of listings."""
        for begin in range(0, len(jobs), LOCATE_CHUNK):
            chunk = jobs[begin : begin + LOCATE_CHUNK]
            started, sent = self.clock.now(), self.store.requests
            await self.inventory.load([j.package.url for j in chunk])
            located = [replace(j, found=tuple(self.inventory.found(j.package.url))) for j in chunk]
            complete = sum(len({a.format for a in j.found} & set(j.formats)) == len(j.formats) for j in located)
            self.emit(
                events.Located(complete, len(chunk) - complete, self.store.requests - sent, self.clock.now() - started)
            )
            for job in sorted(located, key=lambda j: j.estimated_temp_bytes, reverse=True):
                yield job

    async def _run_one(self, pipeline: Pipeline, job: Job, report: Report) -> None:
        package, url, started = job.package, str(job.package.url), self.clock.now()
        try:
            there = job.complete(job.found)
            await pipeline.confirm(job)
            if len(there) == len(job.formats) and not job.damaged:
                forms = tuple(StoredForm(a.key, a.size, created=False) for a in there.values())
                self.emit(events.CacheHit(package.filename, url, sum(f.size for f in forms)))
                await self._tidy(package)
            else:
                forms = await pipeline.run(job)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is this package's failure and no other's
            failure = as_failure(exc)
            report.outcomes.append(Outcome(package.filename, url, (), failure))
            self.emit(events.PackageFailed(package.filename, url, str(failure)))
        else:
            report.outcomes.append(Outcome(package.filename, url, forms))
            self.emit(events.PackageDone(package.filename, url, self.clock.now() - started))

    async def _tidy(self, package: Package) -> None:
        """Remove what a run left that was killed between publishing a package and forgetting its files."""
        name = self.workspace.name(package.url)
        if name in self._left_over:
            self._left_over.discard(name)
            async with self.workspace.locks.hold(name, label=package.filename):
                await self.threads.run(self.workspace.discard, package.url)

    @contextmanager
    def listening(self, sink: events.EventSink) -> Iterator[None]:
        """Deliver events to another sink as well, for the length of the block."""
        self._sinks.append(sink)
        try:
            yield
        finally:
            self._sinks.remove(sink)

    def _pipeline(self) -> Pipeline:
        return Pipeline(
            store=self.store,
            inventory=self.inventory,
            reader=self.reader,
            fetcher=self.fetcher,
            workspace=self.workspace,
            threads=self.threads,
            budgets=self.budgets,
            clock=self.clock,
            level=self.settings.zstd_level,
            verify=self.settings.verify_transmute,
            limits=self.limits,
            package_timeout=self.settings.package_timeout,
            dirname=self.settings.packages_dirname,
            emit=self.emit,
        )

    def limits(self) -> Limits:
        """Return what an archive may ask of this machine."""
        from asynccache.archive.limits import Limits  # noqa: PLC0415 - a run on a full cache needs no codec

        return Limits.of(self.settings)

    def _take_finding(self, finding: Damaged | Misread) -> None:
        store, key = self.store.address, finding.archive.key
        reason = f"the {finding.part} is {finding.found}, expected {finding.expected}"
        if isinstance(finding, Damaged):
            self.emit(events.DamageFound(store, key, reason, MEND))
        else:
            self.emit(events.Misread(store, key, reason))

    def emit(self, event: events.Event) -> None:
        """Deliver an event of this engine, or of work that is done with its budgets."""
        for sink in self._sinks:
            sink(event)


def _end_decoders() -> None:
    """End the processes that decode bzip2, if any work has started one."""
    children = sys.modules.get("asynccache.archive.bzip2_children")
    if children is not None:
        children.end_idle()


def _distinct(
    packages: Iterable[Package], wanted: Format | None, *, keep_published: bool
) -> tuple[list[Job], list[Outcome]]:
    """Merge packages of one URL; contradicting digests are that package's failure."""
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
    """Return the forms that the store shall hold of a package, the preferred one first."""
    if wanted is None or wanted.kind != package.kind or wanted == package.url_format:
        return (package.url_format,)
    return (wanted, package.url_format) if keep_published else (wanted,)
