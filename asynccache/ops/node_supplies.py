"""What nodes need of environments that run there: packs, and an engine for those that cannot take one."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, ConfigurationError
from asynccache.hydrate.pack_find import Packed
from asynccache.model.document import document, plain
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.ops.installer import Published, vouched_bundle, vouched_decoders
from asynccache.runtime.tasks import outcome_of, run_together, run_works


@dataclass(slots=True)
class NodeSupplies:
    """What there is for nodes.

    Attributes:
        packs: Of the environments that have one, in order.
        unpacked: Environment -> why it has no pack, so that nodes make it from packages.
        engines: Architecture -> the engine for nodes that cannot take a pack.
        decoders: Python and architecture -> the zstd decoder for nodes whose image has none.
        no_engine: Why there is no engine; None when there is, or when none could be made here.
        foreign: Keys that the settings name for an engine and that hold none that this machine vouches for.
        seconds: In all.
    """

    packs: list[Packed] = field(default_factory=list)
    unpacked: dict[EnvID, AsyncCacheError] = field(default_factory=dict)
    engines: dict[str, Published] = field(default_factory=dict)
    decoders: dict[str, Published] = field(default_factory=dict)
    no_engine: AsyncCacheError | None = None
    foreign: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_document(self) -> dict[str, object]:
        """Return packs, engines and decoders as nodes are told of them (see `asynccache.boot.manifest`)."""
        packs = {f"{p.id.req_id}:{p.id.full_id}:{p.id.arch}": _pin(p) for p in self.packs}
        return {"packs": packs, "bundles": plain(self.engines), "decoders": plain(self.decoders)}


def _pin(packed: Packed) -> dict[str, object]:
    return document(packed, "key", "size", "digest", *(["compared"] if packed.compared else []))


async def supply_nodes(
    engine: Engine, environments: Iterable[ResolvedEnvironment], arches: Iterable[str] = ()
) -> NodeSupplies:
    """Make what is missing of packs and of the engine for nodes, unless the settings say that nothing is packed.

    Args:
        engine: An open engine on the store that nodes read.
        environments: Those that run there.
        arches: Of nodes that look up by themselves what they run, which they make with the engine.

    Raises:
        ConfigurationError: Nodes would have neither a pack nor an engine that this machine vouches for.
        AsyncCacheError: Nothing is to be packed, and there is no engine.
    """
    from asynccache.hydrate.pack import pack  # noqa: PLC0415 - brings the linker

    started = time.monotonic()
    chosen = list({each.id: each for each in environments}.values())
    packing = engine.settings.pack != "never"
    wanted = chosen if packing else []
    looking = frozenset(arches)
    supplies = NodeSupplies()
    outcomes: list[Packed | AsyncCacheError] = []

    async def pack_all() -> None:
        outcomes.extend(await run_works(wanted, lambda each: pack(engine, each)))

    async def find_engines() -> None:
        failed = await outcome_of(_engines(engine, {*(each.id.arch for each in chosen), *looking}, supplies))
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
    if supplies.packs or supplies.engines or supplies.decoders:
        by_engine = looking if packing else {*(each.id.arch for each in chosen), *looking}
        for arch in sorted(by_engine - supplies.engines.keys()):
            raise ConfigurationError(
                f"nodes for {arch} make environments with an engine, and none is published that is known to be good",
                hint=f"publish one on a machine for {arch} with `asynccache installer publish`, and name the digest"
                " that it prints in the setting node_digests",
            )
    supplies.seconds = time.monotonic() - started
    return supplies


async def _engines(engine: Engine, arches: set[str], supplies: NodeSupplies) -> None:
    """Find what nodes may run before an environment is there; publish the engine where there is none."""
    supplies.decoders = await vouched_decoders(engine)
    for arch in sorted(arches):
        key = engine.settings.bundle_key(arch)
        found = await vouched_bundle(engine, arch)
        if found is not None:
            supplies.engines[arch] = found
        if key is not None and (found is None or found.key != key):
            supplies.foreign.append(key)
