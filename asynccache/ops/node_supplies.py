"""What nodes need to run environments: packs, and an engine for nodes that cannot use one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from asynccache.engine.derived import is_derived, published_digests
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError, ConfigurationError
from asynccache.hydrate.pack_find import Packed
from asynccache.model.document import document, plain
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.ops.digests import publish_digests
from asynccache.ops.environment_packages import Need, Needs
from asynccache.ops.installer import Published, vouched_bundle, vouched_decoders
from asynccache.runtime.tasks import outcome_of, run_together, run_works
from asynccache.store.base import Store


@dataclass(slots=True)
class NodeSupplies:
    """What is available for nodes.

    Attributes:
        packs: The packs of environments that have one, in order.
        unpacked: Environment -> why it has no pack, so that nodes create it from packages.
        engines: Architecture -> the engine for nodes that cannot use a pack.
        decoders: Python and architecture -> the zstd decoder for nodes whose image has none.
        derived: Environment that nodes create from packages -> the derived archives for it, as texts of the setting
            `derived_digests`.
        digests: Environment -> its digest, if the sha256 of all its packages are known.
        no_engine: Why there is no engine; None if there is one, or none could be built on this machine.
        foreign: Keys that the settings name for an engine and whose content this machine does not vouch for.
        seconds: Total time.
    """

    packs: list[Packed] = field(default_factory=list)
    unpacked: dict[EnvID, AsyncCacheError] = field(default_factory=dict)
    engines: dict[str, Published] = field(default_factory=dict)
    decoders: dict[str, Published] = field(default_factory=dict)
    derived: dict[EnvID, list[str]] = field(default_factory=dict)
    digests: dict[EnvID, str] = field(default_factory=dict)
    no_engine: AsyncCacheError | None = None
    foreign: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def as_document(self) -> dict[str, object]:
        """Return it in the format of the nodes' manifest (see `asynccache.boot.manifest`)."""
        packs = {_name(p.id): _pin(p) for p in self.packs}
        named = {"bundles": plain(self.engines), "decoders": plain(self.decoders)}
        derived = {_name(env_id): statements for env_id, statements in self.derived.items() if statements}
        digests = {_name(env_id): digest for env_id, digest in self.digests.items()}
        return {"packs": packs, **named, "digests": digests, **({"derived": derived} if derived else {})}


def _name(env_id: EnvID) -> str:
    return f"{env_id.req_id}:{env_id.full_id}:{env_id.arch}"


def _pin(packed: Packed) -> dict[str, object]:
    return document(packed, "key", "size", "digest", *(["compared"] if packed.compared else []))


async def supply_nodes(
    host: Host, sources: Sources, environments: Iterable[ResolvedEnvironment], arches: Iterable[str] = ()
) -> NodeSupplies:
    """Publish missing packs and the engine for nodes, unless the settings disable packing.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store that nodes read, and upstream.
        environments: The environments that nodes run.
        arches: Platforms of nodes that look up their environment by name, and create it with the engine.

    Raises:
        ConfigurationError: Nodes would have neither a pack nor an engine that this machine vouches for.
        AsyncCacheError: Packing is disabled, and there is no engine.
    """
    from asynccache.hydrate.pack import pack  # noqa: PLC0415 - imports the linker

    started = host.clock.now()
    chosen = list({each.id: each for each in environments}.values())
    packing = host.settings.pack != "never"
    wanted = chosen if packing else []
    looking = frozenset(arches)
    supplies = NodeSupplies()
    outcomes: list[Packed | AsyncCacheError] = []

    async def pack_all() -> None:
        outcomes.extend(await run_works(wanted, lambda each: pack(host, sources, each)))

    async def find_engines() -> None:
        failed = await outcome_of(
            _engines(host, sources.store, {*(each.id.arch for each in chosen), *looking}, supplies)
        )
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
    by_packages = [each for each in chosen if not packing or each.id in supplies.unpacked]
    if by_packages:
        supplies.derived = await vouched_derived(host, sources, by_packages)
    supplies.digests = await publish_digests(host, sources, chosen, packs=supplies.packs)
    supplies.seconds = host.clock.now() - started
    return supplies


async def vouched_derived(
    host: Host, sources: Sources, environments: Iterable[ResolvedEnvironment]
) -> dict[EnvID, list[str]]:
    """Return the derived archives in the store that this machine vouches for, as texts of `derived_digests`."""
    await sources.derived.load()
    needs = Needs(sources.store, sources.inventory, host.settings.packages_dirname)
    await needs.add(environments)

    def said(need: Need) -> Iterable[str]:
        package, fmt = need.package, need.package.url_format
        published = published_digests(package.digests_of(fmt), None)
        for archive in need.found.values():
            if is_derived(package.kind, archive.format, fmt):
                yield from sources.derived.statements(published, archive.hash, package.vouched_derived)

    return {env_id: [text for need in of for text in said(need)] for env_id, of in needs.by_environment.items()}


async def _engines(host: Host, store: Store, arches: set[str], supplies: NodeSupplies) -> None:
    """Find what nodes may run before an environment exists; publish the engine if there is none."""
    supplies.decoders = await vouched_decoders(host, store)
    for arch in sorted(arches):
        key = host.settings.bundle_key(arch)
        found = await vouched_bundle(host, store, arch)
        if found is not None:
            supplies.engines[arch] = found
        if key is not None and (found is None or found.key != key):
            supplies.foreign.append(key)
