"""What warming environments would take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from asynccache.catalog.collection_state import read_state
from asynccache.engine.adoption import Adoption
from asynccache.engine.verified import Verified
from asynccache.hydrate.pack_find import find_pack
from asynccache.hydrate.unpack import cost_of_verifying
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.package import Format
from asynccache.model.shard import Shard
from asynccache.ops.catalog import Catalog
from asynccache.ops.environment_packages import Need, Needs
from asynccache.ops.node import chosen_archive
from asynccache.ops.opening import Opening
from asynccache.ops.plan import Ledger
from asynccache.ops.plan_packages import plan_comparison, plan_job
from asynccache.ops.warm import Target, Warm
from asynccache.ops.warm_environments import named_environments, packs_asked_for


async def plan_warm(
    ledger: Ledger,
    environments: Iterable[ResolvedEnvironment | str],
    arches: Sequence[str],
    *,
    to: Target,
    verify: bool,
    pack: bool | None,
    shard: Shard | None,
) -> None:
    """Count what warming takes (see `warm_environments`).

    Raises:
        UsageError: A text is not a valid name, or no environment is given.
        ObjectNotFoundError: No environment is known under a name.
        StoreError: The store cannot be listed.
    """
    engine, settings = ledger.engine, ledger.host.settings
    async with Opening(settings, engine=engine) as opening:
        found = [environment for _name, environment in await named_environments(opening, environments, arches)]
    catalog = Catalog(settings, ledger.store)
    warm = Warm(engine, catalog, to, settings.wanted_format, verify=verify, shard=shard)
    needs = await warm.look(found)
    made = await _fetching(ledger, warm, needs, to_node=to == "local" and settings.store is not None)
    if verify:
        await _comparing(ledger, [need for need in warm.todo if id(need) not in made], to)
    _moving(ledger, warm, made)
    if to != "local":
        await _publishing(ledger, catalog, found)
    if packs_asked_for(settings, to, pack):
        for environment in found:
            await _packing(ledger, environment, needs, made, verify=verify)
    ledger.ask(list=1, get=1)  # to see who has written to the store lately
    ledger.writes()


async def _fetching(ledger: Ledger, warm: Warm, needs: Needs, *, to_node: bool) -> dict[int, dict[Format, int]]:
    """Count fetching what the store lacks; return the sizes of what it will have, by need.

    Args:
        ledger: Where it is counted.
        warm: The run that is planned.
        needs: Everything that is needed.
        to_node: Whether it is fetched into this machine's own store.
    """
    made: dict[int, dict[Format, int]] = {}
    fetched: list[Need] = []
    for need in warm.todo:
        job = need.job()
        if job is None:
            if need.error is not None:
                ledger.failing[need.name] = need.error
            else:
                ledger.work["there"] += 1
        elif to_node:
            await ledger.fetch(job.package)
            ledger.work["to be fetched"] += 1
            ledger.say("what the store lacks is fetched to this machine only")
        else:
            made[id(need)] = await plan_job(ledger, job)
            fetched.append(need)
    ledger.work["on this node"] += warm.on_node
    if fetched:
        await needs.look_up(fetched)  # as is done once they exist
    return made


async def _comparing(ledger: Ledger, todo: Sequence[Need], to: Target) -> None:
    """Count comparing derived archives that are not vouched for."""
    for need in todo:
        for archive in need.doubtful(Adoption(ledger.host, ledger.sources)):
            if need.fetchable is None:
                continue
            if to == "remote":
                ledger.ask(head=1)
                ledger.maybe(get=3, put=1)
                ledger.say("derived archives without a receipt are read and compared")
            else:
                await plan_comparison(ledger, need.fetchable, need.below, archive)


def _moving(ledger: Ledger, warm: Warm, made: dict[int, dict[Format, int]]) -> None:
    """Count copying archives onto this node, and reading those that this machine has never verified."""
    to_fetch = warm.to_fetch
    for need in to_fetch:
        if id(need) in made:
            for size in list(made[id(need)].values())[:1]:
                ledger.read_size(size)
        elif need.complete:
            ledger.read(chosen_archive(need, warm.wanted))
    seen = {id(need) for need in to_fetch} | {*made}
    for need, archive in warm.unverified(warm.todo):
        if id(need) not in seen and archive.parts.source_directory:
            ledger.read(archive)
            ledger.ask(get=int(archive.parts.transmuted))
            ledger.work["to be read"] += 1
            ledger.work["there"] -= 1


async def _publishing(ledger: Ledger, catalog: Catalog, environments: Iterable[ResolvedEnvironment]) -> None:
    """Count writing documents, and digests beside them."""
    for environment in environments:
        if catalog.documents is not None and await catalog.documents.get(environment.id) is None:
            ledger.ask(put=2)
            ledger.work["documents to be published"] += 1
            await plan_naming(ledger)
        ledger.maybe(list=1, get=3, put=2)
        ledger.say("an environment gets its digests where the sha256 of all its packages is known")


async def plan_naming(ledger: Ledger, documents: int = 1) -> None:
    """Count what it takes to protect what a document is about to name from collection (see `about_to_name`)."""
    if not documents:
        return
    marked = (await read_state(ledger.store)).etag is not None
    ledger.ask(head=documents - 1, get=(documents - 1) * marked)
    if marked:
        ledger.maybe(list=2 * documents, head=3 * documents, get=3 * documents, put=2 * documents)
        ledger.say("a document of a store that is collected from needs up to 10 requests more, for its lease")


async def _packing(
    ledger: Ledger,
    environment: ResolvedEnvironment,
    needs: Needs,
    made: dict[int, dict[Format, int]],
    *,
    verify: bool,
) -> None:
    """Count building a pack, or reading an existing one."""
    there = await find_pack(ledger.store, environment.id, ledger.host.settings.envs_dirname)
    if there is not None:
        memory = Verified.shared(ledger.host.settings.cache_dir)
        info = await ledger.store.head(there.key)
        known = await ledger.host.threads.run(memory.known, ledger.store.root.identity)
        if verify and info is not None and known.get(there.key) != f"{info.size} {info.etag}":
            ledger.read_size(there.size, cost_of_verifying(there.size))
            ledger.maybe(get=1)
            ledger.work["packs to be read"] += 1
        return
    sizes = [
        sum(made[id(need)].values()) if id(need) in made else need.bytes
        for need in needs.by_environment[environment.id]
    ]
    for size in sizes:
        ledger.read_size(size)
    ledger.write(sum(sizes))
    ledger.ask(head=1)
    ledger.maybe(list=len(sizes), head=2, put=2 + sum(sizes) // (8 << 20))
    ledger.say("a pack is taken to have the bytes of its packages, and to need them all from the store")
    ledger.work["packs to be made"] += 1
