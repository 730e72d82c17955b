"""A store with many small environments: archives, documents, digests, packs, names, their histories, leases."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Final

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.leases import Lease
from asynccache.hydrate.pack_find import pack_key
from asynccache.hydrate.pack_write import plan_pack, write_pack
from asynccache.model.alias import Alias
from asynccache.model.digest import Digests, digest_file
from asynccache.model.package import Format, Package
from asynccache.node import pack_format as packs
from asynccache.store import layout
from asynccache.store.base import Store
from tests.support.environments import environment_of

HOST: Final = "https://conda.example.org/ch/noarch"
MOVES: Final = 3  # of each name that moves
_AT_ONCE: Final = 24
_OF_THE_CACHE: Final = (
    "packages/",
    "envs/",
    *(f"asynccache/{part}/" for part in ("alias-log", "receipts", "bundles", "zstd", "leases")),
)
_EVERY: Final = 10  # environment of how many has a pack and a name that moves, and of how many a lease


async def write_environments(
    store: Store, directory: Path, *, environments: int, packages: int, each: int, size: int = 300
) -> int:
    """Write them; return how many objects there are then.

    Args:
        store: An open store.
        directory: Where packs are made.
        environments: How many.
        packages: How many there are in all.
        each: How many of them an environment has.
        size: Of an archive, in bytes, about.
    """
    room = asyncio.Semaphore(_AT_ONCE)
    found: list[Package] = []

    async def put(key: str, data: bytes) -> None:
        async with room:
            await store.put(key, data)

    async with asyncio.TaskGroup() as group:
        for number in range(packages):
            name = f"p{number:05}-1-0"
            data = name.encode() * (size // len(name) + number % 7)
            md5 = hashlib.md5(data).hexdigest()
            package = Package.from_url(f"{HOST}/{name}.tar.bz2", Digests(md5=md5))
            found.append(package)
            group.create_task(put(layout.key_for(package, Format.TAR_BZ2, md5), data))
            if number % 2 == 0:  # made of it, with a receipt
                other = hashlib.md5(data + b"other").hexdigest()
                key = layout.key_for(package, Format.CONDA, other)
                group.create_task(put(key, data + b"other"))
                group.create_task(put(layout.receipt_key(key), b'{"of": "a test"}'))
    tree = directory / "tree"
    tree.mkdir(parents=True)
    (tree / "file").write_bytes(b"in all of them" * 20)
    planned = plan_pack(tree)

    async def publish(number: int) -> None:
        some = [found[(number * each // 2 + place) % packages] for place in range(each)]
        environment = environment_of(some, f"e{number}", "python==3.11.*")
        ids, keys = (environment.id.req_id, environment.id.full_id), environment.id
        async with room:
            if number % _EVERY == 0:
                path = directory / f"{number}.pack"
                about = {"format": packs.VERSION, "env": keys.as_list(), "prefix": packs.PREFIX}
                write_pack(planned, path, about, level=1, threads=1, stop=lambda: False)
                digests = digest_file(str(path), "md5", "sha256")
                await store.upload(pack_key(keys), path, digests)
                path.unlink()
            text = b'{"environment": %d}' % number
            await store.put(f"envs/{keys.arch}/{ids[0]}/{ids[1]}/env.sha256-{hashlib.sha256(text).hexdigest()}", text)
            await EnvironmentDocuments(store).put(environment)
            aliases = Aliases(store, user="ann")
            await aliases.assign(Alias.parse(f"team/e{number}:v1"), ids)
            if number % _EVERY == 1:
                lease = Lease.new(store, "argo-workflows", f"flow{number}", [keys], flow=f"Flow{number}", user="ann")
                await store.put(lease.key, lease.to_json())
            if number % _EVERY == 0:
                for move in range(MOVES):
                    other = ids if move % 2 == 0 else (ids[0], f"{move:040}")
                    await aliases.assign(Alias.parse(f"team/e{number}:stable"), other)

    async with asyncio.TaskGroup() as group:
        for number in range(environments):
            group.create_task(publish(number))
    return len([info async for info in store.scan()])


async def contents(store: Store) -> dict[str, int]:
    """Return key -> size of all that a store has for its users: not who wrote it, and what workers keep in it."""
    return {info.key: info.size async for info in store.scan() if info.key.startswith(_OF_THE_CACHE)}
