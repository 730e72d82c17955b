"""Environment documents in a store: written once, read with tolerance, looked up by request.

A document is immutable: other readers never look for a newer one. It is written only if it is absent, and the first one
wins, as for every other writer of the cache.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeVar

from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import AsyncCacheError, IntegrityError, ObjectNotFoundError, PreconditionFailedError
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node.json_text import read_json
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works
from asynccache.store.base import ObjectInfo, Store

T = TypeVar("T")
_AT_ONCE: Final = 32  # documents read at once


class EnvironmentDocuments:
    """Reads and writes documents.

    Args:
        store: An open store.
        keys: Where they are.
    """

    def __init__(self, store: Store, keys: CatalogKeys | None = None) -> None:
        self._store = store
        self._keys = keys or CatalogKeys()

    async def get(self, env_id: EnvID) -> ResolvedEnvironment | None:
        """Read one document; None if there is none.

        Raises:
            IntegrityError: The object is not a document in two readings; the message says what is wrong with it.
        """
        return await read_twice(
            self._store, self._keys.document(env_id), partial(ResolvedEnvironment.from_json, env_id)
        )

    async def put(self, environment: ResolvedEnvironment) -> ResolvedEnvironment:
        """Write a document unless there is one, and the alias by full id; return what the store holds now.

        Every package that it names must be in the store already.

        Raises:
            IntegrityError: A document exists, and cannot be read. One that is not JSON does not count and is replaced.
        """
        env_id = environment.id
        try:
            await self._store.put(self._keys.document(env_id), environment.to_json(), if_absent=True)
            stored = environment
        except PreconditionFailedError:
            stored = await self._first(environment)
        name = self._keys.alias(Alias("full-id", env_id.full_id))
        with suppress(PreconditionFailedError):  # the first request that was resolved to these packages keeps the alias
            await self._store.put(name, json.dumps([env_id.req_id, env_id.full_id]).encode(), if_absent=True)
        return stored

    async def _first(self, environment: ResolvedEnvironment) -> ResolvedEnvironment:
        """Return the document that was written first, or write it again if that is not JSON."""
        env_id = environment.id
        try:
            return await self.get(env_id) or environment
        except IntegrityError:
            damaged = await self.still_unreadable(env_id)
            if damaged is not None and _is_json(damaged[1]):
                raise
            if damaged is not None:
                with suppress(PreconditionFailedError):  # another process writes it again
                    key = self._keys.document(env_id)
                    await self._store.put(key, environment.to_json(), if_match=damaged[0].etag)
        return await self.get(env_id) or environment

    async def still_unreadable(self, env_id: EnvID) -> tuple[ObjectInfo, bytes] | None:
        """Read an unreadable document again on a new connection; None if it can be read, or no longer exists."""
        key = self._keys.document(env_id)
        async with self._store.another() as store:
            # its version first: if it changes before it is read, the new one is neither replaced nor moved
            info = await store.head(key)
            try:
                data = await store.get(key)
                ResolvedEnvironment.from_json(env_id, data)
            except ObjectNotFoundError:
                return None
            except IntegrityError:
                return None if info is None else (info, data)
        return None

    async def of_request(
        self, arch: str, req_id: str
    ) -> tuple[list[ResolvedEnvironment], dict[EnvID, AsyncCacheError]]:
        """Read all documents of a request, most recently resolved first, and report what is not a document.

        Raises:
            StoreError: One cannot be read now, so the latest is unknown.
        """
        ids = [
            env_id
            async for info in self._store.scan(self._keys.request_prefix(arch, req_id))
            if (env_id := self._keys.parse_document(info.key)) is not None
        ]
        found, unreadable = await self.get_all(ids)
        for error in unreadable.values():
            if not isinstance(error, IntegrityError):
                raise error
        return sorted(found, key=lambda e: e.local_time, reverse=True), unreadable

    async def get_all(self, ids: list[EnvID]) -> tuple[list[ResolvedEnvironment], dict[EnvID, AsyncCacheError]]:
        """Read several documents at once; missing ones are left out, unreadable ones are returned separately."""
        read = await run_works(ids, self.get, room=Budget(_AT_ONCE, "documents"))
        unreadable = {i: outcome for i, outcome in zip(ids, read, strict=True) if isinstance(outcome, AsyncCacheError)}
        return [outcome for outcome in read if isinstance(outcome, ResolvedEnvironment)], unreadable

    async def ids(self, arch: str | None = None) -> AsyncIterator[EnvID]:
        """Yield the identities of all documents, of one architecture or of all."""
        prefix = f"{self._keys.dirname}/{arch}/" if arch else f"{self._keys.dirname}/"
        async for info in self._store.scan(prefix):
            env_id = self._keys.parse_document(info.key)
            if env_id is not None:
                yield env_id


async def read_twice(store: Store, key: str, read: Callable[[bytes], T]) -> T | None:
    """Read a small object; None if there is none. A wrong reading that a second one does not confirm is no damage.

    Raises:
        IntegrityError: `read` rejects two independent readings.
    """
    try:
        data = await store.get(key)
        try:
            return read(data)
        except IntegrityError:
            async with store.another() as other:
                again = await other.get(key)
            if again == data:
                raise
            return read(again)
    except ObjectNotFoundError:
        return None


def _is_json(data: bytes) -> bool:
    try:
        read_json(data)
    except ValueError:
        return False
    return True
