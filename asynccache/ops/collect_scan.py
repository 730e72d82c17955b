"""One scan of a store in the order of its keys, which finds what nothing keeps; the rules are in docs/collecting.md.

Eight bytes are held for each address that a document names and for each environment; nothing else grows with the store.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Final, Literal, Protocol

from asynccache.boot.bundle import BUNDLES
from asynccache.catalog.collection import USES, used_ids
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import IntegrityError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node.json_text import read_json
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.ops.collect_roots import Roots
from asynccache.ops.collect_rules import DAY, Garbage, Rules
from asynccache.ops.reachable import source_directories, source_of
from asynccache.store import layout
from asynccache.store.admission import LATELY, WRITERS
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.key_set import KeySet, number_of

RECEIPTS: Final = f"{layout.OWN}/receipts/"
SHARDS: Final = f"{layout.OWN}/shards/"
QUARANTINE: Final = f"{layout.OWN}/quarantine/"
_AT_ONCE: Final = 50  # documents held in memory, each of up to a thousand packages
Reach = Literal["kept", "named", "nothing"]
"""Of all that was made from one address. `kept`: a name, its history, a lease, a use or a run keeps an environment that
names it; `named`: only documents that nothing keeps do; `nothing`: no document names it."""


class Watcher(Protocol):
    """Called with everything that a scan finds, including what is kept."""

    def environment(self, document: ObjectInfo | None, beside: Sequence[ObjectInfo]) -> None:
        """Take an environment: its document, if there is one, and our objects beside it."""

    def archives(self, group: Sequence[ObjectInfo], reach: Reach) -> None:
        """Take everything that was made from one address, or one object that is not an archive of the layout."""

    def receipt(self, info: ObjectInfo) -> None:
        """Take a receipt."""


class Scan:
    """Reads a store once.

    Args:
        store: An open store.
        keys: Where environments are.
        dirname: Directory of the packages.
        rules: What may be collected.
        roots: What is kept.
        now: Seconds since the epoch.
        watcher: Called with what is found; another eight bytes are then held for each address that a kept environment
            names.
        key_range: Archives and receipts of this range only.
        first: Whether candidates that belong to no range are wanted. All documents are read in any case: any of them
            may name what is in the range.

    Attributes:
        archives: How many objects are below the packages, as far as the scan has come.
        documents: How many documents were read.
    """

    def __init__(
        self,
        store: Store,
        keys: CatalogKeys,
        dirname: str,
        rules: Rules,
        roots: Roots,
        now: float,
        watcher: Watcher | None = None,
        *,
        key_range: KeyRange = WHOLE,
        first: bool = True,
    ) -> None:
        self.archives = 0
        self.documents = 0
        self._store = store
        self._keys = keys
        self._dirname = dirname
        self._rules = rules
        self._roots = roots
        self._now = now
        self._watcher = watcher
        self._range = key_range
        self._first = first
        self._kept = KeySet()  # source directories that kept environments name, if there is a watcher
        self._reached = KeySet()  # source directories that kept documents name
        self._dropped = KeySet()  # and those that collected documents name
        self._there = KeySet()  # REQ_ID/FULL_ID of all documents

    async def environments(self) -> AsyncGenerator[Garbage]:
        """Yield the environments to collect, and objects without a document.

        Raises:
            IntegrityError: A document cannot be read, so what it names is unknown.
            StoreError: The store cannot be read.
        """
        waiting: list[EnvID] = []
        going: set[EnvID] = set()
        async for env_id, document, beside in self._directories():
            if self._watcher is not None:
                self._watcher.environment(document, beside)
            if document is None:
                for info in filter(self._old, beside if number_of(str_of(env_id)) not in self._roots.ids else ()):
                    yield Garbage("beside", info)
                continue
            self._there.add(str_of(env_id))
            if self._goes(env_id, document, beside):
                going.add(env_id)
                yield Garbage("environment", document, sum(info.size for info in beside))
            waiting.append(env_id)
            if len(waiting) == _AT_ONCE:
                await self._read(waiting, going)
        await self._read(waiting, going)

    async def packages(self) -> AsyncGenerator[Garbage]:
        """Yield the archives to collect, and the receipts that belong to them or have no archive.

        Raises:
            StoreError: The store cannot be listed.
        """
        async with aclosing(self._receipts()) as receipts:
            following = await anext(receipts, None)
            async for directory, group in self._groups():
                own: dict[str, ObjectInfo] = {}
                # an object of an unknown layout may be within a group: it has no receipt
                in_layout = layout.parse_key(group[0].key, self._dirname) is not None
                if self._watcher is not None:
                    self._watcher.archives(group, self._reach(directory))
                while in_layout and following is not None and await self._comes(following, directory):
                    name = self._archive_of(following)
                    if name.startswith(f"{directory}/"):
                        own[name] = following
                    elif await self._orphan(following):
                        yield Garbage("receipt", following)
                    following = await anext(receipts, None)
                for garbage in self._of_group(directory, group, own):
                    yield garbage
                for name in own.keys() - {info.key for info in group}:
                    if await self._orphan(own[name]):
                        yield Garbage("receipt", own[name])
            while following is not None:
                if await self._orphan(following):
                    yield Garbage("receipt", following)
                following = await anext(receipts, None)

    async def others(self) -> AsyncGenerator[Garbage]:
        """Yield those of our own objects to collect that belong to no archive and no environment.

        Raises:
            StoreError: The store cannot be read.
        """
        if self._rules.unreferenced:
            listed = await listed_bundles(self._store)
            async for info in self._store.scan(f"{BUNDLES}/"):
                if info.key not in self._roots.objects | listed and not info.key.endswith(".json") and self._old(info):
                    yield Garbage("bundle", info)
        async for info in self._store.scan(QUARANTINE):
            if self._old(info):
                yield Garbage("quarantine", info)
        async for _run, group in _grouped(self._store.scan(SHARDS), run_of):
            if all(map(self._old, group)):
                for info in group:
                    yield Garbage("shards", info)
        async for info in self._store.scan(WRITERS):
            if self._old(info, at_least=LATELY):
                yield Garbage("writers", info)
        async for info in self._store.scan(USES):
            ids = used_ids(info)
            if ids is not None and self._old(info) and "/".join(ids) not in self._there:
                yield Garbage("uses", info)

    async def all(self) -> AsyncGenerator[Garbage]:
        """Yield everything to collect: environments before packages, each in the order of its keys."""
        async with aclosing(self.environments()) as found:
            async for garbage in found:
                if self._first:
                    yield garbage
        for part in (self.packages(), self.others())[: 2 if self._first else 1]:
            async with aclosing(part) as found:
                async for garbage in found:
                    yield garbage

    def _reach(self, directory: str) -> Reach:
        if directory in self._kept:
            return "kept"
        return "named" if directory in self._reached or directory in self._dropped else "nothing"

    def _old(self, info: ObjectInfo, at_least: float = 0.0) -> bool:
        return is_old(info, self._now, max(self._rules.keep_days, at_least))

    def _goes(self, env_id: EnvID, document: ObjectInfo, beside: list[ObjectInfo]) -> bool:
        number = number_of(str_of(env_id))
        return (
            self._rules.unreferenced
            and number not in self._roots.ids
            and all(map(self._old, (document, *beside)))
            and (bool(beside) or number in self._roots.ours or self._rules.named(document.key))
        )

    async def _directories(self) -> AsyncGenerator[tuple[EnvID, ObjectInfo | None, list[ObjectInfo]]]:
        """Yield each environment with its document, if it has one, and our objects beside it."""
        prefix = f"{self._keys.dirname}/"
        async for directory, group in _grouped(self._store.scan(prefix), lambda key: key.rpartition("/")[0]):
            key = f"{directory}/env"
            env_id = self._keys.parse_document(key)
            if env_id is None:
                continue
            beside = [info for info in group if is_ours_beside(info.key)]
            document = next((info for info in group if info.key == key), None)
            if document is not None or beside:
                yield env_id, document, beside

    async def _read(self, ids: list[EnvID], going: set[EnvID]) -> None:
        async for environment in read_documents(self._store, self._keys, ids):
            self.documents += 1
            into = self._dropped if environment.id in going else self._reached
            kept = self._watcher is not None and number_of(str_of(environment.id)) in self._roots.ids
            for address in addresses_of(environment, self._dirname):
                into.add(address)
                if kept:
                    self._kept.add(address)
        ids.clear()
        going.clear()

    async def _groups(self) -> AsyncGenerator[tuple[str, list[ObjectInfo]]]:
        """Yield everything that was made from one address; an object that is not an archive of the layout is yielded by
        itself.
        """
        directory, group = "", list[ObjectInfo]()
        async for info in self._range.scan(self._store, f"{self._dirname}/"):
            self.archives += 1
            parts = layout.parse_key(info.key, self._dirname)
            if parts is None:
                yield info.key.rpartition("/")[0], [info]
                continue
            if group and parts.source_directory != directory:
                yield directory, group
                group = []
            directory = parts.source_directory
            group.append(info)
        if group:
            yield directory, group

    def _of_group(self, directory: str, group: list[ObjectInfo], receipts: dict[str, ObjectInfo]) -> list[Garbage]:
        kept = directory in self._reached or number_of(directory) in self._roots.directories
        if kept or not all(map(self._old, group)):
            return []
        dropped = directory in self._dropped
        gone = [
            info
            for info in group
            if dropped or info.key in receipts or self._rules.named(info.key)
        ]  # fmt: skip
        with_them = [receipts[info.key] for info in gone if info.key in receipts]
        return [
            *(Garbage("package", info) for info in gone),
            *(Garbage("receipt", info) for info in with_them),
        ]

    async def _receipts(self) -> AsyncGenerator[ObjectInfo]:
        async for info in self._range.moved(f"{self._dirname}/", RECEIPTS).scan(self._store, RECEIPTS):
            if self._watcher is not None:
                self._watcher.receipt(info)
            yield info

    async def _comes(self, receipt: ObjectInfo, directory: str) -> bool:
        """Return whether a receipt belongs to a source directory, or to one that was passed.

        Stores order keys by bytes or by segments (see `key_range`). Where that makes a difference the store is asked:
        if the archive had been passed, its receipt would have been found.
        """
        name = self._archive_of(receipt)
        if name.startswith(f"{directory}/"):
            return True
        before = name < f"{directory}/"
        if before == (name.split("/") < directory.split("/")):
            return before
        return await self._store.head(name) is None

    async def _orphan(self, receipt: ObjectInfo) -> bool:
        """Return whether a receipt is collected because its archive does not exist."""
        archive = self._archive_of(receipt)
        if not self._old(receipt) or source_of(archive, self._dirname) in self._reached:
            return False
        return await self._store.head(archive) is None

    def _archive_of(self, receipt: ObjectInfo) -> str:
        return archive_of(receipt.key, self._dirname)


def is_old(info: ObjectInfo, now: float, days: float) -> bool:
    """Return whether an object is that old; one without a time is not."""
    return info.modified is not None and info.modified < now - days * DAY


def str_of(env_id: EnvID) -> str:
    """Return the text that identifies all architectures of an environment."""
    return f"{env_id.req_id}/{env_id.full_id}"


def is_ours_beside(key: str) -> bool:
    """Return whether an object beside a document is ours: a pack, or what a digest stands for."""
    name = key.rpartition("/")[2]
    return name == OBJECT_NAME or name.startswith("env.sha256-")


def archive_of(receipt: str, dirname: str) -> str:
    """Return the key of the archive that a receipt belongs to."""
    return f"{dirname}/{receipt.removeprefix(RECEIPTS).removesuffix('.json')}"


def run_of(key: str) -> str:
    """Return the part of a key below `SHARDS` that the plan and the journals of one run share."""
    return "/".join(key.split("/")[:3])


def addresses_of(environment: ResolvedEnvironment, dirname: str) -> Iterable[str]:
    """Return all source directories that an environment reaches."""
    return chain.from_iterable(source_directories(package, dirname) for package in environment.packages)


async def read_documents(store: Store, keys: CatalogKeys, ids: list[EnvID]) -> AsyncIterator[ResolvedEnvironment]:
    """Yield the documents of some environments; those that no longer exist are left out.

    Raises:
        IntegrityError: One cannot be read.
        StoreError: The store cannot be read.
    """
    found, unreadable = await EnvironmentDocuments(store, keys).get_all(ids)
    for env_id, error in unreadable.items():
        if not isinstance(error, IntegrityError):
            raise error
        raise IntegrityError(
            f"{keys.document(env_id)} in {store.address} cannot be read, so nobody knows what it names ({error})",
            hint="`asynccache verify --quarantine` moves it; nothing is collected until then",
        )
    for environment in found:
        yield environment


async def listed_bundles(store: Store) -> frozenset[str]:
    """Return the keys of the bundles that nodes without a manifest use.

    Raises:
        StoreError: The store cannot be read.
    """
    found = set()
    async for info in store.scan(f"{BUNDLES}/"):
        if info.key.endswith(".json"):
            try:
                found.add(str(read_json(await store.get(info.key))["key"]))
            except (ValueError, KeyError, TypeError) as exc:
                raise IntegrityError(
                    f"{info.key} in {store.address} names no bundle ({exc})",
                    hint="`asynccache installer publish` writes it again",
                ) from exc
    return frozenset(found)


async def _grouped(
    listing: AsyncIterator[ObjectInfo], of: Callable[[str], str]
) -> AsyncGenerator[tuple[str, list[ObjectInfo]]]:
    name, group = "", list[ObjectInfo]()
    async for info in listing:
        if group and of(info.key) != name:
            yield name, group
            group = []
        name = of(info.key)
        group.append(info)
    if group:
        yield name, group
