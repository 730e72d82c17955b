"""What environments reach in a store: everything that a document needs to be of use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

from asynccache.catalog.aliases import Aliases, Ids
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import AsyncCacheError, IntegrityError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.ops.environment_packages import Needs, needed_formats, needs_of
from asynccache.runtime.tasks import run_together
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, Store


@dataclass(frozen=True, slots=True)
class Reached:
    """What a store has of one environment, each part in the order of its keys.

    Attributes:
        environment: The environment, as in its document.
        beside: Objects beside the document: what its digests stand for, its pack.
        archives: Archives of its packages, in every format, including those that no document records.
        receipts: Receipts of transmuted archives.
        document: The document; None if it does not exist.
        name: The alias by full id, if it refers to this environment.
        missing: Names of packages that the store does not have in a format that readers of the document take.
    """

    environment: ResolvedEnvironment
    beside: tuple[ObjectInfo, ...]
    archives: tuple[ObjectInfo, ...]
    receipts: tuple[ObjectInfo, ...]
    document: ObjectInfo | None
    name: ObjectInfo | None
    missing: tuple[str, ...] = ()


async def reached(
    store: Store, environment: ResolvedEnvironment, keys: CatalogKeys, dirname: str = layout.DIRNAME
) -> Reached:
    """Return what a store has of an environment.

    Args:
        store: An open store.
        environment: The environment.
        keys: Where environments are.
        dirname: Directory of the packages.

    Raises:
        StoreError: The store cannot be listed.
    """
    env_id = environment.id
    document = keys.document(env_id)
    around = {info.key: info async for info in store.scan(document.removesuffix("env"))}
    needs = await needs_of(store, dirname, [environment])
    archives = await _archives(store, environment, needs)
    parts = {key: layout.parse_key(key, dirname) for key in archives}
    derived = [key for key, found in parts.items() if found is not None and found.transmuted]
    receipts = await run_together([store.head(layout.receipt_key(key, dirname)) for key in derived])
    alias = Alias("full-id", env_id.full_id)
    ids = await Aliases(store, keys).get(alias)
    named = ids == (env_id.req_id, env_id.full_id)
    return Reached(
        environment,
        tuple(around[key] for key in sorted(around) if key != document),
        tuple(archives[key] for key in sorted(archives)),
        tuple(sorted((info for info in receipts if info is not None), key=lambda info: info.key)),
        around.get(document),
        await store.head(keys.alias(alias)) if named else None,
        tuple(need.name for need in needs.by_environment[env_id] if need.missing),
    )


async def _archives(store: Store, environment: ResolvedEnvironment, needs: Needs) -> dict[str, ObjectInfo]:
    found = {
        archive.key: archive.info
        for need in needs.by_environment[environment.id]
        for archive in (*need.below, *need.found.values())
    }
    elsewhere = {key for package in environment.packages for key in package.cached.values()} - set(found)
    for info in await run_together([store.head(key) for key in sorted(elsewhere)]):
        if info is not None and info.size:
            found[info.key] = info
    return found


async def names_of_environments(store: Store, keys: CatalogKeys) -> AsyncIterator[tuple[Alias, Ids]]:
    """Yield every readable alias, in order, and what it refers to.

    Raises:
        StoreError: The store cannot be listed.
    """
    aliases = Aliases(store, keys)
    async for name, _info in aliases.names():
        try:
            ids = await aliases.get(name)
        except IntegrityError:
            continue  # `verify` reports damaged aliases
        if ids is not None:
            yield name, ids


def source_directories(package: EnvironmentPackage, dirname: str = layout.DIRNAME) -> set[str]:
    """Return the directories below which a package's archives may be, in every format.

    They are the one for its address, where readers look for archives that no document records, also in the variant of
    other writers with a token in it, and those of all keys that the document records. For a key of an unknown layout it
    is the directory that the file is in.
    """
    found = {source_of(key, dirname) for key in package.cached.values()}
    with suppress(AsyncCacheError):  # `verify` reports what is wrong with the document
        found.add(layout.SourceAddress.parse(package.url, package.kind, real=package.downloadable).directory(dirname))
    with suppress(AsyncCacheError):
        found.add(layout.source_directory(package.to_package().url, package.kind, dirname))
    return found


def needed_places(package: EnvironmentPackage, dirname: str = layout.DIRNAME) -> list[str]:
    """Return the keys of archives that readers of a document use; places for any digest if none is known."""
    places = []
    for fmt in needed_formats(package, None):
        if (key := package.cached.get(fmt)) is not None:
            places.append(key)
            continue
        try:
            if package.downloadable:
                directory = layout.source_directory(package.to_package().url, package.kind, dirname)
            else:
                directory = layout.SourceAddress.parse(package.url, package.kind, real=False).directory(dirname)
        except AsyncCacheError:
            continue  # `verify` reports what is wrong with the document
        filename = package.filename + fmt
        digest = package.hashes.get(fmt) if fmt == package.url_format else None
        places.append(f"{directory}/{filename}/{digest}/{filename}" if digest else f"{directory}/{filename}")
    return places


def source_of(place: str, dirname: str = layout.DIRNAME) -> str:
    """Return the source directory of a key or place."""
    parts = layout.parse_key(place, dirname)
    return place.rpartition("/")[0] if parts is None else parts.source_directory
