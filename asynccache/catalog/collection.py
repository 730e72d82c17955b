"""How writers that name objects in a store and processes that collect them coordinate.

    asynccache/gc/state.json                     what was marked, and which lists are claimed for how long
    asynccache/uses/REQ_ID/FULL_ID/ARCH.json     an environment in use, with the addresses of its packages

A writer first writes a use, then checks which lists are claimed, and waits for these. A sweeper first claims a list,
then reads the uses. So at least one of them sees the other; a claim expires by itself if its owner dies. The store must
be read-after-write consistent, as all supported stores are.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from asynccache.catalog.collection_state import KnownState, read_state
from asynccache.errors import ObjectNotFoundError
from asynccache.node.json_text import read_json
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, Store

USES: Final = f"{layout.OWN}/uses/"
PUBLISHING: Final = ".new"
"""Behind the architecture of a use of an environment that is being published."""
LOOK_EVERY = 1.0
"""Seconds between two looks whether lists are done."""


def use_key(req_id: str, full_id: str, arch: str) -> str:
    """Return the key of the use of an environment; `any` means all architectures."""
    return f"{USES}{req_id}/{full_id}/{arch}.json"


def used_ids(info: ObjectInfo) -> tuple[str, str] | None:
    """Return the ids (req_id, full_id) of a use, an object below `USES`; None for any other object."""
    parts = info.key.removeprefix(USES).split("/")
    return (parts[0], parts[1]) if len(parts) == 3 else None


def is_of_a_launch(info: ObjectInfo) -> bool:
    """Return whether a use is of an existing environment, not of one that was being published."""
    return not info.key.endswith(f"{PUBLISHING}.json")


async def note_use(store: Store, ids: tuple[str, str], arch: str = "any", directories: Collection[str] = ()) -> None:
    """Record that an environment is used now.

    Args:
        store: An open store.
        ids: (req_id, full_id).
        arch: conda platform; `any` if the use is of an alias.
        directories: Source directories of its packages, if its document may not be in the store.

    Raises:
        StoreError: The store cannot be written.
    """
    text = json.dumps({"schema": 1, "directories": sorted(directories)})
    await store.put(use_key(*ids, arch), text.encode("utf-8"))


async def used_directories(store: Store, key: str) -> list[str]:
    """Return the source directories in a use; none if it cannot be read.

    Raises:
        StoreError: The store cannot be read.
    """
    with suppress(ObjectNotFoundError, ValueError, KeyError, TypeError):
        return [str(each) for each in read_json(await store.get(key))["directories"]]
    return []


async def read_later(store: Store) -> KnownState:
    """Wait a moment, and then return what is being collected.

    Raises:
        StoreError: The store cannot be read.
    """
    await asyncio.sleep(LOOK_EVERY)
    return await read_state(store)


async def unclaimed(store: Store) -> bool:
    """Wait until the lists that are claimed now are done; return whether anything was ever marked in this store.

    Call it after writing a use, and check again afterwards whether what will be named exists: a later claim sees the
    use.

    Args:
        store: An open store.

    Raises:
        StoreError: The store cannot be read.
    """
    first = (await read_state(store)).state
    latest = first
    while {*first.claims} & latest.held(store.timestamp()):
        latest = (await read_later(store)).state  # ends with the claims
    return bool(latest.marked_at or latest.marking is not None)


async def about_to_name(
    store: Store,
    ids: tuple[str, str],
    arch: str = "any",
    directories: Collection[str] = (),
) -> bool:
    """Protect what is going to be named from collection; if nothing was ever marked, nothing is written.

    Args:
        store: An open store.
        ids: As in `note_use`, like `arch` and `directories`.
        arch: conda platform.
        directories: Source directories of packages.

    Returns:
        Whether the caller has to check again that what it names exists.

    Raises:
        StoreError: The store cannot be read or written.
    """
    if (await read_state(store)).etag is None:
        return False  # what is marked from now on is swept an hour later at the earliest
    await note_use(store, ids, arch, directories)
    return await unclaimed(store)
