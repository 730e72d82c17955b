"""Packs of cached environments: whether the setting `pack` asks for them, and whether they are intact."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from typing import ClassVar, Final

from asynccache.config import Settings
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.engine.verified import Verified
from asynccache.errors import AsyncCacheError, IntegrityError
from asynccache.hydrate.pack_find import Packed, find_pack
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works

_AT_ONCE: Final = 4  # building each needs the environment's files on disk; all share the cores


@dataclass(slots=True)
class PacksMade(Documented):
    """The result of packing.

    Attributes:
        packs: The packs in the order of the environments, without those that failed.
        failed: Environment -> why it has no pack.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("packs",)

    packs: list[Packed] = field(default_factory=list)
    failed: dict[EnvID, AsyncCacheError] = field(default_factory=dict)

    def notes(self, env_id: EnvID) -> tuple[str, ...]:
        """Return notes for the user of an environment: what packing noticed, or why there is no pack."""
        if error := self.failed.get(env_id):
            return (f"{env_id} for {env_id.arch} has no pack, so it is made from packages: {error}",)
        made = next((each for each in self.packs if each.id == env_id), None)
        return made.notes if made is not None else ()


def packs_wanted(settings: Settings) -> bool:
    """Return whether a cached environment gets a pack: `auto` means in a store that other machines can read."""
    return settings.pack == "always" or (settings.pack == "auto" and settings.root.remote)


async def pack_cached(
    host: Host, sources: Sources, environments: Iterable[ResolvedEnvironment], *, verify: bool = False
) -> PacksMade:
    """Create packs of environments; existing ones are kept.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store that has the environments, and upstream.
        environments: The environments.
        verify: Read packs that this machine has never read; rebuild a damaged one.

    Returns:
        What there is now, failures included.
    """
    result = PacksMade()
    chosen = list({environment.id: environment for environment in environments}.values())
    memory = Verified.shared(host.settings.cache_dir)
    known = await host.threads.run(memory.known, sources.store.root.identity) if verify else {}

    async def one(environment: ResolvedEnvironment) -> Packed:
        found = await find_pack(sources.store, environment.id, host.settings.envs_dirname)
        if found is None:
            return await _packed(host, sources, environment)
        if verify:
            found = await _verified(host, sources, environment, found, memory, known)
        from asynccache.hydrate.pack import with_vouch  # noqa: PLC0415 - imports the linker

        return await host.threads.run(with_vouch, environment, found, host.settings.cache_dir)

    outcomes = await run_works(chosen, one, room=Budget(_AT_ONCE, "packs"))
    for environment, outcome in zip(chosen, outcomes, strict=True):
        if isinstance(outcome, AsyncCacheError):
            result.failed[environment.id] = outcome
        else:
            result.packs.append(outcome)
    return result


async def _packed(host: Host, sources: Sources, environment: ResolvedEnvironment, *, force: bool = False) -> Packed:
    from asynccache.hydrate.pack import pack  # noqa: PLC0415 - imports the linker, which is not needed for existing packs

    return await pack(host, sources, environment, force=force)


async def _verified(
    host: Host,
    sources: Sources,
    environment: ResolvedEnvironment,
    found: Packed,
    memory: Verified,
    known: dict[str, str],
) -> Packed:
    info = await sources.store.head(found.key)
    version = f"{info.size} {info.etag}" if info is not None else ""
    if version and known.get(found.key) == version:
        return found
    from asynccache.hydrate.unpack import verify_pack  # noqa: PLC0415 - only what was never read

    try:
        await verify_pack(host, sources.store, environment.id)
    except IntegrityError:
        return await _packed(host, sources, environment, force=True)
    await host.threads.run(memory.add, sources.store.root.identity, [(found.key, version)])
    return found
