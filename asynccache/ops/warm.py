"""Making environments ready: every package in the store, on this node, or both, each verified once.

All environments of a call are one run of the engine over the packages that they need together. What the store has is
found by listing; what it lacks comes from upstream; what was never verified is read; what is damaged is written anew
where the store may be written, and not taken from it where not. A document that only this machine knows is published
when its last package is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import field
from typing import Final, Literal
from urllib.parse import urlsplit

from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.engine.pipeline import Job
from asynccache.engine.report import Report
from asynccache.engine.verified import Verified
from asynccache.errors import AsyncCacheError, IntegrityError, ObjectNotFoundError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document, plain
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.package import Format
from asynccache.ops.environment_packages import Need, Needs
from asynccache.ops.environments import Environments
from asynccache.ops.node import NodeArchives, Suspect
from asynccache.ops.verify import Verification, read_archive
from asynccache.runtime.tasks import run_works
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged

Target = Literal["remote", "local", "both"]
_PASSES: Final = 3  # fetch, verify, and fetch anew what was damaged
_STORE: Final = "store"


@dataclass(frozen=True, slots=True)
class Ready:
    """One row of the readiness table.

    Attributes:
        id: The environment.
        name: As it was asked for.
        packages: How many it has.
        complete: How many of them are where they were wanted.
        verified: How many of them were read, now or before, and found to be what they should be.
        bytes: Bytes of the complete ones.
        sources: Where packages came from -> how many: `store`, `node`, or a host.
        seconds: From the start until the last of them was there.
        published: Whether its document is in the store; None when that was not asked for.
        errors: What failed, by package.
    """

    id: EnvID
    name: str
    packages: int
    complete: int
    verified: int
    bytes: int
    sources: dict[str, int]
    seconds: float
    published: bool | None = None
    errors: dict[str, AsyncCacheError] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether everything is there."""
        return self.complete == self.packages and not self.errors

    def as_document(self) -> dict[str, object]:
        """Return the row as plain values."""
        counts = document(
            self, "id", "packages", "complete", "verified", "bytes", "seconds", "published", "ready", "errors"
        )
        return {"environment": self.name, "from": self.sources, **counts}


@dataclass(slots=True)
class Readiness:
    """What warming did.

    Attributes:
        rows: One per environment and architecture, as asked for.
        distinct: Packages that they need together.
        checked_bytes: Bytes read from the store to verify them.
        damaged: Objects that differ from their own keys in two readings.
        reports: Of the engine's runs; none when the store had everything.
        documents: What the store holds of the environments, as far as it was looked up or written.
        sizes: URL -> bytes of what the store has as it was published.
        seconds: In all.
    """

    rows: list[Ready] = field(default_factory=list)
    distinct: int = 0
    checked_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    documents: dict[EnvID, ResolvedEnvironment] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def fetched_bytes(self) -> int:
        """Bytes that came from upstream."""
        return sum(n for report in self.reports for origin, n in report.fetched_bytes.items() if _is_host(origin))

    @property
    def mended(self) -> list[str]:
        """Damaged objects that were replaced by what their keys say."""
        return [key for report in self.reports for key in report.mended]

    def raise_for_failures(self) -> None:
        """Raise unless everything is there.

        Raises:
            PartialFailureError: What failed, by package.
        """
        errors = {package: error for row in self.rows for package, error in row.errors.items()}
        missing = sum(not row.ready for row in self.rows)
        if missing:
            raise PartialFailureError(
                f"{missing} of {len(self.rows)} environments are not ready: {len(errors)} packages are not there",
                errors,
                hint="run the same command again to continue",
            )

    def as_document(self) -> dict[str, object]:
        """Return the receipt as plain values."""
        done = document(self, "fetched_bytes", "checked_bytes", "damaged", "mended", "seconds")
        rows = {"environments": plain(self.rows), "ready": all(row.ready for row in self.rows)}
        runs = [report.as_document(packages=False) for report in self.reports]
        return {**rows, "distinct_packages": self.distinct, **done, "runs": runs}


