"""A store that is collected while others publish, name, deploy and read, beside a model of what must stay."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import random
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from asynccache.catalog import collection, collection_state
from asynccache.catalog.aliases import Aliases
from asynccache.catalog.keys import ALIAS_LOG, CatalogKeys
from asynccache.catalog.leases import PREFIX as LEASES
from asynccache.catalog.leases import Lease, remove_leases
from asynccache.config import Settings
from asynccache.errors import AliasTakenError, LockTimeoutError, ObjectNotFoundError, StoreError
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.model.package import Format, split_filename
from asynccache.model.shard import Shard
from asynccache.ops.catalog import Catalog
from asynccache.ops.collect import Collected, Collector
from asynccache.ops.collect_rules import DAY, Rules
from asynccache.ops.leasing import use_environments, write_lease
from asynccache.runtime.clock import VirtualClock
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.memory import MemoryStore
from tests.support.conda_package import Member, Metadata, write_package

KEEP_DAYS: Final = 30.0
ENVIRONMENTS: Final = 8
PACKAGES: Final = 8
NAMES: Final = ("team/a:latest", "team/b:stable", "team/a:v1", "team/b:v1", "team/c:v2")
RULES: Final = Rules(keep_days=KEEP_DAYS, unreferenced=True, grace_hours=1)
_CHANNEL: Final = "conda.example/channel/noarch"
_by_hand: Final = ContextVar("by_hand", default=False)  # of who removes, not of everybody at that moment


@functools.cache
def _files(number: int) -> tuple[tuple[str, bytes], ...]:
    """Return the files of a package: as it is published, and of the older form also the newer one."""
    about = Metadata(name=f"package{number}", version="1", build="0", noarch="generic")
    forms = (Format.CONDA,) if number % 2 else (Format.TAR_BZ2, Format.CONDA)
    with tempfile.TemporaryDirectory(prefix="asynccache-collecting-") as name:
        paths = write_package(Path(name), about, [Member(f"share/{number}", b"content")], forms)
        return tuple((path.name, path.read_bytes()) for path in paths)


@functools.cache
def package(number: int) -> EnvironmentPackage:
    """Return a package, published as `.conda` or `.tar.bz2` by its number."""
    file, data = _files(number)[0]
    stem, form = split_filename(file)
    return EnvironmentPackage("conda", stem, f"https://{_CHANNEL}/{file}", form.value, {form.value: _md5(data)})


@functools.cache
def directory(number: int) -> str:
    """Return the source directory of a package."""
    return f"packages/conda/{package(number).url.removeprefix('https://')}"


@functools.cache
def archives(number: int) -> tuple[str, ...]:
    """Return the keys of a package: as published, and for those in the older form the one that was made of it."""
    return tuple(f"{directory(number)}/{file}/{_md5(data)}/{file}" for file, data in _files(number))


def body(key: str) -> bytes:
    """Return what an archive holds."""
    return next(
        data for number in range(PACKAGES) for of, (_file, data) in zip(archives(number), _files(number), strict=True)
        if of == key
    )  # fmt: skip


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def needed(number: int) -> list[int]:
    """Return the packages of an environment; neighbours share some."""
    return [(number + step) % PACKAGES for step in (0, 1, 3)]


@functools.cache
def environment(number: int) -> ResolvedEnvironment:
    """Return an environment; pairs have their ids in common and differ in the architecture."""
    request = Request({"conda": [f"e{number // 2}"]}, {"conda": ["channel"]})
    arch = ("linux-64", "osx-arm64")[number % 2]
    env_id = EnvID(request.req_id, f"{number // 2:040x}", arch)
    when = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - documents carry local time without zone
    packages = tuple(map(package, needed(number)))
    return ResolvedEnvironment(env_id, request, packages, when, "ann", (arch,), "conda-only")


def ids(number: int) -> tuple[str, str]:
    """Return (req_id, full_id) of an environment."""
    env_id = environment(number).id
    return env_id.req_id, env_id.full_id


def of_ids(pair: tuple[str, str]) -> list[int]:
    """Return the environments of a pair of ids."""
    return [number for number in range(ENVIRONMENTS) if ids(number) == pair]


@contextmanager
def by_hand() -> Iterator[None]:
    """Remove what a person may remove, for the length of the block; what others remove meanwhile is looked at."""
    token = _by_hand.set(True)
    try:
        yield
    finally:
        _by_hand.reset(token)


class WatchedStore(Store):
    """What a world needs of its store: a clock that is moved by hand, and a look at everything without a request.

    Attributes:
        time: Seconds since the epoch.
        chance: Decides how long each request takes.
        removing: Called with what is about to be removed.
        kill_at: After how many removals `killed` is called; None for never.
        killed: Called then.
    """

    time: float
    chance: random.Random
    removing: Callable[[str], None]
    kill_at: int | None
    killed: Callable[[], object]

    def contents(self) -> dict[str, ObjectInfo]:
        """Return everything."""
        raise NotImplementedError

    def data(self, key: str) -> bytes:
        """Return an object."""
        raise NotImplementedError

    def watch(self) -> None:
        """Begin."""
        self.time = 1_800_000_000.0
        self.chance = random.Random(0)
        self.removing = lambda _key: None
        self.kill_at = None
        self.killed = lambda: None

    async def before_removal(self) -> None:
        """Let others come between what was read and what is removed, and end who removes where it is time."""
        for _ in range(self.chance.choice((0, 0, 10, 60))):
            await asyncio.sleep(0)
        if self.kill_at is not None:
            self.kill_at -= 1
            if self.kill_at < 0:
                self.kill_at = None
                self.killed()
                await asyncio.sleep(0)


class Watched(MemoryStore, WatchedStore):
    """The one in memory: it lets others run at random, and announces each removal just before it."""

    def __init__(self) -> None:
        self.watch()
        super().__init__("memory:watched", self._tick)

    def another(self) -> Watched:
        """See `Store.another`."""
        return self

    def contents(self) -> dict[str, ObjectInfo]:
        """Return everything, without a request."""
        return {key: found.info for key, found in self._objects.items()}

    def data(self, key: str) -> bytes:
        """Return an object, without a request."""
        return self._objects[key].data

    def _tick(self) -> float:
        self.time += 0.25  # a loop that polls the clock ends
        return self.time

    async def _request(self, key: str) -> None:
        for _ in range(self.chance.choice((0, 0, 1, 3))):
            await asyncio.sleep(0)
        await super()._request(key)

    async def _delete_same(self, key: str, known: ObjectInfo | None) -> bool:
        await self.before_removal()
        return await super()._delete_same(key, known)

    def _remove(self, key: str) -> None:
        if key in self._objects:
            self.removing(key)
        super()._remove(key)


@dataclass
class World:
    """A store, and what is known to be reachable in it: by what has come to a good end.

    Attributes:
        store: With a clock that is moved by hand.
        catalog: On it.
        published: Environments with a document.
        named: Name -> what it stands for, last, and whatever it stood for before.
        leased: Lease -> environments.
        used: Environment -> when a flow was launched with it last.
        removed: Keys of what was collected.
        wrong: What was collected and had to stay.
    """

    store: WatchedStore
    catalog: Catalog
    published: set[int] = field(default_factory=set)
    named: dict[str, list[int]] = field(default_factory=dict)
    leased: dict[str, list[int]] = field(default_factory=dict)
    used: dict[int, float] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def new(cls, cache: Path, store: WatchedStore | None = None) -> World:
        """Return an empty one, in memory unless another store is given."""
        store = store or Watched()
        collection.LOOK_EVERY = 0.0
        world = cls(store, Catalog(Settings(cache_dir=cache, datastore_root=cache, username="me"), store))
        store.removing = world.removing
        return world

    @property
    def keys(self) -> CatalogKeys:
        """Where environments are."""
        return self.catalog.keys

    def document(self, number: int) -> str:
        """Return the key of an environment's document."""
        return self.keys.document(environment(number).id)

    def reachable(self, number: int) -> bool:
        """Return whether an environment must stay."""
        there = self.store.contents()
        around = [info for key, info in there.items() if key.startswith(self.document(number).removesuffix("env"))]
        if self.document(number) not in there or number not in self.published:
            return False
        since = self.store.time - KEEP_DAYS * DAY
        if any((info.modified or 0) > since for info in around) or self.used.get(number, 0) > since:
            return True
        alike = of_ids(ids(number))
        if any(each in stood for stood in self.named.values() for each in alike):
            return True
        if any(each in kept for kept in self.leased.values() for each in alike):
            return True
        if any(self.used.get(each, 0) > since for each in alike):
            return True
        recorded = len(around) > 1 or self._recorded(number)
        return not recorded

    def _recorded(self, number: int) -> bool:
        """Return whether a history says that an environment is ours."""
        word = ids(number)[1].encode()
        return any(key.startswith(ALIAS_LOG) and word in self.store.data(key) for key in self.store.contents())

    def naming(self, key: str) -> list[int]:
        """Return the environments with a document that names the address of an archive or receipt."""
        archive = key.replace(f"{layout.OWN}/receipts/", "packages/").removesuffix(".json")
        of = [number for number in range(PACKAGES) if archive.startswith(f"{directory(number)}/")]
        there = self.store.contents()
        return [e for e in range(ENVIRONMENTS) if self.document(e) in there and set(of) & set(needed(e))]

    def removing(self, key: str) -> None:
        """Note a removal of what must stay; who removes takes what is raised for a failure of the store."""
        try:
            self.check_removal(key)
        except AssertionError as exc:
            self.wrong.append(str(exc))

    def check_removal(self, key: str) -> None:
        """Refuse a removal of what must stay."""
        if _by_hand.get() or key.startswith((collection_state.GC, collection.USES)):
            return
        self.removed.append(key)
        info = self.store.contents()[key]
        young = info.modified is None or info.modified > self.store.time - KEEP_DAYS * DAY
        assert not young, f"{key} was written lately"
        assert not key.startswith((self.keys.alias_prefix, ALIAS_LOG, LEASES)), f"{key} is a root"
        if key.startswith(("packages/", f"{layout.OWN}/receipts/")):
            assert not self.naming(key), f"{key} is named by the documents of {self.naming(key)}"
        elif key.startswith(f"{self.keys.dirname}/aliases/full-id/"):
            alike = [e for e in range(ENVIRONMENTS) if ids(e)[1] == key.rpartition("/")[2]]
            assert not any(map(self.reachable, alike)), f"{key} names a reachable environment"
        else:
            of = [e for e in range(ENVIRONMENTS) if key.startswith(self.document(e).removesuffix("env"))]
            assert not any(map(self.reachable, of)), f"{key} is reachable"
            alike = [e for each in of for e in of_ids(ids(each)) if self.document(e) in self.there]
            if of and alike == of and key == self.document(of[0]):
                name = self.keys.alias(Alias("full-id", ids(of[0])[1]))
                stands = name in self.there and ids(of[0])[0].encode() in self.store.data(name)
                assert not stands, f"{key} goes before its name"

    @property
    def there(self) -> dict[str, ObjectInfo]:
        """Everything in the store."""
        return self.store.contents()

    def check(self) -> None:
        """Look whether all that is reachable is there, and was all the time."""
        assert not self.wrong, self.wrong
        there = self.there
        for number in range(ENVIRONMENTS):
            if self.document(number) not in there:
                self.published.discard(number)
                self.used.pop(number, None)
                continue
            for each in needed(number):
                assert archives(each)[0] in there, f"the document of {number} names a package that is gone"
        for stood in self.named.values():
            assert any(e in self.published for e in of_ids(ids(stood[-1]))), f"a name stands for nothing: {stood}"
        for kept in self.leased.values():
            assert set(kept) <= self.published, f"a lease keeps nothing: {kept}"

    # What people do. Each updates the model when it has succeeded.

    async def bring(self, number: int) -> None:
        """Put the packages of an environment into the store that it lacks, each in its formats, receipts first."""
        for each in needed(number):
            found = [info async for info in self.store.scan(f"{directory(each)}/")]
            if archives(each)[0] in {info.key for info in found}:
                continue
            for key in archives(each)[1:]:
                await self.store.put(layout.receipt_key(key), b"{}")
                await self.store.put(key, body(key))
            await self.store.put(archives(each)[0], body(archives(each)[0]))

    async def publish(self, number: int, *, digest: bool = True) -> None:
        """Resolve an environment: bring what it lacks, find the rest, publish its document and a digest beside it."""
        for _ in range(10):
            await self.bring(number)
            try:
                await self.catalog.publish(environment(number))
            except StoreError:  # it was collected between: the next attempt brings it
                continue
            self.published.add(number)
            if digest:
                await self.store.put(f"{self.document(number)}.sha256-{'1' * 64}", b"digest")
            return
        raise AssertionError(f"{number} could not be published")

    async def publish_as_others(self, number: int) -> None:
        """Publish as metaflow-netflixext does, at once: it knows nothing of uses and claims."""
        await self.bring(number)
        assert self.catalog.documents is not None
        await self.catalog.documents.put(environment(number))
        self.published.add(number)

    async def name(self, number: int, text: str) -> None:
        """Give a name, or move it."""
        alias = Alias.parse(text)
        if number not in self.published or (text in self.named and not alias.mutable):
            return
        try:
            await Aliases(self.store).assign(alias, ids(number))
        except (ObjectNotFoundError, AliasTakenError):
            return
        self.named.setdefault(text, []).append(number)

    async def rewrite(self, number: int) -> None:
        """Write the packages of an environment again that are there, as who mends damaged ones does."""
        for key in [key for each in needed(number) for key in archives(each)]:
            if key in self.there:
                await self.store.put(key, body(key))

    async def unname(self, text: str) -> None:
        """Remove a name; its history stays."""
        if self.named.pop(text, None) is not None:
            with by_hand():
                await self.store.delete(self.keys.alias(Alias.parse(text)))

    async def deploy(self, number: int) -> None:
        """Deploy a flow."""
        lease = Lease.new(self.store, "argo-workflows", f"flow{number}", [environment(number).id])
        if number not in self.published:
            return
        try:
            await write_lease(self.store, self.keys, lease)
        except ObjectNotFoundError:
            with by_hand():
                await remove_leases(self.store, lease.name)
            return
        self.leased[lease.name] = [number]

    async def undeploy(self) -> None:
        """Remove all leases."""
        with by_hand():
            for name in list(self.leased):
                del self.leased[name]
                await remove_leases(self.store, name)

    async def launch(self, number: int) -> None:
        """Run a flow with an environment that is found, and publish it where it is not."""
        if await self.store.head(self.document(number)) is None:
            await self.publish(number)
        if not await use_environments(self.store, self.keys, [environment(number).id]):
            self.used[number] = self.store.time
            assert self.document(number) in self.there, "what was found for a flow has gone"

    async def hydrate(self, number: int) -> None:
        """Make an environment by its ids, as nodes do."""
        if not self.reachable(number):
            return
        assert self.catalog.documents is not None
        found = await self.catalog.documents.get(environment(number).id)
        if not self.reachable(number):
            return
        assert found is not None, "a reachable environment has no document"
        for each in needed(number):
            try:
                await self.store.get(archives(each)[0])
            except ObjectNotFoundError:
                assert not self.reachable(number), f"a package of a reachable environment is gone: {archives(each)[0]}"

    async def collect(self, kill_at: int | None = None, shard: Shard | None = None) -> Collected | None:
        """Collect, all or a part; be killed after so many removals, by any process."""
        collector = Collector(self.store, RULES, self.keys, "packages", clock=VirtualClock())
        task = asyncio.create_task(collector.run(shard))
        if kill_at is not None:
            self.store.kill_at, self.store.killed = kill_at, task.cancel
        try:
            done = await task
        except asyncio.CancelledError:
            return None
        except LockTimeoutError:
            return None
        finally:
            if kill_at is not None:
                self.store.kill_at = None
        done.raise_for_failures()
        return done

    def collecting(self, shards: int, kill_at: int | None = None) -> list[Coroutine[Any, Any, object]]:
        """Return what all shards do, of which the first or the last one is killed; of one shard it is the whole."""
        if shards == 1:
            return [self.collect(kill_at)]
        victim = None if kill_at is None else (1, shards)[kill_at % 2]
        return [
            self.collect(kill_at if index == victim else None, Shard(index, shards)) for index in range(1, shards + 1)
        ]

    async def look(self) -> Collected:
        """Return what would be removed."""
        return await Collector(self.store, RULES, self.keys, "packages").look()


async def all_at_once(world: World, works: Sequence[Coroutine[Any, Any, object]]) -> None:
    """Let several do what they do at once."""
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)
