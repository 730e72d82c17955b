"""Computing the digests of environments whose packages are in a store, and writing them beside the documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from asynccache.catalog.digests import EnvironmentDigests
from asynccache.catalog.keys import CatalogKeys
from asynccache.engine.derived import DerivedArchives, is_derived
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.engine.verified import Verified
from asynccache.errors import StoreRefusedError
from asynccache.hydrate.pack_find import Packed
from asynccache.model.digest import Digests
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.environment_digest import EnvironmentDigest
from asynccache.model.identity import EnvID
from asynccache.ops.vouching import Vouched, noted_sha256, remember, remembered

_WRITTEN: Final = " digests"  # suffix of a store's identity: digests that this machine wrote to it


async def publish_digests(
    host: Host,
    sources: Sources,
    environments: Iterable[ResolvedEnvironment],
    *,
    packs: Iterable[Packed] = (),
    vouch: bool = False,
    fresh: Collection[EnvID] = (),
) -> dict[EnvID, str]:
    """Write the digests of environments in the store for which the sha256 of every package is known.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store that has their documents.
        environments: The environments, with the keys of their packages in the store.
        packs: Their packs; those that are not vouched for are left out.
        vouch: Whether this machine has resolved them.
        fresh: Those whose document did not exist before.

    Returns:
        Environment -> the digest for its name: its own, or the common one of all its architectures; none for those that
        this user may not write to the store.

    Raises:
        StoreError: The store cannot be reached.
    """
    cache_dir, place = host.settings.cache_dir, sources.store.root.identity
    by_id = {packed.id: packed.digest for packed in packs if packed.vouched and packed.compared != "sources"}
    by_ids: dict[tuple[str, str], list[EnvironmentDigest]] = {}
    chosen = {environment.id: environment for environment in environments}
    await sources.derived.load()
    noted: dict[str, str] | None = None
    for environment in chosen.values():
        known_before = await host.threads.run(remembered, cache_dir, environment.id)
        before = environment.digest or (known_before.digest if known_before is not None else None)
        pack = by_id.get(environment.id) or (before.pack if before is not None else "")
        found = EnvironmentDigest.of(environment, dict(_derived(sources.derived, environment)), pack)
        if found is None:
            noted = noted if noted is not None else await host.threads.run(noted_sha256, cache_dir, place)
            found = EnvironmentDigest.of(
                environment, {**noted, **dict(_derived(sources.derived, environment, noted))}, pack
            )
        if found is not None:
            by_ids.setdefault((environment.id.req_id, environment.id.full_id), []).append(found)
    memory = Verified.shared(cache_dir)
    written = await host.threads.run(memory.known, place + _WRITTEN)
    digests = EnvironmentDigests(sources.store, CatalogKeys(host.settings.envs_dirname))
    named: dict[EnvID, str] = {}
    for of_one in by_ids.values():
        own = " ".join(sorted(digest.sha256 for digest in of_one))
        common = None if any(digest.id in fresh for digest in of_one) else written.get(own)
        if common is None:
            try:
                common = await digests.put(of_one, chosen[of_one[0].id].resolved_archs)
            except StoreRefusedError:  # a user who may only read can still warm nodes
                continue
            await host.threads.run(memory.add, place + _WRITTEN, [(own, common)])
        named.update((digest.id, common) for digest in of_one)
    if vouch:
        found_out = [digest for of_one in by_ids.values() for digest in of_one]
        vouched = [Vouched(digest, named.get(digest.id, digest.sha256)) for digest in found_out]
        await host.threads.run(remember, cache_dir, vouched)
    return named


def _derived(
    derived: DerivedArchives, environment: ResolvedEnvironment, noted: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """Yield (key, sha256) of derived archives that this machine made or compared."""
    for package in environment.packages:
        published = package.digests_of(package.url_format)
        key = package.cached.get(package.url_format)
        if published.sha256 is None and key is not None and noted is not None:
            published = Digests(md5=published.md5, sha256=noted.get(key))
        for fmt, format_key in package.cached.items():
            if is_derived(package.kind, fmt, package.url_format):
                allowed = derived.allowed(published, format_key.split("/")[-2], package.vouched_derived)
                yield format_key, next(iter(allowed)) if len(allowed) == 1 else ""
