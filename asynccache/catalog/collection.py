"""How whoever names something that is in a store and whoever collects there take notice of each other.

    asynccache/gc/state.json                     what was marked, and which list is claimed for how long
    asynccache/uses/REQ_ID/FULL_ID/ARCH.json     an environment that somebody uses, with the addresses of its packages

Who names first writes a use, then looks whether a list is claimed, and waits for that. Who sweeps first claims a list,
then reads the uses. So at least one of them meets the other; a claim ends by itself, should its owner die. The store
must show what was written to whoever reads later, as all do that asynccache works on.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from asynccache.errors import (
    IntegrityError,
    LockTimeoutError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreRefusedError,
)
from asynccache.model.dataclass import dataclass
from asynccache.node.json_text import read_json
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, Store

GC: Final = f"{layout.OWN}/gc/"
STATE_KEY: Final = f"{GC}state.json"
USES: Final = f"{layout.OWN}/uses/"
PUBLISHING: Final = ".new"
"""Behind the architecture of a use of an environment that is being published."""
CLAIM_SECONDS: Final = 600.0
"""How long a claim lasts; whoever has it ends earlier, by `SKEW_SECONDS`."""
SKEW_SECONDS: Final = 60.0
"""By how much the clocks of two machines may differ."""
LOOK_EVERY = 1.0
"""Seconds between two looks whether a list is done."""


@dataclass(frozen=True, slots=True)
class CollectionState:
    """What is being collected in a store.

    Attributes:
        mark: Name of the lists of candidates; empty if there are none.
        marked_at: Seconds since the epoch.
        lists: How many lists there are.
        done: How many of them are swept.
        keep_days: What is younger is kept.
        unreferenced: Whether environments without a root are among the candidates.
        also: Pattern of what was asked for by name.
        claimed_until: When the claim of the next list ends, seconds since the epoch; 0 if none is claimed.
    """

    mark: str = ""
    marked_at: float = 0.0
    lists: int = 0
    done: int = 0
    keep_days: float = 0.0
    unreferenced: bool = False
    also: str = ""
    claimed_until: float = 0.0

    @property
    def waiting(self) -> bool:
        """Whether there are lists that are not swept."""
        return self.done < self.lists

    def to_json(self) -> bytes:
        """Return it as it is stored."""
        return json.dumps({"schema": 1, **{name: getattr(self, name) for name in _FIELDS}}).encode("ascii")


_FIELDS: Final = ("mark", "marked_at", "lists", "done", "keep_days", "unreferenced", "also", "claimed_until")


@dataclass(frozen=True, slots=True)
class KnownState:
    """A state that was read, and its version.

    Attributes:
        state: What it says.
        etag: Its version; None if there is no such object.
    """

    state: CollectionState
    etag: str | None

    async def replace(self, store: Store, state: CollectionState) -> KnownState:
        """Put another state in its place.

        Raises:
            LockTimeoutError: Another process has done so meanwhile.
            StoreError: The store cannot be written.
        """
        try:
            info = await store.put(STATE_KEY, state.to_json(), if_absent=self.etag is None, if_match=self.etag)
        except PreconditionFailedError as exc:
            raise LockTimeoutError(
                f"somebody else collects in {store.address} at the same time", hint="let one of them do it"
            ) from exc
        return KnownState(state, info.etag)


async def read_state(store: Store) -> KnownState:
    """Return what is being collected.

    Raises:
        IntegrityError: What is there says nothing of it.
        StoreError: The store cannot be read.
    """
    try:
        info = await store.head(STATE_KEY)
    except StoreRefusedError:  # an absent object is forbidden to who may not list
        info = None
    if info is None:
        return KnownState(CollectionState(), None)
    try:
        said = read_json(await store.get(STATE_KEY))
        return KnownState(CollectionState(**{name: said[name] for name in _FIELDS}), info.etag)
    except ObjectNotFoundError:
        return KnownState(CollectionState(), None)
    except (ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(
            f"{STATE_KEY} in {store.address} cannot be read ({exc})", hint="remove it; what was marked is marked again"
        ) from exc


def check_unclaimed(store: Store, state: CollectionState) -> None:
    """Refuse to sweep while another process does.

    Raises:
        LockTimeoutError: A list is claimed, and the claim has not run out.
    """
    if state.claimed_until and state.claimed_until + SKEW_SECONDS > store.timestamp():
        ends = datetime.fromtimestamp(state.claimed_until + SKEW_SECONDS, UTC).isoformat(timespec="seconds")
        raise LockTimeoutError(
            f"somebody else collects in {store.address}",
            hint=f"wait; should that one be dead, its claim ends at {ends}",
        )


def use_key(req_id: str, full_id: str, arch: str) -> str:
    """Return the key of the use of an environment; `any` stands for all architectures."""
    return f"{USES}{req_id}/{full_id}/{arch}.json"


def used_ids(info: ObjectInfo) -> tuple[str, str] | None:
    """Return the ids (req_id, full_id) of which an object below `USES` is a use; None for any other object."""
    parts = info.key.removeprefix(USES).split("/")
    return (parts[0], parts[1]) if len(parts) == 3 else None


def is_of_a_launch(info: ObjectInfo) -> bool:
    """Return whether a use is of an environment that was there, not of one that somebody was publishing."""
    return not info.key.endswith(f"{PUBLISHING}.json")


async def note_use(store: Store, ids: tuple[str, str], arch: str = "any", directories: Collection[str] = ()) -> None:
    """Say that an environment is used now.

    Args:
        store: An open store.
        ids: (req_id, full_id).
        arch: conda platform; `any` where the use is of a name.
        directories: Source directories of its packages, where its document may not be in the store.

    Raises:
        StoreError: The store cannot be written.
    """
    text = json.dumps({"schema": 1, "directories": sorted(directories)})
    await store.put(use_key(*ids, arch), text.encode("utf-8"))


async def used_directories(store: Store, key: str) -> list[str]:
    """Return the source directories that a use names; none where it cannot be read.

    Raises:
        StoreError: The store cannot be read.
    """
    with suppress(ObjectNotFoundError, ValueError, KeyError, TypeError):
        return [str(each) for each in read_json(await store.get(key))["directories"]]
    return []


async def unclaimed(store: Store) -> bool:
    """Wait until the list that is claimed now is done; return whether anything was ever marked here.

    Call it after a use was written, and look again afterwards whether what shall be named is there: whoever claims a
    list later meets the use.

    Args:
        store: An open store.

    Raises:
        StoreError: The store cannot be read.
    """
    first = (await read_state(store)).state
    latest = first
    while latest.claimed_until and latest.claimed_until + SKEW_SECONDS > store.timestamp():
        if (latest.mark, latest.done, latest.claimed_until) != (first.mark, first.done, first.claimed_until):
            break
        await asyncio.sleep(LOOK_EVERY)  # ends with the claim
        latest = (await read_state(store)).state
    return bool(latest.marked_at)


async def about_to_name(
    store: Store,
    ids: tuple[str, str],
    arch: str = "any",
    directories: Collection[str] = (),
) -> bool:
    """Let nobody collect what is going to be named; where nothing was ever marked, nothing is written.

    Args:
        store: An open store.
        ids: As in `note_use`, and so are `arch` and `directories`.
        arch: conda platform.
        directories: Of packages.

    Returns:
        Whether the caller has to look again whether what it names is there.

    Raises:
        StoreError: The store cannot be read or written.
    """
    if (await read_state(store)).etag is None:
        return False  # what is marked from now on is swept an hour later at the earliest
    await note_use(store, ids, arch, directories)
    return await unclaimed(store)
