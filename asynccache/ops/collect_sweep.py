"""Sweeping what was marked, a list at a time, each claimed before roots and documents are read again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from functools import partial
from typing import Final

from asynccache.catalog.aliases import Aliases, Ids
from asynccache.catalog.collection import USES, read_later
from asynccache.catalog.collection_state import (
    CLAIM_SECONDS,
    SKEW_SECONDS,
    STATE_KEY,
    Claim,
    CollectionState,
    KnownState,
    Lists,
    check_unclaimed,
    list_key,
    read_state,
)
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import (
    AsyncCacheError,
    IntegrityError,
    LockTimeoutError,
    ObjectNotFoundError,
    PreconditionFailedError,
)
from asynccache.model.alias import Alias
from asynccache.model.identity import EnvID
from asynccache.model.platform import ARCHITECTURES
from asynccache.model.shard import Shard
from asynccache.node.json_text import read_json
from asynccache.ops.collect_roots import RootReader, Roots
from asynccache.ops.collect_rules import DAY, Amount, Garbage
from asynccache.ops.collect_scan import (
    addresses_of,
    archive_of,
    is_old,
    is_ours_beside,
    listed_bundles,
    read_documents,
    run_of,
    str_of,
)
from asynccache.ops.reachable import source_of
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_together, run_works
from asynccache.store import journal
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.key_set import KeySet, number_of

LIST: Final = 5000  # candidates of one list; a megabyte
ENVIRONMENTS: Final = 500  # for a list of environments: each takes a dozen requests, one after the other
_AT_ONCE: Final = 32  # of them that are checked at once
_DOCUMENTS: Final = 50
_OF_ENVIRONMENTS: Final = frozenset({"environment", "beside"})
_WHOLE: Final = Shard(1, 1)
_PATIENCE: Final = CLAIM_SECONDS + 2 * SKEW_SECONDS  # longer than a claim of somebody who is dead


async def write_lists(store: Store, mark: str, name: str, found: AsyncIterator[Garbage], amount: Amount) -> Lists:
    """Write candidates into lists as they are found; environments are in lists of their own.

    Args:
        store: An open store.
        mark: Name of the mark.
        name: Of the lists.
        found: Environments, and what is beside none, first.
        amount: Called with each candidate.

    Returns:
        The number of lists, and how many of them hold what was first.

    Raises:
        StoreError: The store cannot be read or written.
    """
    number = environments = 0
    waiting: list[Garbage] = []

    async def write() -> None:
        nonlocal number, environments
        if waiting:
            text = json.dumps({"schema": 1, "candidates": [each.as_list() for each in waiting]})
            await store.put(list_key(mark, name, number), text.encode("utf-8"))
            number += 1
            environments += waiting[-1].kind in _OF_ENVIRONMENTS
            waiting.clear()

    async for garbage in found:
        amount.add(garbage)
        environment = garbage.kind == "environment"
        other_kind = bool(waiting) and _kind_of_list(waiting[-1]) != _kind_of_list(garbage)
        if other_kind or len(waiting) == (ENVIRONMENTS if environment else LIST):
            await write()
        waiting.append(garbage)
    await write()
    return Lists(name, number, environments)


def _kind_of_list(garbage: Garbage) -> str:
    return garbage.kind if garbage.kind in _OF_ENVIRONMENTS else ""


async def read_list(store: Store, key: str) -> list[Garbage]:
    """Return the candidates of a list; none if it is gone: they are marked again.

    Raises:
        IntegrityError: It is not such a list.
        StoreError: The store cannot be read.
    """
    try:
        said = read_json(await store.get(key))
        return [Garbage.from_list(each) for each in said["candidates"]]
    except ObjectNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(
            f"{key} in {store.address} is no list of candidates ({exc})",
            hint=f"remove {STATE_KEY}; what was marked is marked again",
        ) from exc


def left_of(state: CollectionState, mark: str, shard: Shard) -> list[int]:
    """Return the lists of a shard that are not swept: a range of keys, as their numbers are in the order of keys.

    Args:
        state: Of the collection.
        mark: That they are of.
        shard: Which; the first one also has those of environments.
    """
    if state.mark != mark:
        return []
    first, others = range(state.environments), range(state.environments, state.lists)
    begin, end = (len(others) * place // shard.count for place in (shard.index - 1, shard.index))
    mine = [*(first if shard.index == 1 else ()), *others[begin:end]]
    return [number for number in mine if number not in state.done]


class Sweep:
    """Sweeps what was marked.

    Args:
        store: An open store.
        keys: Where environments are.
        dirname: Directory of the packages.
        known: The state of the collection: what was marked, and how far it is swept.
        runs: Environments of known runs.
        user: The user, from the settings.
        shard: Which of the lists; the first one also has those of environments, which come before all others.
        waits: Whether other shards wait for these.

    Attributes:
        swept: What was removed, including by a run that was killed before it could report it.
        kept: How many candidates stayed, since something reaches them now or they have changed.
        failed: Key -> why it could not be looked at or removed.
    """

    def __init__(
        self,
        store: Store,
        keys: CatalogKeys,
        dirname: str,
        known: KnownState,
        *,
        runs: Collection[Ids] = (),
        user: str | None = None,
        shard: Shard = _WHOLE,
        waits: bool = True,
    ) -> None:
        self.swept = Amount()
        self.kept = 0
        self.failed: dict[str, AsyncCacheError] = {}
        self._store = store
        self._keys = keys
        self._dirname = dirname
        self._known = known
        self._roots = RootReader(store, keys, runs)
        self._aliases = Aliases(store, keys)
        self._user = user
        self._shard = shard
        self._waits = waits or shard.index == 1
        self._mark = known.state.mark
        self._reached = KeySet()
        self._seen = KeySet()
        self._bundles: frozenset[str] = frozenset()

    async def run(self) -> KnownState:
        """Sweep all lists of the shard that are left; return the state afterwards.

        Raises:
            LockTimeoutError: Another process is sweeping what is left.
            IntegrityError: A root or a document cannot be read.
            StoreError: The store cannot be read or written.
        """
        while (claim := await self._claim()) is not None:
            done = await self._list(claim.number, claim.until - SKEW_SECONDS)
            self._known = await self._known.changed(self._store, partial(self._after, claim, done=done))
        return self._known

    def _after(self, claim: Claim, state: CollectionState, *, done: bool) -> CollectionState:
        return state.released(claim, done=done and state.mark == self._mark)

    async def _claim(self) -> Claim | None:
        """Claim the next list; None when none of the shard's is left."""
        store, seen = self._store, self._known.state
        ends = store.timestamp() + _PATIENCE
        while left := left_of(state := self._known.state, self._mark, self._shard):
            now = store.timestamp()
            if state != seen:
                seen, ends = state, now + _PATIENCE
            before = set(range(state.environments)) - state.done if self._waits else set()
            if before and self._shard.index != 1:
                if now >= ends:
                    raise LockTimeoutError(
                        f"the first shard does not sweep the environments of {store.address}, which come first",
                        hint="start it, then start this shard again",
                    )
                self._known = await read_later(store)
                continue
            held = {claim.number for claim in state.held(now)}
            free = [number for number in left if number not in held and (number in before or not before)]
            if not free:
                check_unclaimed(store, state)
            claim = Claim(free[0], now + CLAIM_SECONDS)
            swapped = await self._known.swapped(store, state.claimed(claim, now))
            if swapped is not None:
                self._known = swapped
                return claim
            self._known = await read_state(store)
        return None

    async def _list(self, number: int, until: float) -> bool:
        """Sweep a list; return whether it was done in time."""
        state = self._known.state
        candidates = await read_list(self._store, state.key(number))
        used_since = self._store.timestamp() - state.rules.keep_days * DAY
        roots = await self._roots.read(used_since=used_since, marked_at=state.began_at)
        environments = bool(candidates) and candidates[0].kind == "environment"
        if not environments:
            await self._read_documents()
            self._bundles = await listed_bundles(self._store)
        going = [each for each in candidates if self._unreached(each, roots)]
        if environments:
            for each in set(candidates) - set(going):
                await self._name_again(each)
        self.kept += len(candidates) - len(going)
        if going:
            await journal.enter(self._store, "delete", (each.key for each in going), user=self._user)
        # those of one alias or one environment are done one after the other
        sweep = self._environment if environments else self._object
        late = False

        async def one(garbage: Garbage) -> None:
            nonlocal late
            late = late or self._store.timestamp() >= until
            if late:
                return
            if await sweep(garbage):
                self.swept.add(garbage)
            else:
                self.kept += 1

        outcomes = await run_works(going, one, room=Budget(1 if environments else _AT_ONCE, "candidates"))
        for garbage, outcome in zip(going, outcomes, strict=True):
            if isinstance(outcome, AsyncCacheError):
                self.failed[garbage.key] = outcome
        return not late

    def _unreached(self, garbage: Garbage, roots: Roots) -> bool:
        match garbage.kind:
            case "environment" | "beside":  # a bare node needs the pack alone
                env_id = self._keys.parse_document(f"{garbage.key.rpartition('/')[0]}/env")
                return env_id is not None and number_of(str_of(env_id)) not in roots.ids
            case "package" | "receipt":
                key = garbage.key if garbage.kind == "package" else archive_of(garbage.key, self._dirname)
                directory = source_of(key, self._dirname)
                return directory not in self._reached and number_of(directory) not in roots.directories
            case "bundle":
                return garbage.key not in roots.objects | self._bundles
            case _:
                return True

    async def _read_documents(self) -> None:
        """Read the documents that were written since the last time; what deleted ones named is kept as well."""
        waiting: list[EnvID] = []

        async def read() -> None:
            async for environment in read_documents(self._store, self._keys, waiting):
                self._seen.add(self._keys.document(environment.id))
                for address in addresses_of(environment, self._dirname):
                    self._reached.add(address)
            waiting.clear()

        async for info in self._store.scan(f"{self._keys.dirname}/"):
            env_id = self._keys.parse_document(info.key)
            if env_id is not None and info.key not in self._seen:
                waiting.append(env_id)
                if len(waiting) == _DOCUMENTS:
                    await read()
        await read()

    async def _environment(self, garbage: Garbage) -> bool:
        """Remove an environment: its alias by full id, its document, the objects beside it, uses; return whether it was
        removed.
        """
        env_id = self._keys.parse_document(garbage.key)
        if env_id is None:
            return False
        there = [info async for info in self._store.scan(garbage.key.removesuffix("env"))]
        if not all(map(self._still_old, there)):
            return False  # it has been warmed or packed
        others = [EnvID(env_id.req_id, env_id.full_id, arch) for arch in ARCHITECTURES if arch != env_id.arch]
        last = not any(await run_together([self._store.head(self._keys.document(each)) for each in others]))
        document = next((info for info in there if info.key == garbage.key), None)
        if document is not None:
            if last:
                await self._name(env_id)
            if not await self._went(garbage.info):
                return False
        for info in there:
            if is_ours_beside(info.key):
                await self._store.delete(info.key, unless_changed=info)
        if last:
            async for info in self._store.scan(f"{USES}{str_of(env_id)}/"):
                if self._still_old(info):  # a recent one belongs to a process that is publishing it again
                    await self._store.delete(info.key, unless_changed=info)
        return True

    async def _name(self, env_id: EnvID) -> None:
        alias = Alias("full-id", env_id.full_id)
        info = await self._store.head(self._keys.alias(alias))
        if info is not None and await self._aliases.get(alias) == (env_id.req_id, env_id.full_id):
            await self._store.delete(info.key, unless_changed=info)

    async def _name_again(self, garbage: Garbage) -> None:
        """Restore the alias by full id of an environment that is kept: an earlier sweep may have been killed after
        removing it.
        """
        env_id = self._keys.parse_document(garbage.key)
        if env_id is not None and await self._store.head(garbage.key) is not None:
            name = self._keys.alias(Alias("full-id", env_id.full_id))
            with suppress(PreconditionFailedError):
                await self._store.put(name, json.dumps([env_id.req_id, env_id.full_id]).encode(), if_absent=True)

    async def _object(self, garbage: Garbage) -> bool:
        """Remove an object; return whether it was removed."""
        if garbage.kind == "beside":
            document = f"{garbage.key.rpartition('/')[0]}/env"
            if await self._store.head(document) is not None:
                return False
        if garbage.kind == "shards":
            run = run_of(garbage.key)
            async for info in self._store.scan(f"{run}/"):
                if not self._still_old(info):
                    return False
        return await self._went(garbage.info)

    async def _went(self, info: ObjectInfo) -> bool:
        """Remove an object; tell whether it is gone.

        Whoever removed it before was killed on the way, and told nobody of it, or a try of ours whose answer was lost.
        """
        return await self._store.delete(info.key, unless_changed=info) or await self._store.head(info.key) is None

    def _still_old(self, info: ObjectInfo) -> bool:
        state = self._known.state
        return is_old(info, state.began_at, state.rules.keep_days)