@dataclass(slots=True)
class Warm:
    """Warms environments.

    Attributes:
        engine: An open engine on the store.
        catalog: The catalog on the same store.
        to: Where packages shall be.
        wanted: Form that conda packages shall have; None for what documents record.
        fetch_with: Engine that brings what the store lacks; another one where the store is not to be written.
        verify: Read what is in the store and was never verified from this machine.
        together: Publish documents only when every environment is complete: they name each other.
    """

    engine: Engine
    catalog: Environments
    to: Target = "both"
    wanted: Format | None = None
    fetch_with: Engine | None = None
    verify: bool = True
    together: bool = False
    _memory: Verified = field(init=False)
    _node: NodeArchives | None = field(init=False, default=None)
    _started: float = field(init=False, default=0.0)
    _known: dict[str, dict[str, str]] = field(init=False, default_factory=dict)
    _result: Readiness = field(init=False, default_factory=Readiness)
    _upstream: dict[str, str] = field(init=False, default_factory=dict)
    _aside: set[int] = field(init=False, default_factory=set)
    _suspected: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._memory = Verified(self.engine.settings.cache_dir)

    @property
    def _fetching(self) -> Engine:
        return self.fetch_with or self.engine

    async def run(self, environments: Sequence[tuple[str, ResolvedEnvironment]]) -> Readiness:
        """Make environments ready.

        Args:
            environments: (as it was asked for, environment) pairs.

        Returns:
            What is there now; what failed stands in it.

        Raises:
            StoreError: The store cannot be listed.
            DiskError: This machine's disk cannot be written.
        """
        clock, result = self.engine.clock, self._result
        self._started = clock.now()
        needs = await self._look_up([e for _name, e in environments])
        result.distinct = len(needs.all)
        if self.to != "remote":
            self._node = NodeArchives(self.engine, self._memory)
            await self._node.look(needs.all, self.wanted)
        node = self._node
        for _ in range(_PASSES):
            todo = [n for n in needs.all if node is None or self.to == "both" or not node.has(n)]
            await self._fetch(todo, needs)
            suspects = await self._bring(needs.all, node) if node is not None else []
            gone = {id(need) for need, _reading in suspects}
            suspects += await self._check([need for need in todo if id(need) not in gone])
            if not await self._treat(suspects, needs):
                break
        published = await self._publish(environments, needs)
        for name, environment in environments:
            of = needs.by_environment[environment.id]
            result.rows.append(self._row(name, environment, of, published.get(environment.id)))
        found = [(need.package, archive) for need in needs.all for archive in need.found.values()]
        result.sizes.update({p.url: a.size for p, a in found if a.format == p.url_format})
        result.seconds = clock.now() - self._started
        return result

    async def _look_up(self, environments: Iterable[ResolvedEnvironment]) -> Needs:
        engine = self.engine
        needs = Needs(engine.store, engine.inventory, engine.settings.packages_dirname)
        await needs.add(environments, self.wanted)
        now = engine.clock.now()
        for need in needs.all:
            if need.complete:
                need.origins.add(_STORE)
                need.ready_at = now
        place = engine.store.root.identity
        self._known[place] = await engine.threads.run(self._memory.known, place)
        return needs

    async def _treat(self, suspects: Sequence[Suspect], needs: Needs) -> bool:
        """Decide what becomes of what is not as the store says; tell whether something is to be brought anew."""
        absent = [need for need, reading in suspects if isinstance(reading, Absent)]
        again = bool(absent)
        for need, reading in suspects:
            if isinstance(reading, Absent):
                continue
            archive, engine = reading.archive, self._store_of(need)
            if archive.key in self._suspected or need.fetchable is None:
                need.error = reading.error(engine.store.address)  # written anew already, or nobody has it
            elif engine is self._fetching:
                need.damaged[archive.format] = reading
                again = True
            else:
                need.forget(archive)
                again = True
            if archive.key not in self._suspected:
                self._suspected.add(archive.key)
                self._result.damaged.append(archive.key)
        await needs.look_up(absent)
        return again

    async def _fetch(self, todo: Sequence[Need], needs: Needs) -> None:
        """Run the engine over what is missing, all environments together."""
        waiting: dict[str, list[Need]] = {}
        jobs: list[Job] = []
        for need in todo:
            job = need.job()
            if job is not None:
                waiting.setdefault(str(job.package.url), []).append(need)
                jobs.append(job)
        if not jobs:
            return

        async def given() -> AsyncGenerator[Job]:
            for job in sorted(jobs, key=lambda j: j.estimated_temp_bytes, reverse=True):
                yield job

        def take(event: events.Event) -> None:
            match event:
                case events.PackageDone(url=url) | events.CacheHit(url=url):
                    for need in waiting.get(url, ()):
                        need.ready_at = self.engine.clock.now()
                case events.Fetched(package=package, source=source):
                    self._upstream[package] = urlsplit(source).netloc if _is_host(source) else _STORE
                case _:
                    pass

        with self._fetching.listening(take):
            report = await self._fetching.run(given())
        self._result.reports.append(report)
        created = {form.key for outcome in report.outcomes for form in outcome.forms if form.created}
        for outcome in report.outcomes:
            for need in waiting.get(outcome.url, ()):
                need.error = outcome.error
                need.damaged.clear()
                published = need.package.filename + need.package.url_format
                need.origins.add(self._upstream.get(published, _STORE))
        fetched = [need for group in waiting.values() for need in group]
        if self._fetching is self.engine:
            await needs.look_up(fetched)
        else:
            await self._look_aside(fetched)
        archives = [a for need in fetched for a in need.found.values() if a.key in created]
        await self._remember(self._fetching, archives)

    async def _look_aside(self, fetched: Sequence[Need]) -> None:
        """Take what the other engine's store has for what this one's lacks."""
        inventory = self._fetching.inventory
        await inventory.load([n.fetchable.url for n in fetched if n.fetchable is not None])
        for need in fetched:
            self._aside.add(id(need))
            if need.fetchable is not None:
                for archive in inventory.found(need.fetchable.url):
                    if archive.stem == need.package.filename:
                        need.found.setdefault(archive.format, archive)

    async def _bring(self, needs: Sequence[Need], node: NodeArchives) -> list[Suspect]:
        verified: list[tuple[Engine, StoredArchive]] = []
        damaged = await node.bring([n for n in needs if n.complete and not node.has(n)], self._store_of, verified)
        for engine in {engine for engine, _archive in verified}:
            await self._remember(engine, [archive for of, archive in verified if of is engine])
        return damaged

    async def _check(self, todo: Sequence[Need]) -> list[Suspect]:
        """Read what was never verified; return what is not as the store says."""
        if not self.verify or self.to == "local":
            return []
        unknown = [
            (need, need.found[f])
            for need in todo
            for f in need.formats
            if f in need.found and not self._is_verified(self.engine, need.found[f])
        ]
        counted = Verification()
        good: list[StoredArchive] = []

        async def check(item: tuple[Need, StoredArchive]) -> Suspect | None:
            need, archive = item
            if not archive.parts.source_directory:
                return None  # of a very old cache; read when it is used
            reading = await read_archive(self.engine, archive, counted)
            need.ready_at = self.engine.clock.now()
            if isinstance(reading, Absent | Damaged):
                return need, reading
            good.append(archive)
            return None

        results = await run_works(unknown, check, room=self.engine.budgets.in_flight)
        for (need, _archive), result in zip(unknown, results, strict=True):
            if isinstance(result, AsyncCacheError):
                need.error = result
        self._result.checked_bytes += counted.bytes
        await self._remember(self.engine, good)
        return [result for result in results if isinstance(result, tuple)]

    def _is_verified(self, engine: Engine, archive: StoredArchive) -> bool:
        return self._known.get(engine.store.root.identity, {}).get(archive.key) == archive.version

    async def _remember(self, engine: Engine, archives: Iterable[StoredArchive]) -> None:
        entries = [(a.key, a.version) for a in archives]
        self._known.setdefault(engine.store.root.identity, {}).update(entries)
        await engine.threads.run(self._memory.add, engine.store.root.identity, entries)

    def _store_of(self, need: Need) -> Engine:
        return self._fetching if id(need) in self._aside else self.engine

    async def _publish(
        self, environments: Sequence[tuple[str, ResolvedEnvironment]], needs: Needs
    ) -> dict[EnvID, bool]:
        if self.to == "local" or self.catalog.documents is None:
            return {}
        published = {}
        complete = {e.id: all(n.complete for n in needs.by_environment[e.id]) for _name, e in environments}
        if self.together and not all(complete.values()):
            complete = dict.fromkeys(complete, False)
        for _name, environment in environments:
            try:
                stored = await self.catalog.documents.get(environment.id)
            except IntegrityError:
                stored = None  # publishing writes one anew that is none, and refuses any other
            if stored is None and complete[environment.id]:
                stored = await self.catalog.publish(environment, needs.by_environment[environment.id])
            if stored is not None:
                self._result.documents[environment.id] = stored
            there = stored is not None
            published[environment.id] = there
        return published

    def _row(self, name: str, environment: ResolvedEnvironment, needs: Sequence[Need], published: bool | None) -> Ready:
        node = self._node
        there = [n for n in needs if (self.to == "local" or n.complete) and (node is None or node.has(n))]
        verified = [
            n for n in there if (node is not None or all(self._is_verified(self.engine, n.found[f]) for f in n.formats))
        ]
        sources = Counter(origin for n in there for origin in (("node",) if node and node.had(n) else n.origins))
        missing = {n.name: n.error or _absent(n) for n in needs if n not in there}
        return Ready(
            id=environment.id,
            name=name,
            packages=len(needs),
            complete=len(there),
            verified=len(verified),
            bytes=sum(node.bytes(n) if self.to == "local" and node else n.bytes for n in there),
            sources=dict(sources),
            seconds=max((n.ready_at for n in needs), default=self._started) - self._started,
            published=published,
            errors=missing,
        )


def _absent(need: Need) -> AsyncCacheError:
    return ObjectNotFoundError(f"{need.name} is not there", hint="run the same command again to continue")


def _is_host(source: str) -> bool:
    return source.startswith(("http://", "https://", "file:"))
