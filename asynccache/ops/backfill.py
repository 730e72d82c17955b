"""Adding the other format of every conda package in a store.

The store itself says what is left to do: a package that has the wanted format is skipped, so a rerun after any
interruption does the rest. With a journal in the store the rerun (`resume`), on any machine, does not look again at
what is done.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from dataclasses import field
from typing import ClassVar

from asynccache.engine import events
from asynccache.engine.adoption import Adoption
from asynccache.engine.engine import Engine
from asynccache.engine.pipeline import Job
from asynccache.engine.report import Report, RunTotals
from asynccache.errors import AsyncCacheError, ObjectNotFoundError, StoreError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.package import Format, Package
from asynccache.model.shard import Shard
from asynccache.ops.backfill_run import BackfillRun, Counts, Ending, backfill_run
from asynccache.ops.contents import archives, by_source, matches
from asynccache.ops.key_lists import key_list
from asynccache.ops.shard_journal import SAVE_EVERY, Journal
from asynccache.ops.shards import Division, range_of
from asynccache.store.key_range import LAST, WHOLE, KeyRange
from asynccache.store.stored import StoredArchive


@dataclass(slots=True)
class Plan(Documented):
    """What a backfill found to do, counted as it runs.

    Attributes:
        complete: Packages that have the wanted format already.
        todo: Packages that do not.
        todo_bytes: Bytes of their published archives.
        unpublished: Source directories without the published archive, which must come from upstream.
        skipped: Packages outside the pattern.
        shared: Whether other workers look at other parts of the store.
        resumed: Whether packages that an earlier run looked at were skipped.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("complete", "todo", "todo_bytes", "unpublished", "skipped")

    complete: int = 0
    todo: int = 0
    todo_bytes: int = 0
    unpublished: int = 0
    skipped: int = 0
    shared: bool = False
    resumed: bool = False

    @property
    def empty(self) -> bool:
        """Whether no package in the store is selected, as far as one worker can see."""
        return not (self.complete or self.todo or self.shared or self.resumed)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which packages a backfill covers.

    Attributes:
        to: The wanted format.
        pattern: Shell pattern of file names or keys; None for all.
        shard: Which part of their keys; None for all. Shards may run on different machines at once.
        run_id: Name of the run, shared by all shards. A shard continues where its last worker stopped.
        keys: List of keys to look at instead of a listing, a path or an address (see `key_lists`); empty for none.
    """

    to: Format
    pattern: str | None = None
    shard: Shard | None = None
    run_id: str = ""
    keys: str = ""

    def division(self, dirname: str) -> Division:
        """Return what is divided of a store with this directory of packages."""
        about = (self.to, self.pattern, self.run_id or None, self.keys or None)
        return Division("backfill", about, f"{dirname}/conda/", self.shard.count if self.shard else 1)

    def means(self, group: list[StoredArchive]) -> bool:
        """Return whether a source directory fits the pattern."""
        return any(matches(archive, self.pattern) for archive in group)


@dataclass(frozen=True, slots=True)
class Backfilled(Documented):
    """What a backfill did, or would do.

    Attributes:
        store: Address of the store.
        plan: What there was to do.
        report: What was done; None for a dry run.
        run: What all shards have done so far; None unless requested.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("store", "plan", "*totals", "run")

    store: str
    plan: Plan
    report: Report | None = None
    run: BackfillRun | None = None

    def raise_for_failures(self, *, allow_empty: bool = False) -> None:
        """Raise if a package was not converted, or no package was selected.

        Args:
            allow_empty: Succeed even if no package was selected.

        Raises:
            AsyncCacheError: The failure, if there was only one package.
            PartialFailureError: What failed, by URL.
            ObjectNotFoundError: No package in the store is selected.
        """
        if self.report is not None:
            self.report.raise_for_failures()
        if self.plan.empty and not allow_empty:
            which = "conda package that matches" if self.plan.skipped else "conda package"
            raise ObjectNotFoundError(
                f"{self.store} has no {which}, so there was nothing to do",
                hint="check the address and the pattern; --allow-empty if an empty store is expected",
            )

    @property
    def totals(self) -> RunTotals | None:
        """What the run did and took; None for a dry run."""
        return None if self.report is None else self.report.totals


