"""Leasing environments: for a flow that is deployed, or by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from asynccache.catalog.collection import note_use, unclaimed
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.leases import Lease
from asynccache.engine.verified import Verified
from asynccache.errors import ObjectNotFoundError
from asynccache.model.identity import EnvID
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.tasks import run_together
from asynccache.store.base import Store

_USES: Final = (
    " uses"  # suffix of a store's identity: environment -> day of its last recorded use, as this machine remembers
)


async def write_lease(store: Store, keys: CatalogKeys, lease: Lease) -> None:
    """Write a lease; what it names is no longer collected.

    Args:
        store: An open store.
        keys: Where environments are.
        lease: The lease.

    Raises:
        ObjectNotFoundError: An environment has just been collected.
        StoreError: The store cannot be written.
    """
    await store.put(lease.key, lease.to_json(), if_absent=True)
    if await unclaimed(store):
        await _check(store, keys, lease.environments)


async def use_today(store: Store, keys: CatalogKeys, cache_dir: Path, ids: Sequence[EnvID]) -> list[EnvID]:
    """Record the use of environments that this machine has not recorded today (see `use_environments`)."""
    memory, place = Verified.shared(cache_dir), store.root.identity + _USES
    day = datetime.now(UTC).date().isoformat()
    known = await in_thread(memory.known, place)
    new = {f"{each} {each.arch}": each for each in ids if known.get(f"{each} {each.arch}") != day}
    missing = await use_environments(store, keys, list(new.values())) if new else []
    await in_thread(memory.add, place, [(text, day) for text, each in new.items() if each not in missing])
    return missing


async def use_environments(store: Store, keys: CatalogKeys, ids: Sequence[EnvID]) -> list[EnvID]:
    """Record that environments are used now; `gc` keeps them for its `keep_days`.

    Returns:
        Those whose documents do not exist (any more).

    Raises:
        StoreError: The store cannot be written.
    """
    await run_together([note_use(store, (each.req_id, each.full_id), each.arch) for each in ids])
    if not await unclaimed(store):
        return []
    return await _missing(store, keys, ids)


async def _check(store: Store, keys: CatalogKeys, ids: Sequence[EnvID]) -> None:
    missing = await _missing(store, keys, ids)
    if missing:
        raise ObjectNotFoundError(
            f"{store.address} has no document of {missing[0]} for {missing[0].arch}",
            hint=f"`asynccache warm --env {missing[0]} --arch {missing[0].arch}` publishes one",
        )


async def _missing(store: Store, keys: CatalogKeys, ids: Sequence[EnvID]) -> list[EnvID]:
    heads = await run_together([store.head(keys.document(each)) for each in ids])
    return [each for each, info in zip(ids, heads, strict=True) if info is None]
