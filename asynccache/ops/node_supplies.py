"""What nodes need of environments that run there: packs, and an engine for those that cannot take one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, ConfigurationError
from asynccache.hydrate.pack_find import Packed
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.platform import current_architecture
from asynccache.ops.installer import Published, configured_bundle, configured_key, publish_bundle
from asynccache.runtime.tasks import outcome_of, run_together, run_works


@dataclass(slots=True)
class NodeSupplies:
    """What there is for nodes.

    Attributes:
        packs: Of the environments that have one, in order.
        unpacked: Environment -> why it has no pack, so that nodes make it from packages.
        engines: Architecture -> the engine for nodes that cannot take a pack.
        no_engine: Why there is no engine; None when there is, or when none could be made here.
        foreign: Keys that the settings name for an engine and that hold none of ours.
        seconds: In all.
    """

    packs: list[Packed] = field(default_factory=list)
    unpacked: dict[EnvID, AsyncCacheError] = field(default_factory=dict)
    engines: dict[str, Published] = field(default_factory=dict)
    no_engine: AsyncCacheError | None = None
    foreign: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_document(self) -> dict[str, object]:
        """Return packs and engines as nodes are told of them (see `asynccache.boot.manifest`)."""
        packs = {
            f"{p.id.req_id}:{p.id.full_id}:{p.id.arch}": {"key": p.key, "size": p.size, "digest": p.digest}
            for p in self.packs
        }
        return {"packs": packs, "bundles": {arch: each.as_document() for arch, each in self.engines.items()}}


async def supply_nodes(engine: Engine, environments: Iterable[ResolvedEnvironment]) -> NodeSupplies:
    """Make what is missing of packs and of the engine for nodes, unless the settings say that nothing is packed.

    Args:
        engine: An open engine on the store that nodes read.
        environments: Those that run there.

    Raises:
        ConfigurationError: An environment can have no pack, and its nodes have no engine either.
        AsyncCacheError: Nothing is to be packed, and there is no engine.
    """
    from asynccache.hydrate.pack import pack  # noqa: PLC0415 - brings the linker

    started = time.monotonic()
    chosen = list({each.id: each for each in environments}.values())
    packing = engine.settings.pack != "never"
    wanted = chosen if packing else []
    supplies = NodeSupplies()
    outcomes: list[Packed | AsyncCacheError] = []

    async def pack_all() -> None:
        outcomes.extend(await run_works(wanted, lambda each: pack(engine, each)))

    async def find_engines() -> None:
        failed = await outcome_of(_engines(engine, {each.id.arch for each in chosen}, supplies))
        if failed is not None:
            supplies.no_engine = failed
            supplies.engines.clear()

    await run_together([pack_all(), find_engines()])
    for environment, done in zip(wanted, outcomes, strict=True):
        if isinstance(done, Packed):
            supplies.packs.append(done)
            continue
        if environment.id.arch not in supplies.engines:
            raise ConfigurationError(
                f"{environment.id} cannot be packed for nodes, which have no engine either: {done}",
                hint="mend what it says, or publish an engine with `asynccache installer publish`",
            ) from done
        supplies.unpacked[environment.id] = done
    if supplies.no_engine is not None and not packing:
        raise supplies.no_engine
    supplies.seconds = time.monotonic() - started
    return supplies


async def _engines(engine: Engine, arches: set[str], supplies: NodeSupplies) -> None:
    """Find the engine as configured, else publish it once for each root."""
    for arch in sorted(arches):
        found = await configured_bundle(engine, arch)
        if found is not None:
            supplies.engines[arch] = found
            continue
        key = configured_key(engine.settings, arch)
        if key is not None:
            supplies.foreign.append(key)
        if arch == current_architecture():  # the one for another architecture is published there
            supplies.engines[arch] = await publish_bundle(engine)
