"""Making environments ready: every package in the store, on this node, or both, each verified once.

All environments of a call are one run of the engine over the packages that they need together. What the store has is
found by listing; what it lacks comes from upstream; what was never verified is read; what is damaged is written again
where the store may be written, and not taken from it where not. A document that only this machine knows is published
when its last package is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from dataclasses import field
from typing import Final, Literal
from urllib.parse import urlsplit

from asynccache.engine import events
from asynccache.engine.adoption import Adoption, Different
from asynccache.engine.engine import Engine
from asynccache.engine.pipeline import Job
from asynccache.engine.sources import Sources
from asynccache.engine.verified import Verified
from asynccache.errors import AsyncCacheError, IntegrityError, ObjectNotFoundError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.package import Format
from asynccache.model.shard import Shard
from asynccache.ops.catalog import Catalog
from asynccache.ops.digests import publish_digests
from asynccache.ops.environment_packages import Need, Needs, with_stored_keys
from asynccache.ops.node import NodeArchives, Suspect
from asynccache.ops.readiness import Readiness, Ready, is_host
from asynccache.ops.shards import range_of_known
from asynccache.ops.verify import Verification, read_archive, receipt_of
from asynccache.ops.vouching import note_sha256, noted_sha256
from asynccache.runtime.tasks import run_works
from asynccache.store.base import Store
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, Whole

Target = Literal["remote", "local", "both"]
_PASSES: Final = 3  # fetch, verify, and fetch again what was damaged
_STORE: Final = "store"


@dataclass(slots=True)
class Warm:
    """Warms environments.

    Attributes:
        engine: An open engine on the store.
        catalog: The catalog on the same store.
        to: Where the packages should be.
        wanted: Format that conda packages shall have; None for what documents record.
        fetch_with: Engine that brings what the store lacks; another one where the store is not to be written.
        verify: Read what is in the store and was never verified from this machine.
        together: Publish documents only when every environment is complete: they name each other.
        vouch: This machine has resolved the environments.
        shard: Which of their packages are brought, by the range of their keys; None for all. A document is published
            by whoever finds the last of them there.
    """

    engine: Engine
    catalog: Catalog
    to: Target = "both"
    wanted: Format | None = None
    fetch_with: Engine | None = None
    verify: bool = True
    together: bool = False
    vouch: bool = False
    shard: Shard | None = None
    _mine: list[Need] = field(init=False, default_factory=list)
    _memory: Verified = field(init=False)
    _node: NodeArchives | None = field(init=False, default=None)
    _started: float = field(init=False, default=0.0)
    _known: dict[str, dict[str, str]] = field(init=False, default_factory=dict)
    _noted: dict[str, str] = field(init=False, default_factory=dict)
    _result: Readiness = field(init=False, default_factory=Readiness)
    _upstream: dict[str, str] = field(init=False, default_factory=dict)
    _fetched_locally: set[int] = field(init=False, default_factory=set)
    _suspected: set[str] = field(init=False, default_factory=set)

    def __post_init__(self) -> None:
        self._memory = Verified.shared(self.engine.host.settings.cache_dir)

    @property
    def _fetching(self) -> Engine:
        return self.fetch_with or self.engine

    async def run(self, environments: Sequence[tuple[str, ResolvedEnvironment]]) -> Readiness:
        """Make environments ready.

        Args:
            environments: (as it was asked for, environment) pairs.

        Returns:
            What is there now, failures included.

        Raises:
            StoreError: The store cannot be listed.
            DiskError: This machine's disk cannot be written.
        """
        clock, result = self.engine.host.clock, self._result
        self._started = clock.now()
        needs = await self.look([e for _name, e in environments])
        mine, node = self._mine, self._node
        for _ in range(_PASSES):
            todo = self.todo
            await self._fetch(todo, needs)
            suspects = await self._adopt(todo)
            suspects += await self._bring(mine, node) if node is not None else []
            gone = {id(need) for need, _reading in suspects}
            suspects += await self._check([need for need in todo if id(need) not in gone])
            if not await self._treat(suspects, needs):
                break
        await self.engine.sources.derived.save()
        result.elsewhere = await self._missing_of_others(needs)
        published = await self._publish(environments, needs)
        own = set(map(id, mine))
        for name, environment in environments:
            of = [need for need in needs.by_environment[environment.id] if id(need) in own]
            result.rows.append(self._row(name, environment, of, published.get(environment.id)))
        found = [(need.package, archive) for need in mine for archive in need.found.values()]
        result.sizes.update({p.url: a.size for p, a in found if a.format == p.url_format})
        result.seconds = clock.now() - self._started
        return result

    async def look(self, environments: Iterable[ResolvedEnvironment]) -> Needs:
        """Find out what the environments need, and what of it is in the store and on this node.

        Raises:
            StoreError: The store cannot be listed.
        """
        needs = await self._look_up(environments)
        self._result.distinct = len(self._mine)
        if self.to != "remote":
            self._node = NodeArchives(self.engine.host, self.engine.sources, self._memory)
            await self._node.look(self._mine, self.wanted)
        return needs

    @property
    def todo(self) -> list[Need]:
        """What this shard has to see to."""
        node = self._node
        return [n for n in self._mine if node is None or self.to == "both" or not node.has(n)]

    @property
    def to_fetch(self) -> list[Need]:
        """What is copied onto this node once the store has it."""
        return [] if self._node is None else [need for need in self._mine if not self._node.has(need)]

    @property
    def on_node(self) -> int:
        """How many packages are on this node and are not looked at again."""
        return len(self._mine) - len(self.todo)

    def unverified(self, needs: Iterable[Need]) -> list[tuple[Need, StoredArchive]]:
        """Return which archives of the store have to be read, since this machine has never verified them."""
        if not self.verify or self.to == "local":
            return []
        return [
            (need, need.found[f])
            for need in needs
            for f in need.formats
            if f in need.found
            and not (self._is_verified(self.engine.store, need.found[f]) and self._knows_sha256(need, need.found[f]))
        ]

    async def _look_up(self, environments: Iterable[ResolvedEnvironment]) -> Needs:
        host, sources = self.engine.host, self.engine.sources
        needs = Needs(sources.store, sources.inventory, host.settings.packages_dirname)
        needs.take(environments, self.wanted)
        self._mine = self._share(needs)
        await needs.look_up(self._mine)
        now = host.clock.now()
        for need in self._mine:
            if need.complete:
                need.origins.add(_STORE)
                need.ready_at = now
                if need.fetchable is not None:
                    await self._fetching.tidy(need.fetchable)
        place = sources.store.root.identity
        self._known[place] = await host.threads.run(self._memory.known, place)
        if any(n.package.digests_of(n.package.url_format).sha256 is None for n in self._mine if n.error is None):
            self._noted = await host.threads.run(noted_sha256, host.settings.cache_dir, place)
        return needs

    def _share(self, needs: Needs) -> list[Need]:
        """Return what this shard brings."""
        if self.shard is None or self.shard.count == 1:
            return needs.all
        by_directory = [(needs.directory(need), need) for need in needs.all]
        keys = range_of_known(((directory, 1.0) for directory, _need in by_directory), self.shard)
        return [need for directory, need in by_directory if keys.holds(f"{directory}/")]

    async def _missing_of_others(self, needs: Needs) -> int:
        """Look up what other shards bring; return how much of it is not there yet."""
        own = set(map(id, self._mine))
        others = [need for need in needs.all if id(need) not in own]
        if not others or self.to == "local":
            return 0
        await needs.look_up(others)
        return sum(not need.complete for need in others)

    async def _treat(self, suspects: Sequence[Suspect], needs: Needs) -> bool:
        """Decide what becomes of what is not as the store says; return whether something is to be brought again."""
        absent = [need for need, reading in suspects if isinstance(reading, Absent)]
        again = bool(absent)
        for need, reading in suspects:
            if isinstance(reading, Absent):
                continue
            archive, sources = reading.archive, self._sources_of(need)
            if archive.key in self._suspected or need.fetchable is None:
                need.error = reading.error(sources.store.address)  # written again already, or nobody has it
            elif sources is self._fetching.sources:
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
                        need.ready_at = self.engine.host.clock.now()
                case events.Fetched(package=package, source=source):
                    self._upstream[package] = urlsplit(source).netloc if is_host(source) else _STORE
                case _:
                    pass

        self._fetching.host.emit(events.RunStarted(len(jobs), 0))
        with self._fetching.listening(take):
            report = await self._fetching.run(given())
        self._result.reports.append(report)
        created = {form.key: form.sha256 for outcome in report.outcomes for form in outcome.forms if form.created}
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
            await self._look_locally(fetched)
        archives = [(a, created[a.key]) for need in fetched for a in need.found.values() if a.key in created]
        await self._remember(self._fetching.store, archives)

    async def _look_locally(self, fetched: Sequence[Need]) -> None:
        """Take what the other engine's store has for what this one's lacks."""
        inventory = self._fetching.sources.inventory
        await inventory.load([n.fetchable.url for n in fetched if n.fetchable is not None])
        for need in fetched:
            self._fetched_locally.add(id(need))
            if need.fetchable is not None:
                for archive in inventory.found(need.fetchable.url):
                    if archive.stem == need.package.filename:
                        need.found.setdefault(archive.format, archive)

    async def _adopt(self, todo: Sequence[Need]) -> list[Suspect]:
        """Compare derived archives that others made; return those that differ from what the store says.

        Where nothing is brought to this node, a receipt will do.
        """
        if not self.verify:
            return []
        await self.engine.sources.derived.load()
        await self._fetching.sources.derived.load()

        async def adopt(item: tuple[Need, StoredArchive]) -> Suspect | None:
            need, archive = item
            sources = self._sources_of(need)
            if need.fetchable is None:
                return None
            wrong = await self._adoption_of(need).adopt(
                need.fetchable,
                need.below,
                archive,
                trust_receipt=self.to == "remote",
                write_receipt=sources is self._fetching.sources,
            )
            if isinstance(wrong, Different):
                raise wrong.error(sources.store.address)
            return None if wrong is None else (need, wrong)

        doubtful = [(n, a) for n in todo if n.error is None for a in n.doubtful(self._adoption_of(n))]
        results = await run_works(doubtful, adopt, room=self.engine.host.budgets.in_flight)
        for (need, _archive), result in zip(doubtful, results, strict=True):
            if isinstance(result, AsyncCacheError):
                need.error = result
            elif result is None:
                need.ready_at = self.engine.host.clock.now()
        return [result for result in results if isinstance(result, tuple)]

    async def _bring(self, needs: Sequence[Need], node: NodeArchives) -> list[Suspect]:
        verified: list[tuple[Sources, StoredArchive, str]] = []
        damaged = await node.bring([n for n in needs if n.complete and not node.has(n)], self._sources_of, verified)
        for store in {sources.store for sources, _archive, _sha256 in verified}:
            await self._remember(store, [(archive, sha256) for of, archive, sha256 in verified if of.store is store])
        return damaged

    async def _check(self, todo: Sequence[Need]) -> list[Suspect]:
        """Read what was never verified; return what is not as the store says."""
        unknown, host = self.unverified(todo), self.engine.host
        counted = Verification()
        good: list[tuple[StoredArchive, str]] = []

        async def check(item: tuple[Need, StoredArchive]) -> Suspect | None:
            need, archive = item
            if not archive.parts.source_directory:
                return None  # of a very old cache; read when it is used
            receipt = await receipt_of(self.engine.store, archive, host.settings.packages_dirname)
            reading = await read_archive(host, self.engine.sources, archive, counted, receipt)
            need.ready_at = self.engine.host.clock.now()
            if isinstance(reading, Absent | Damaged):
                return need, reading
            good.append((archive, reading.digests.sha256 or "" if isinstance(reading, Whole) else ""))
            return None

        results = await run_works(unknown, check, room=self.engine.host.budgets.in_flight)
        for (need, _archive), result in zip(unknown, results, strict=True):
            if isinstance(result, AsyncCacheError):
                need.error = result
        self._result.checked_bytes += counted.bytes
        await self._remember(self.engine.store, good)
        return [result for result in results if isinstance(result, tuple)]

    def _knows_sha256(self, need: Need, archive: StoredArchive) -> bool:
        """Return whether an archive need not be read for the digest of the environment; for a derived one it is known
        where it was compared.
        """
        if archive.format != need.package.url_format or need.package.digests_of(archive.format).sha256 is not None:
            return True
        return archive.key in self._noted

    def _is_verified(self, store: Store, archive: StoredArchive) -> bool:
        return self._known.get(store.root.identity, {}).get(archive.key) == archive.version

    async def _remember(self, store: Store, archives: Iterable[tuple[StoredArchive, str]]) -> None:
        read = list(archives)
        if not read:
            return
        host, place, entries = self.engine.host, store.root.identity, [(a.key, a.version) for a, _sha256 in read]
        self._known.setdefault(place, {}).update(entries)
        await host.threads.run(self._memory.add, place, entries)
        noted = [(a.key, sha256) for a, sha256 in read]
        self._noted.update(noted)
        await host.threads.run(note_sha256, host.settings.cache_dir, place, noted)

    def _sources_of(self, need: Need) -> Sources:
        return self._fetching.sources if id(need) in self._fetched_locally else self.engine.sources

    def _adoption_of(self, need: Need) -> Adoption:
        sources = self._sources_of(need)
        return Adoption(sources.host, sources)

    async def _publish(
        self, environments: Sequence[tuple[str, ResolvedEnvironment]], needs: Needs
    ) -> dict[EnvID, bool]:
        if self.to == "local" or self.catalog.documents is None:
            return {}
        published = {}
        complete = {e.id: all(n.complete for n in needs.by_environment[e.id]) for _name, e in environments}
        if self.together and not all(complete.values()):
            complete = dict.fromkeys(complete, False)
        fresh: set[EnvID] = set()
        for _name, environment in environments:
            try:
                stored = await self.catalog.documents.get(environment.id)
            except IntegrityError:
                stored = None  # publishing writes one again that is none, and refuses any other
            if stored is None and complete[environment.id]:
                stored = await self.catalog.publish(environment, needs.by_environment[environment.id])
                fresh.add(environment.id)
            if stored is not None:
                self._result.documents[environment.id] = stored
            there = stored is not None
            published[environment.id] = there
        await self._digest([e for _name, e in environments if published[e.id] and complete[e.id]], needs, fresh)
        return published

    async def _digest(self, environments: Iterable[ResolvedEnvironment], needs: Needs, fresh: set[EnvID]) -> None:
        keyed = []
        for environment in environments:
            with suppress(IntegrityError):  # the store has other bytes, which has been said
                keyed.append(with_stored_keys(environment, needs.by_environment[environment.id]))
        self._result.digests |= await publish_digests(
            self.engine.host, self.engine.sources, keyed, vouch=self.vouch, fresh=fresh
        )

    def _row(self, name: str, environment: ResolvedEnvironment, needs: Sequence[Need], published: bool | None) -> Ready:
        node = self._node
        there = [n for n in needs if (self.to == "local" or n.complete) and (node is None or node.has(n))]
        verified = [
            n
            for n in there
            if (node is not None or all(self._is_verified(self.engine.store, n.found[f]) for f in n.formats))
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
