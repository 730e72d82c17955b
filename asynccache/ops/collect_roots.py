"""Roots of a collection: what aliases, leases, uses and runs keep; can be read repeatedly, and each object is read
once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from asynccache.catalog.aliases import Ids, Move
from asynccache.catalog.collection import USES, used_directories, used_ids
from asynccache.catalog.keys import ALIAS_LOG, CatalogKeys
from asynccache.catalog.leases import PREFIX as LEASES
from asynccache.catalog.leases import Lease
from asynccache.errors import IntegrityError, ObjectNotFoundError, UsageError
from asynccache.model.alias import MUTABLE_TAGS
from asynccache.model.dataclass import dataclass
from asynccache.model.identity import checked_ids
from asynccache.node.json_text import read_json
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_set import number_of

_AT_ONCE: Final = 32  # small objects read at once
_TOGETHER: Final = 1000  # of them held
_CLOCKS: Final = 3600.0  # an upper bound of the seconds by which a store's times may be off


@dataclass(frozen=True, slots=True)
class Roots:
    """What is kept, as numbers (`number_of`).

    Attributes:
        ids: Of `REQ_ID/FULL_ID` that something keeps.
        ours: Of `REQ_ID/FULL_ID` that asynccache has a record of, whether or not that keeps them.
        directories: Of source directories that a document being written is about to name.
        objects: Keys of what else is kept.
    """

    ids: frozenset[int]
    ours: frozenset[int]
    directories: frozenset[int]
    objects: frozenset[str]


class RootReader:
    """Reads the roots of a store.

    Args:
        store: An open store.
        keys: Where environments are.
        runs: Environments of known runs.
    """

    def __init__(self, store: Store, keys: CatalogKeys, runs: Collection[Ids] = ()) -> None:
        self._store = store
        self._keys = keys
        self._runs = {_number(ids) for ids in runs}
        self._known: dict[str, tuple[str, frozenset[int], frozenset[str]]] = {}

    async def read(self, *, used_since: float, marked_at: float | None = None) -> Roots:
        """Read what is new since the last time.

        Args:
            used_since: Uses since then keep environments; seconds since the epoch.
            marked_at: Packages in uses since then are kept as well; None for none.

        Raises:
            IntegrityError: An alias, an entry of a history or a lease cannot be read, so what it keeps is unknown.
            StoreError: The store cannot be read.
        """
        names = {info.key async for info in self._store.scan(self._keys.alias_prefix)}
        ids = set(self._runs)
        ours: set[int] = set()
        objects: set[str] = set()
        ids |= (await self._all(self._keys.alias_prefix, _of_name))[0]
        stood_for = await self._histories(names)
        ids |= stood_for[0]
        ours |= stood_for[1]
        leased = await self._all(LEASES, _of_lease)
        ids |= leased[0]
        objects |= leased[1]
        directories: set[int] = set()
        async for info in self._store.scan(USES):
            of = used_ids(info)
            if of is None:
                continue
            # whose it is a use does not say: what others published is copied and launched, too
            if info.modified is None or info.modified >= used_since:
                ids.add(_number(of))
            if marked_at is not None and (info.modified is None or info.modified >= marked_at - _CLOCKS):
                directories |= set(map(number_of, await used_directories(self._store, info.key)))
        return Roots(frozenset(ids), frozenset(ours), frozenset(directories), frozenset(objects))

    async def _histories(self, names: Collection[str]) -> tuple[set[int], set[int]]:
        """Return what current aliases have referred to, and what all aliases that ever existed have referred to."""
        kept: set[int] = set()
        all_of: set[int] = set()

        def take(key: str, numbers: frozenset[int]) -> None:
            stored = key.removeprefix(ALIAS_LOG).rpartition("/")[0]
            if f"{self._keys.alias_prefix}{stored}" in names:
                kept.update(numbers)
            all_of.update(numbers)

        await self._all(ALIAS_LOG, _of_move, take)
        return kept, all_of

    async def _all(
        self,
        prefix: str,
        read: Callable[[str, bytes], tuple[Iterable[Ids], Iterable[str]]],
        take: Callable[[str, frozenset[int]], None] = lambda _key, _numbers: None,
    ) -> tuple[set[int], set[str]]:
        ids: set[int] = set()
        objects: set[str] = set()
        batch: list[ObjectInfo] = []

        async def look(info: ObjectInfo) -> None:
            found = await self._one(info, read)
            if found is not None:
                ids.update(found[1])
                objects.update(found[2])
                take(info.key, found[1])

        async def together() -> None:
            for outcome in await run_works(batch, look, room=Budget(_AT_ONCE, "roots")):
                if isinstance(outcome, Exception):
                    raise outcome
            batch.clear()

        async for info in self._store.scan(prefix):
            batch.append(info)
            if len(batch) == _TOGETHER:
                await together()
        await together()
        return ids, objects

    async def _one(
        self, info: ObjectInfo, read: Callable[[str, bytes], tuple[Iterable[Ids], Iterable[str]]]
    ) -> tuple[str, frozenset[int], frozenset[str]] | None:
        version = f"{info.size} {info.etag} {info.modified}"
        known = self._known.get(info.key)
        # a mutable alias may move twice within the resolution of a listing's times
        if known is not None and known[0] == version and info.key.rpartition("/")[2] not in MUTABLE_TAGS:
            return known
        try:
            data = await self._store.get(info.key)
            ids, objects = read(info.key, data)
        except ObjectNotFoundError:
            return None
        except (ValueError, UsageError, IntegrityError) as exc:
            raise IntegrityError(
                f"{info.key} in {self._store.address} cannot be read, so nobody knows what it keeps ({exc})",
                hint="`asynccache verify` says what is wrong with it; nothing is collected until it is repaired",
            ) from exc
        found = self._known[info.key] = (version, frozenset(map(_number, ids)), frozenset(objects))
        return found


def _of_name(_key: str, data: bytes) -> tuple[Iterable[Ids], Iterable[str]]:
    return [checked_ids(read_json(data))], ()


def _of_move(_key: str, data: bytes) -> tuple[Iterable[Ids], Iterable[str]]:
    move = Move.from_json(data)
    return [ids for ids in (move.source, move.target) if ids is not None], ()


def _of_lease(key: str, data: bytes) -> tuple[Iterable[Ids], Iterable[str]]:
    lease = Lease.from_json(key.removeprefix(LEASES).removesuffix(".json"), data)
    return [(each.req_id, each.full_id) for each in lease.environments], lease.objects


def _number(ids: Ids) -> int:
    return number_of("/".join(ids))
