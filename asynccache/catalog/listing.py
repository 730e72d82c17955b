"""All known environments: on this machine, in the store, with their aliases.

The content of the store's documents is kept in an index, since a document never changes: only new ones are read.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar, Final

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.index import CatalogIndex, Name, Summary
from asynccache.catalog.indexed import IndexedManifest
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import AsyncCacheError, DefectError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID
from asynccache.model.platform import ARCHITECTURES
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.tasks import outcome_of, run_together
from asynccache.store.base import ObjectInfo, Store

_AT_ONCE: Final = 64  # requests
_SECTION: Final = "generic"
_DIGITS: Final = "0123456789abcdef"  # first digits of an id
_MANY: Final = 2000  # environments; two pages of a listing
Ids = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Listed(Documented):
    """One environment of a list.

    Attributes:
        summary: Its summary.
        local: Whether this machine's manifest has it.
        remote: Whether the store has it.
        default: Whether it is the default for its request on this machine.
        names: Its aliases, sorted.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("*summary", "names", "local", "remote", "default")

    summary: Summary
    local: bool = False
    remote: bool = False
    default: bool = False
    names: tuple[Alias, ...] = ()

    @property
    def by(self) -> str:
        """User name without what follows it in derived environments."""
        return self.summary.resolved_by.partition(" (")[0]

    def matches(self, pattern: str) -> bool:
        """Return whether a shell pattern matches an alias, the ids, or the beginning of one of them."""
        env_id = self.summary.id
        texts = [*map(str, self.names), *(n.stored for n in self.names), str(env_id), env_id.req_id, env_id.full_id]
        return any(fnmatch.fnmatchcase(t, pattern) or (len(pattern) >= 6 and t.startswith(pattern)) for t in texts)


class StoreCatalog:
    """Summaries of a store's environments.

    Args:
        store: An open store.
        keys: Where environments are.
        index: Where what was read is remembered.
    """

    def __init__(self, store: Store, keys: CatalogKeys, index: CatalogIndex) -> None:
        self._store = store
        self._keys = keys
        self._index = index
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def summaries(self, arch: str | None = None) -> list[Summary]:
        """Return summaries of all environments; new documents are read.

        Raises:
            StoreError: The store cannot be listed.
        """
        arches = [arch] if arch else [*ARCHITECTURES]
        known = {s.id: s for s in await in_thread(self._index.environments, arch)}
        counts = Counter(i.arch for i in known)
        # if many are known, parts are listed concurrently: pages of one listing come one after the other
        parts = [f"{a}/{digit}" for a in arches for digit in (_DIGITS if counts[a] > _MANY else [""])]
        listed = {
            env_id: f"{info.size}:{info.modified}"
            for infos in await run_together([self._scan(f"{self._keys.dirname}/{part}") for part in parts])
            for info in infos
            if (env_id := self._keys.parse_document(info.key)) is not None
        }
        missing = [i for i, version in listed.items() if i not in known or known[i].version != version]
        read = await run_together([self._summary(i, listed[i]) for i in missing])
        gone = [i for i in known if i not in listed]
        await in_thread(self._index.add, read, gone=gone)
        known |= {s.id: s for s in read}
        return [known[i] for i in listed]

    async def names(self) -> list[tuple[Alias, Ids]]:
        """Return all names that can be read and what they stand for.

        Raises:
            StoreError: The store cannot be listed.
        """
        aliases = Aliases(self._store, self._keys)
        listed = {name: info async for name, info in aliases.names() if name.stored.count("/")}
        known = {n.stored: n for n in await in_thread(self._index.names)}
        # a mutable alias may move twice within the resolution of a listing's times
        missing = [
            name
            for name, info in listed.items()
            if name.mutable or name.stored not in known or known[name.stored].version != f"{info.modified}"
        ]
        read = await run_together([self._name(aliases, name, listed[name]) for name in missing])
        found = [name for name in read if name is not None]
        gone = [n for stored, n in known.items() if Alias("generic", stored) not in listed]
        await in_thread(self._index.add, names=found, gone_names=gone)
        known |= {name.stored: name for name in found}
        return [(name, known[name.stored].ids) for name in listed if name.stored in known]

    async def _scan(self, prefix: str) -> list[ObjectInfo]:
        return [info async for info in self._store.scan(prefix)]

    async def _summary(self, env_id: EnvID, version: str) -> Summary:
        async with self._limit:
            read = await outcome_of(EnvironmentDocuments(self._store, self._keys).get(env_id))
        if isinstance(read, AsyncCacheError):
            if read.retryable:
                raise read  # a temporary failure must not be remembered for the document
            return Summary(env_id, "" if isinstance(read, DefectError) else version, error=str(read))
        if read is None:
            return Summary(env_id, version, error="it vanished")
        return Summary.of(env_id, read.as_document(), version)

    async def _name(self, aliases: Aliases, name: Alias, info: ObjectInfo) -> Name | None:
        async with self._limit:
            ids = await outcome_of(aliases.get(name))
        if isinstance(ids, AsyncCacheError):
            if ids.retryable:
                raise ids
            return None  # `verify` reports damaged aliases; a list shows the others
        return None if ids is None else Name(_SECTION, name.stored, ids, f"{info.modified}")


async def list_environments(
    here: IndexedManifest | None, there: StoreCatalog | None, arch: str | None = None
) -> list[Listed]:
    """Return every known environment, most recently resolved first.

    Args:
        here: What this machine knows; None to leave it out.
        there: What the store knows; None to leave it out.
        arch: Only of this architecture.

    Raises:
        IntegrityError: The local manifest is damaged.
        StoreError: The store cannot be listed.
    """
    found: dict[EnvID, Listed] = {}
    names: dict[Ids, set[Alias]] = {}
    if there is not None:
        found = {s.id: Listed(s, remote=True) for s in await there.summaries(arch)}
        _collect(names, await there.names())
    if here is not None:
        defaults = await in_thread(here.defaults)
        for summary in await in_thread(here.summaries, arch):
            env_id = summary.id
            found[env_id] = Listed(summary, local=True, remote=env_id in found, default=env_id in defaults)
        _collect(names, await in_thread(here.names), known=names)
    rows = [
        replace(row, names=tuple(sorted(names.get((i.req_id, i.full_id), ()), key=str))) for i, row in found.items()
    ]
    return sorted(rows, key=lambda row: (row.summary.resolved_on, row.summary.id), reverse=True)


def _collect(
    names: dict[Ids, set[Alias]], found: Iterable[tuple[Alias, Ids]], known: dict[Ids, set[Alias]] | None = None
) -> None:
    """Add aliases; if the store was asked, its answer determines what an alias refers to."""
    taken = {alias for aliases in (known or {}).values() for alias in aliases}
    for alias, ids in found:
        if alias not in taken:
            names.setdefault(ids, set()).add(alias)
