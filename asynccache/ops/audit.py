"""Auditing a store: does everything in it fit together? Uses listings and documents; archives are read on request.

One listing of the archives, one of the receipts and one of the environments are enough, each in the order of its keys,
so that what belongs together is seen together. For each archive that a document names, eight bytes are kept. Of several
shards each lists its range of archives and receipts, and reads all documents, since any of them may name what is in its
range; everything else belongs to the first shard.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.digests import EnvironmentDigests
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError, IntegrityError, UsageError
from asynccache.hydrate.pack_find import find_pack
from asynccache.hydrate.unpack import verify_pack
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.ops.audit_receipts import ReceiptsOfArchives
from asynccache.ops.audit_result import Audit, AuditFinding, Found, Kind
from asynccache.ops.contents import by_source
from asynccache.ops.leftovers import LEFT_AFTER
from asynccache.ops.reachable import needed_places, source_of
from asynccache.ops.verify import Checked, Sample, Total, verify_store
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import outcome_of, run_works
from asynccache.store import layout
from asynccache.store.base import ObjectInfo
from asynccache.store.key_range import WHOLE, KeyRange
from asynccache.store.key_set import number_of
from asynccache.store.stored import StoredArchive

_AT_ONCE: Final = 50  # documents held in memory, each of up to a thousand packages
_ASKED: Final = 16  # aliases, or packs of which only the end is read, that are requested at once
_READ: Final = 2  # packs that are read at once; each reads up to four parts

TakeDocuments = Callable[[Sequence[ResolvedEnvironment]], object]
"""Told of documents that were read."""
Lacking = Callable[[ResolvedEnvironment, Sequence[str]], object]
"""Told of an environment and the places of what its document names and the store has not."""


class Auditor:
    """Audits one store, or one shard of it.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and how archives are read.
        found: Called with each finding.
        keys: Range of archives to audit.
        first: Whether to audit also what belongs to no range.
        take: Called with documents as they are read.
        lacking: Called with each environment that lacks something; a finding names only the first one.

    Attributes:
        result: What was found so far.
        incomplete: Environments whose documents name something that does not exist.
    """

    def __init__(
        self,
        host: Host,
        sources: Sources,
        found: Found,
        *,
        keys: KeyRange = WHOLE,
        first: bool = True,
        take: TakeDocuments | None = None,
        lacking: Lacking | None = None,
    ) -> None:
        self.result = Audit(sources.store.address)
        self.incomplete: list[EnvID] = []
        self._host = host
        self._sources = sources
        self._found = found
        self._range = keys
        self._first = first
        self._take = take
        self._lacking = lacking
        self._dirname = host.settings.packages_dirname
        self._keys = CatalogKeys(host.settings.envs_dirname)
        self._wanted: dict[
            int, int
        ] = {}  # number of a key, or of the place of any digest -> number of its first document
        self._named: set[int] = set()  # numbers of the source directories of all of them
        self._ids: list[EnvID] = []  # number of documents that name something in the range
        self._listed: set[int] = set()  # numbers of documents' keys, and of what aliases refer to
        self._since = time.time() - LEFT_AFTER

    async def run(
        self,
        read: Sample | None = None,
        checked: Checked | None = None,
        *,
        total: Total | None = None,
        quarantine: bool = False,
        journal_key: str = "",
    ) -> Audit:
        """Audit everything.

        Args:
            read: Archives to read and digest; None for none.
            checked: Called with each archive that was read.
            total: Called with the amount to read.
            quarantine: Move damaged ones to the quarantine (see `verify_store`).
            journal_key: Key under which progress is recorded; empty to record none.

        Raises:
            StoreError: The store cannot be listed.
        """
        await self._environments(read_packs=False)
        async with aclosing(self._archives()) as archives:
            async for group in by_source(archives):
                self._group(group)
        await self._missing()
        if self._first:
            for upload in await self._sources.store.unfinished():
                if upload.begun <= self._since:
                    self._report("upload", upload.key, "was begun a day ago; `asynccache clean --store` ends it")
        if read is not None:
            self.result.read = await verify_store(
                self._host,
                self._sources,
                read,
                keys=self._range,
                journal_key=journal_key,
                quarantine=quarantine,
                checked=checked,
                total=total,
            )
            for damage in self.result.read.damaged:
                self._report("damaged", damage.key, f"{damage.part}: expected {damage.expected}, found {damage.found}")
        return self.result

    async def environments(self) -> Audit:
        """Audit only environments and whether what they need exists; packs are read to their last byte.

        Raises:
            StoreError: The store cannot be listed.
        """
        await self._environments(read_packs=True)
        if self._wanted:
            async for info in self._range.scan(self._sources.store, f"{self._dirname}/"):
                archive = StoredArchive.listed(info, self._dirname)
                if archive is not None:
                    self._met(archive)
                elif info.size:
                    self._wanted.pop(number_of(info.key), None)
        await self._missing()
        return self.result

    def _report(self, kind: Kind, key: str, text: str) -> None:
        self.result.found[kind] += 1
        self._found(AuditFinding(kind, key, text))

    def _failed(self, key: str, error: AsyncCacheError) -> None:
        if not isinstance(error, IntegrityError | UsageError):
            self.result.unmended[key] = error
        elif self._first:
            self._report("unreadable", key, str(error))

    async def _environments(self, *, read_packs: bool) -> None:
        # documents first: archives published after their listing would be reported missing
        packs: list[tuple[EnvID, int]] = []
        batch: list[EnvID] = []
        async for info in self._sources.store.scan(f"{self._keys.dirname}/"):
            directory, _, name = info.key.rpartition("/")
            if name == OBJECT_NAME and (env_id := self._keys.parse_document(f"{directory}/env")) is not None:
                packs.append((env_id, info.size))
            elif (env_id := self._keys.parse_document(info.key)) is not None:
                self._listed |= {number_of(info.key), number_of(f"{env_id.req_id}/{env_id.full_id}")}
                batch.append(env_id)
                if len(batch) == _AT_ONCE:
                    await self._documents(batch)
                    batch = []
        await self._documents(batch)
        if not self._first:
            return
        await self._names()
        self.result.packs, self.result.pack_bytes = len(packs), sum(size for _id, size in packs)
        room = Budget(_READ if read_packs else _ASKED, "packs")
        look = self._pack_read if read_packs else self._pack

        async def looked_at(env_id: EnvID) -> None:
            outcome = await outcome_of(look(env_id))
            if isinstance(outcome, AsyncCacheError):
                self.result.unmended[self._pack_key(env_id)] = outcome

        await run_works([env_id for env_id, _size in packs], looked_at, room=room, keep=False)

    async def _documents(self, ids: list[EnvID]) -> None:
        found, unreadable = await EnvironmentDocuments(self._sources.store, self._keys).get_all(ids)
        if self._first:
            self.result.documents += len(found) + len(unreadable)
        for env_id, error in unreadable.items():
            self._failed(self._keys.document(env_id), error)
        for environment in found:
            self._want(environment)
        if self._take is not None:
            self._take(found)

    def _want(self, environment: ResolvedEnvironment) -> None:
        places = [p for package in environment.packages for p in needed_places(package, self._dirname)]
        here = [place for place in places if self._range.holds(place)]
        if here:
            self._ids.append(environment.id)
        for place in here:
            self._wanted.setdefault(number_of(place), len(self._ids) - 1)
            self._named.add(number_of(source_of(place, self._dirname)))

    async def _names(self) -> None:
        aliases = Aliases(self._sources.store, self._keys)

        async def all_names() -> AsyncGenerator[tuple[Alias, ObjectInfo]]:
            async for each in aliases.names():
                yield each

        async def look(each: tuple[Alias, ObjectInfo]) -> None:
            name, info = each
            self.result.names += 1
            ids = await outcome_of(aliases.get(name))
            if isinstance(ids, AsyncCacheError):
                self._failed(info.key, ids)
            elif ids is not None and number_of("/".join(ids)) not in self._listed:
                self._report("name", info.key, f"{name} stands for {ids[0]}:{ids[1]}, of which there is no document")

        await run_works(all_names(), look, room=Budget(_ASKED, "names"), keep=False)

    def _pack_key(self, env_id: EnvID) -> str:
        return f"{self._keys.document(env_id).removesuffix('env')}{OBJECT_NAME}"

    async def _has_document(self, env_id: EnvID) -> bool:
        """Return whether a pack has a document beside it, or one was published since the listing."""
        key = self._keys.document(env_id)
        return number_of(key) in self._listed or await self._sources.store.head(key) is not None

    async def _pack(self, env_id: EnvID) -> None:
        key, again = self._pack_key(env_id), _made_again(env_id)
        if not await self._has_document(env_id):
            self._report("pack", key, "there is no document next to it")
            return
        pack = await find_pack(self._sources.store, env_id, self._keys.dirname)
        if pack is None:
            self._report("pack", key, f"it is truncated, or of a format that is no longer read; {again}")
            return
        digest = await EnvironmentDigests(self._sources.store, self._keys).current(env_id)
        if digest is not None and digest.pack and digest.pack != pack.digest:
            self._report("pack", key, f"the digest of the environment names another one, {digest.pack}; {again}")

    async def _pack_read(self, env_id: EnvID) -> None:
        try:
            await verify_pack(self._host, self._sources.store, env_id)
        except IntegrityError as exc:
            self._report("pack", self._pack_key(env_id), f"{exc}; {_made_again(env_id)}")
        else:
            await self._pack(env_id)

    async def _archives(self) -> AsyncGenerator[StoredArchive]:
        """Yield the archives of the store, compared with the receipts on the way."""
        store = self._sources.store
        receipts = ReceiptsOfArchives(store, self._dirname, self._range, self._without_archive)
        async with aclosing(receipts):
            async for info in self._range.scan(store, f"{self._dirname}/"):
                archive = StoredArchive.listed(info, self._dirname)
                if archive is None:
                    self._other(info)
                    continue
                self.result.archives += 1
                self.result.bytes += info.size
                if archive.parts.transmuted and not await receipts.has(info.key.removeprefix(f"{self._dirname}/")):
                    self._report("no receipt", info.key, "`asynccache verify --adopt` compares it and writes one")
                yield archive
            await receipts.to_the_end()
        self.result.receipts = receipts.count

    def _other(self, info: ObjectInfo) -> None:
        """Check an object that is not an archive of the layout: an empty one, or one of a very old layout that
        documents name.
        """
        if not info.size and layout.parse_key(info.key, self._dirname) is not None:
            self._report("empty", info.key, "it has no bytes, and keeps an archive from being published there")
        elif info.size:
            self._wanted.pop(number_of(info.key), None)

    def _without_archive(self, key: str) -> None:
        self._report("receipt", key, "the archive that it describes is missing")

    def _met(self, archive: StoredArchive) -> None:
        self._wanted.pop(number_of(archive.key), None)
        self._wanted.pop(number_of(f"{archive.parts.source_directory}/{archive.filename}"), None)

    def _group(self, group: list[StoredArchive]) -> None:
        """Check everything that was made from one address."""
        parts = group[0].parts
        named = number_of(parts.source_directory) in self._named
        for archive in group:
            self._met(archive)
        for filename, count in Counter(archive.filename for archive in group).items():
            if count > 1:
                text = f"there are {count} digests of it; readers may take any"
                self._report("two digests", f"{parts.source_directory}/{filename}", text)
        newest = max(archive.info.modified or 0.0 for archive in group)
        if not named and newest <= self._since:  # a recent one may belong to an environment that is just being created
            self._report("unnamed", parts.source_directory, f"{len(group)} archives that no document names")

    async def _missing(self) -> None:
        """Report archives that documents name and that were not found."""
        lost = set(self._wanted)
        ids = self._ids if self._lacking is not None else [self._ids[n] for n in sorted(set(self._wanted.values()))]
        for begin in range(0, len(ids) if lost else 0, _AT_ONCE):
            batch = ids[begin : begin + _AT_ONCE]
            found, unreadable = await EnvironmentDocuments(self._sources.store, self._keys).get_all(batch)
            for env_id, error in unreadable.items():
                self._failed(self._keys.document(env_id), error)
            for environment in found:
                await self._missing_of(environment, lost)

    async def _missing_of(self, environment: ResolvedEnvironment, lost: set[int]) -> None:
        places = []
        for place in (p for package in environment.packages for p in needed_places(package, self._dirname)):
            if number_of(place) not in lost:
                continue
            if not place.startswith(f"{self._dirname}/") and await self._sources.store.head(place) is not None:
                lost.discard(number_of(place))  # of a very old cache: its directory is not listed
                continue
            places.append(place)
        if not places:
            return
        self.incomplete.append(environment.id)
        if self._lacking is not None:
            self._lacking(environment, places)
        for place in places:
            if self._wanted.pop(number_of(place), None) is not None:
                self._report("missing", place, f"{self._keys.document(environment.id)} names it")


def _made_again(env_id: EnvID) -> str:
    return f"`asynccache pack {env_id} --arch {env_id.arch} --force` makes it again"
