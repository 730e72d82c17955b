"""Packs of environments that are cached: when the setting `pack` wants them, and that they are whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import Final

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.engine.verified import Verified
from asynccache.errors import AsyncCacheError, IntegrityError
from asynccache.hydrate.pack_find import Packed, find_pack
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works

_AT_ONCE: Final = 4  # each that is made needs the environment's files on disk; all share the cores


@dataclass(slots=True)
class PacksMade:
    """What packing brought.

    Attributes:
        packs: In the order of the environments, without those that failed.
        failed: Environment -> why it has no pack.
    """

    packs: list[Packed] = field(default_factory=list)
    failed: dict[EnvID, AsyncCacheError] = field(default_factory=dict)

    def notes(self, env_id: EnvID) -> tuple[str, ...]:
        """Return what the user of an environment should know: what packing noticed, or why there is no pack."""
        if error := self.failed.get(env_id):
            return (f"{env_id} for {env_id.arch} has no pack, so it is made from packages: {error}",)
        made = next((each for each in self.packs if each.id == env_id), None)
        return made.notes if made is not None else ()


def packs_wanted(settings: Settings) -> bool:
    """Tell whether an environment that is cached gets a pack: `auto` means in a store that other machines can read."""
    return settings.pack == "always" or (settings.pack == "auto" and settings.root.remote)


async def pack_cached(
    engine: Engine, environments: Iterable[ResolvedEnvironment], *, verify: bool = False
) -> PacksMade:
    """Give environments packs; what is there is left alone.

    Args:
        engine: An open engine on the store that has the environments.
        environments: Which.
        verify: Read packs that this machine has never read; make a damaged one anew.

    Returns:
        What there is now; what failed stands in it.
    """
    result = PacksMade()
    chosen = list({environment.id: environment for environment in environments}.values())
    memory = Verified(engine.settings.cache_dir)
    known = await engine.threads.run(memory.known, engine.store.root.identity) if verify else {}

    async def one(environment: ResolvedEnvironment) -> Packed:
        found = await find_pack(engine, environment.id)
        if found is None:
            return await _packed(engine, environment)
        return await _verified(engine, environment, found, memory, known) if verify else found

    outcomes = await run_works(chosen, one, room=Budget(_AT_ONCE, "packs"))
    for environment, outcome in zip(chosen, outcomes, strict=True):
        if isinstance(outcome, AsyncCacheError):
            result.failed[environment.id] = outcome
        else:
            result.packs.append(outcome)
    return result


async def _packed(engine: Engine, environment: ResolvedEnvironment, *, force: bool = False) -> Packed:
    from asynccache.hydrate.pack import pack  # noqa: PLC0415 - brings the linker, which is not needed for what is there

    return await pack(engine, environment, force=force)


async def _verified(
    engine: Engine, environment: ResolvedEnvironment, found: Packed, memory: Verified, known: dict[str, str]
) -> Packed:
    info = await engine.store.head(found.key)
    version = f"{info.size} {info.etag}" if info is not None else ""
    if version and known.get(found.key) == version:
        return found
    from asynccache.hydrate.unpack import verify_pack  # noqa: PLC0415 - only what was never read

    try:
        await verify_pack(engine, environment.id)
    except IntegrityError:
        return await _packed(engine, environment, force=True)
    await engine.threads.run(memory.add, engine.store.root.identity, [(found.key, version)])
    return found
