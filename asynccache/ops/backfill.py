"""Giving every conda package of a store its other form.

The store itself says what is left to do: a package that has the wanted form is passed over, so a rerun after any
interruption does the rest. A journal on the node saves the rerun (`resume`) from looking again at what lies behind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Final

from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.pipeline import Job
from asynccache.engine.report import Report
from asynccache.errors import AsyncCacheError, ObjectNotFoundError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document
from asynccache.model.package import Format, Package
from asynccache.node.disk import disk_errors
from asynccache.node.json_text import read_json
from asynccache.ops.contents import archives, by_source, matches
from asynccache.store import layout
from asynccache.store.stored import StoredArchive

SAVE_EVERY: Final = 5.0  # seconds: what a killed run looks at again


@dataclass(slots=True)
class Plan:
    """What a backfill found to do, counted while it goes.

    Attributes:
        complete: Packages that have the wanted form already.
        todo: Packages that do not.
        todo_bytes: Bytes of their published archives.
        unpublished: Source directories without the published archive: it must come from upstream.
        skipped: Packages of other shards or outside the pattern.
        elsewhere: Those of them that belong to other shards.
        resumed: Whether packages that an earlier run looked at were not looked at again.
    """

    complete: int = 0
    todo: int = 0
    todo_bytes: int = 0
    unpublished: int = 0
    skipped: int = 0
    elsewhere: int = 0
    resumed: bool = False

    @property
    def empty(self) -> bool:
        """Whether no package of the store is meant, in this shard or another."""
        return not (self.complete or self.todo or self.elsewhere or self.resumed)

    def as_document(self) -> dict[str, int]:
        """Return the counts as plain values; sizes in bytes."""
        return document(self, "complete", "todo", "todo_bytes", "unpublished", "skipped")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which packages a backfill is about.

    Attributes:
        to: The wanted form.
        pattern: Shell pattern of file names or keys; None for all.
        shard: (I, N): the I-th of N parts, by a hash of the source directory; None for all. Shards may run on
            different machines at once.
    """

    to: Format
    pattern: str | None = None
    shard: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise UsageError("--shard is wrong", expected="I/N with 1 <= I <= N", found="{}/{}".format(*self.shard))

    def name(self, store: str) -> str:
        """Return the file name of the journal for this selection of a store, given by its identity."""
        text = json.dumps([store, self.to, self.pattern, self.shard])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def means(self, group: list[StoredArchive]) -> bool:
        """Tell whether a source directory fits the pattern."""
        return any(matches(archive, self.pattern) for archive in group)

    def takes(self, group: list[StoredArchive]) -> bool:
        """Tell whether a source directory belongs to the shard."""
        if self.shard is None:
            return True
        index, count = self.shard
        digest = hashlib.sha256(group[0].parts.source_directory.encode()).digest()
        return int.from_bytes(digest[:8], "big") % count == index - 1