@dataclass(slots=True)
class Backfill:
    """One backfill of one store.

    Attributes:
        engine: An open engine.
        selection: Which packages.
        plan: Counted as it runs.
    """

    engine: Engine
    selection: Selection
    plan: Plan = field(default_factory=Plan)

    @property
    def _division(self) -> Division:
        return self.selection.division(self.engine.host.settings.packages_dirname)

    @property
    def journal_key(self) -> str:
        """Where the journal of this selection is in the store."""
        return self._division.part_key(self.selection.shard.index if self.selection.shard else 1)

    async def keys(self, *, dry_run: bool = False) -> KeyRange:
        """Return which keys are looked at, as all shards have agreed.

        Raises:
            StoreError: The store cannot be listed, or the plan cannot be written.
        """
        shard = self.selection.shard
        self.plan.shared = shard is not None and shard.count > 1
        return await range_of(self.engine.store, self._division, shard, self.engine.host.clock, write=not dry_run)

    async def has_plan(self) -> bool:
        """Return whether shards have agreed on their ranges.

        Raises:
            StoreError: The store cannot be asked.
        """
        return await self.engine.store.head(self._division.plan_key) is not None

    async def todo(self, journal: Journal[Counts] | None = None, keys: KeyRange = WHOLE) -> AsyncGenerator[Job]:
        """Yield a job for every selected package that lacks the wanted format, or has one that another tool made.

        Args:
            journal: Where to continue, and where packages that need nothing are recorded; None to look at the whole
                range.
            keys: Which keys are looked at.
        """
        store, dirname = self.engine.store, self.engine.host.settings.packages_dirname
        await self.engine.sources.derived.load()
        noted = journal is not None
        journal = journal or Journal(store, self.journal_key, Counts)
        for directory in sorted(journal.failed):
            there = False
            async for group in by_source(archives(store, dirname, below=directory)):
                there = True
                if isinstance(job := self._job(group), Job):
                    yield job
                else:
                    journal.tried_again(directory, Counts.of(job))
            if not there:
                journal.tried_again(directory, None)
        behind = f"{journal.behind}/{LAST}" if journal.behind else ""
        self.plan.resumed = bool(behind)
        async with AsyncExitStack() as stack:
            if self.selection.keys:
                listed = await stack.enter_async_context(
                    key_list(self.engine.host, self.engine.sources, self.selection.keys)
                )
                found = listed.archives(self.engine.host.threads, keys, after=behind)
            else:
                left = keys.from_(behind) if behind else keys
                found = archives(store, dirname, below=f"{dirname}/conda", keys=left)
            async for group in by_source(found):
                directory = group[0].parts.source_directory
                if not isinstance(job := self._job(group), Job):
                    journal.passed(directory, Counts.of(job))
                    continue
                if noted:  # in a dry run no package ends, so all would be kept
                    journal.begin(directory)
                yield job

    async def run(self, *, resume: bool = False) -> Report:
        """Run the backfill.

        Args:
            resume: Continue after the mark of the last interrupted run, its failures first, whichever machine it ran
                on.

        Returns:
            What was done, failures included; they stay in the journal for the next `resume`.

        Raises:
            StoreError: The store cannot be listed, or the journal cannot be written.
        """
        engine = self.engine
        keys = await self.keys()
        journal = await self._journal(resume=resume)
        if journal is None:
            self.plan.resumed = True
            report = Report(engine.store.address, engine.host.clock)
            report.finish({})
            return report
        started: dict[str, tuple[str, Ending, int]] = {}

        async def noted() -> AsyncGenerator[Job]:
            saved = engine.host.clock.now()
            async for job in self.todo(journal, keys):
                size = sum(a.size for a in job.found if a.format == job.package.url_format)
                ending: Ending = "there" if {a.format for a in job.found} & {self.selection.to} else "made"
                started[str(job.package.url)] = (job.found[0].parts.source_directory, ending, size)
                yield job
                if engine.host.clock.now() - saved >= SAVE_EVERY:
                    saved = engine.host.clock.now()
                    await journal.save()

        def take(event: events.Event) -> None:
            if isinstance(event, events.PackageDone | events.PackageFailed) and event.url in started:
                directory, ending, size = started.pop(event.url)
                failed = isinstance(event, events.PackageFailed)
                journal.end(directory, Counts.of("failed" if failed else ending, size), failed=failed)

        try:
            with engine.listening(take):
                report = await engine.run(noted(), keep=False)
        except BaseException:
            with suppress(StoreError):  # report why it ended, not this
                await journal.save()
            raise
        journal.complete = not journal.failed
        await journal.save()
        return report

    async def so_far(self) -> BackfillRun:
        """Add up what all shards have done.

        Raises:
            StoreError: A journal cannot be read.
        """
        return await backfill_run(self.engine.store, self._division)

    async def _journal(self, *, resume: bool) -> Journal[Counts] | None:
        """Return the journal to continue; None if this part of the run is done."""
        journal = Journal(self.engine.store, self.journal_key, Counts)
        if resume or self.selection.run_id:
            await journal.load()
            if journal.complete and self.selection.run_id:
                return None
            if journal.loaded and not journal.complete:
                return journal
            journal = Journal(self.engine.store, self.journal_key, Counts)
        if await self.engine.store.list_page(f"{self.engine.host.settings.packages_dirname}/conda/", limit=1):
            await journal.begin_again()
        else:
            # a store without packages may be a mistyped directory: nothing is written to it
            journal.superseded = True
        return journal

    def _job(self, group: list[StoredArchive]) -> Job | Ending:
        """Return what has to be done for a source directory, or that it is complete."""
        if not self.selection.means(group):
            self.plan.skipped += 1
            return "skipped"
        parts = group[0].parts
        if parts.kind != "conda":
            self.plan.skipped += 1
            return "skipped"
        try:
            package = Package.from_url(parts.source_url)
        except AsyncCacheError:
            self.plan.skipped += 1
            return "skipped"
        there = {a.format: a for a in group if a.stem == package.stem}
        published = there.get(package.url_format)
        if self.selection.to in there:
            self.plan.complete += 1
            if published is not None:
                package = package.with_digests(published.digests)
            job = Job(package, (self.selection.to,), tuple(group))
            return job if Adoption(self.engine.host, self.engine.sources).doubtful(job) else "there"
        self.plan.todo += 1
        if published is None:
            self.plan.unpublished += 1
        else:
            self.plan.todo_bytes += published.size
            package = package.with_digests(published.digests)
        return Job(package, (self.selection.to,), tuple(group))
