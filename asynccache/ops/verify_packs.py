"""Reading all packs of a store: is each what its index says, and of the environment beside which it lies?"""

from __future__ import annotations

from typing import Final

from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, IntegrityError
from asynccache.hydrate.unpack import verify_pack
from asynccache.model.identity import EnvID
from asynccache.node.pack_format import OBJECT_NAME
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works

_AT_ONCE: Final = 2  # each reads up to four parts at once


async def verify_packs(engine: Engine) -> tuple[int, int, dict[str, str]]:
    """Read every pack and compare every digest in it.

    Returns:
        How many there are, their bytes, and key -> what is wrong and what to do.

    Raises:
        StoreError: The store cannot be listed or read.
    """
    keys = CatalogKeys(engine.settings.envs_dirname)
    found: list[tuple[str, EnvID, int]] = []
    async for info in engine.store.scan(f"{keys.dirname}/"):
        directory, _, name = info.key.rpartition("/")
        if name == OBJECT_NAME and (env_id := keys.parse_document(f"{directory}/env")) is not None:
            found.append((info.key, env_id, info.size))
    damaged: dict[str, str] = {}
    outcomes = await run_works(found, lambda pack: verify_pack(engine, pack[1]), room=Budget(_AT_ONCE, "packs"))
    for (key, env_id, _size), outcome in zip(found, outcomes, strict=True):
        if isinstance(outcome, IntegrityError):
            damaged[key] = f"{outcome}; `asynccache pack {env_id} --arch {env_id.arch} --force` makes it anew"
        elif isinstance(outcome, AsyncCacheError):
            raise outcome
    return len(found), sum(size for _key, _id, size in found), damaged
