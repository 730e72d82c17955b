"""Replicating what protects environments from collection: leases, and uses of launched ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from asynccache.catalog.aliases import Ids
from asynccache.catalog.collection import USES, is_of_a_launch, used_ids
from asynccache.catalog.leases import PREFIX as LEASES
from asynccache.catalog.leases import Lease
from asynccache.errors import AsyncCacheError, ObjectNotFoundError
from asynccache.ops.replicate_objects import ObjectReplica
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import outcome_of, run_works
from asynccache.store.base import ObjectInfo

_AT_ONCE: Final = 16


class ProtectionReplica:
    """Copies leases and uses as they are, before the environments that they keep.

    Args:
        objects: Copies single objects.
        ids: Ids of the selected environments; None for all.
    """

    def __init__(self, objects: ObjectReplica, ids: frozenset[Ids] | None) -> None:
        self._objects = objects
        self._ids = ids

    async def copy(self) -> None:
        """Copy missing leases, and uses that are more recent than existing ones.

        Raises:
            StoreError: One of the stores cannot be listed.
        """
        room = Budget(_AT_ONCE, "leases")
        await self._objects.look(LEASES)
        await run_works(self._leases(), self._lease, room=room, keep=False)
        here = {info.key: info.modified async for info in self._objects.store.scan(USES)}
        await run_works(self._uses(here), self._use, room=room, keep=False)

    async def _leases(self) -> AsyncGenerator[ObjectInfo]:
        async for info in self._objects.source.scan(LEASES):
            if info.key.endswith(".json"):
                yield info

    async def _lease(self, info: ObjectInfo) -> None:
        """Copy a lease that keeps a selected environment; a lease is never overwritten."""
        objects = self._objects
        if objects.same(info) and self._ids is None:
            objects.result.tally("leases").there += 1
            return
        name = info.key.removeprefix(LEASES).removesuffix(".json")
        outcome = await outcome_of(objects.look_at(info.key, lambda data: Lease.from_json(name, data)))
        if isinstance(outcome, AsyncCacheError):
            objects.report("failed", info.key, outcome)
            return
        lease, data = outcome
        if self._ids is None or any((each.req_id, each.full_id) in self._ids for each in lease.environments):
            await objects.given("leases", info, data)

    async def _uses(self, here: dict[str, float | None]) -> AsyncGenerator[ObjectInfo]:
        async for info in self._objects.source.scan(USES):
            ids = used_ids(info)
            if ids is None or not is_of_a_launch(info) or (self._ids is not None and ids not in self._ids):
                continue
            written = here.get(info.key, 0.0)
            if written is None or info.modified is None or written >= info.modified:
                self._objects.result.tally("uses").there += 1
            else:
                yield info

    async def _use(self, info: ObjectInfo) -> None:
        """Copy a use; an existing one is older, and any client may overwrite it."""
        objects = self._objects
        if not objects.result.dry_run:
            outcome = await outcome_of(self._write(info))
            if isinstance(outcome, ObjectNotFoundError):
                return  # it was collected meanwhile
            if isinstance(outcome, AsyncCacheError):
                objects.report("failed", info.key, outcome)
                return
        tally = objects.result.tally("uses")
        tally.copied += 1
        tally.bytes += info.size

    async def _write(self, info: ObjectInfo) -> None:
        await self._objects.store.put(info.key, await self._objects.source.get(info.key))