class Journal:
    """How far a backfill has come: every source directory up to `behind` is done or listed as failed.

    Args:
        path: Its file; blocking, small.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.behind = ""
        self.failed: set[str] = set()
        self._started: dict[str, bool] = {}

    def load(self) -> None:
        """Take over what an earlier run wrote; an unreadable journal means starting from the beginning."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            said = read_json(self.path.read_text("utf-8"))
            self.behind, self.failed = str(said["behind"]), set(said["failed"])

    def begin(self, directory: str) -> None:
        """Note that work on a source directory begins; they begin in order."""
        self._started[directory] = False

    def end(self, directory: str, *, failed: bool) -> None:
        """Note that a source directory is done or failed, and move the mark over all that are."""
        (self.failed.add if failed else self.failed.discard)(directory)
        if directory in self._started:
            self._started[directory] = True
        for first, ended in list(self._started.items()):
            if not ended:
                break
            self.behind = first
            del self._started[first]

    def text(self) -> str:
        """Return what is to be written down."""
        return json.dumps({"behind": self.behind, "failed": sorted(self.failed)})

    def save(self, text: str) -> None:
        """Write it down, whole or not at all.

        Raises:
            DiskError: It cannot be written.
        """
        with disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            aside = self.path.with_suffix(".tmp")
            aside.write_text(text, "utf-8")
            aside.replace(self.path)

    def remove(self) -> None:
        """Forget it: the backfill is complete."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Backfilled:
    """What a backfill did, or would do.

    Attributes:
        store: Address of the store.
        plan: What there was to do.
        report: What was done; None when it was only asked for.
    """

    store: str
    plan: Plan
    report: Report | None = None

    def raise_for_failures(self, *, allow_empty: bool = False) -> None:
        """Raise when a package was not converted, or no package was meant.

        Args:
            allow_empty: Succeed although no package was meant.

        Raises:
            AsyncCacheError: The failure, when it is the only package.
            PartialFailureError: What failed, by URL.
            ObjectNotFoundError: The store has no package that is meant.
        """
        if self.report is not None:
            self.report.raise_for_failures()
        if self.plan.empty and not allow_empty:
            which = "conda package that matches" if self.plan.skipped else "conda package"
            raise ObjectNotFoundError(
                f"{self.store} has no {which}, so there was nothing to look at",
                hint="check the address and the pattern; --allow-empty if an empty store is expected",
            )

    def as_document(self) -> dict[str, object]:
        """Return plan and receipt as plain values."""
        done = {} if self.report is None else self.report.as_document(packages=False)
        return {**document(self, "store", "plan"), **done}


@dataclass(slots=True)
class Backfill:
    """One backfill of one store.

    Attributes:
        engine: An open engine.
        selection: Which packages.
        plan: Counted while it goes.
    """

    engine: Engine
    selection: Selection
    plan: Plan = field(default_factory=Plan)

    @property
    def journal_path(self) -> Path:
        """Where the journal of this selection lies on this node."""
        name = self.selection.name(self.engine.store.root.identity)
        return self.engine.settings.cache_dir / "backfill" / f"{name}.json"

    async def todo(self, journal: Journal) -> AsyncGenerator[Job]:
        """Yield a job for every selected package that lacks the wanted form.

        Args:
            journal: Where to go on; a new one to look at the whole store.
        """
        store, dirname = self.engine.store, self.engine.settings.packages_dirname
        failed = sorted(journal.failed)
        for directory in failed:
            async for group in by_source(archives(store, dirname, below=directory)):
                if (job := self._job(group)) is not None:
                    yield job
        # "0" follows "/" in byte order: everything below the directory lies before it
        after = journal.behind + "0" if journal.behind else ""
        self.plan.resumed = bool(after)
        async for group in by_source(archives(store, dirname, below=f"{dirname}/conda", start_after=after)):
            directory = group[0].parts.source_directory
            if directory not in failed and (job := self._job(group)) is not None:
                journal.begin(directory)
                yield job

    async def run(self, *, resume: bool = False) -> Report:
        """Do it.

        Args:
            resume: Go on behind the mark of the last interrupted run, its failures first.

        Returns:
            What was done; failures stand in it and stay in the journal for the next `resume`.

        Raises:
            StoreError: The store cannot be listed.
        """
        journal = Journal(self.journal_path)
        if resume:
            await self.engine.threads.run(journal.load)
        directories: dict[str, str] = {}

        async def noted() -> AsyncGenerator[Job]:
            saved = self.engine.clock.now()
            async for job in self.todo(journal):
                directories[str(job.package.url)] = layout.source_directory(
                    job.package.url, job.package.kind, self.engine.settings.packages_dirname
                )
                yield job
                if self.engine.clock.now() - saved >= SAVE_EVERY:
                    saved = self.engine.clock.now()
                    await self.engine.threads.run(journal.save, journal.text())

        def take(event: events.Event) -> None:
            if isinstance(event, events.PackageDone | events.PackageFailed):
                directory = directories.pop(event.url, None)
                if directory is not None:
                    journal.end(directory, failed=isinstance(event, events.PackageFailed))

        complete = False
        try:
            with self.engine.listening(take):
                report = await self.engine.run(noted())
            complete = not report.failures
        finally:
            if complete:
                await self.engine.threads.run(journal.remove)
            else:
                await self.engine.threads.run(journal.save, journal.text())
        return report

    def _job(self, group: list[StoredArchive]) -> Job | None:
        if not self.selection.means(group):
            self.plan.skipped += 1
            return None
        if not self.selection.takes(group):
            self.plan.skipped += 1
            self.plan.elsewhere += 1
            return None
        parts = group[0].parts
        try:
            package = Package.from_url(parts.source_url)
        except AsyncCacheError:
            self.plan.skipped += 1
            return None
        if any(a.format == self.selection.to and a.stem == package.stem for a in group):
            self.plan.complete += 1
            return None
        published = next((a for a in group if a.format == package.url_format and a.stem == package.stem), None)
        self.plan.todo += 1
        if published is None:
            self.plan.unpublished += 1
        else:
            self.plan.todo_bytes += published.size
            package = package.with_digests(published.digests)
        return Job(package, (self.selection.to,), tuple(group))
