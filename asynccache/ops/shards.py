"""How workers that know nothing of each other agree on who does which part of a store.

    asynccache/shards/COMMAND-HASH/N/planner.json    who planned
    asynccache/shards/COMMAND-HASH/N.json            the places between N ranges of keys, created once
    asynccache/shards/COMMAND-HASH/N/I.json          how far shard I has come (`shard_journal`)

The hash stands for what is done and for the run, so that workers of one job meet and those of another do not. The first
worker writes the plan, the others take what they find. A plan stays right when the store grows: its ranges leave no key
out. A run of another name makes a plan of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Literal

from asynccache.errors import IntegrityError, ObjectNotFoundError, PreconditionFailedError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document
from asynccache.model.shard import Shard
from asynccache.node.json_text import read_json
from asynccache.runtime.author import author
from asynccache.runtime.clock import Clock
from asynccache.store import layout, partition
from asynccache.store.base import Store
from asynccache.store.key_range import LAST, WHOLE, KeyRange, Order, order_shown_by

How = Literal["sampled", "counted"]
_TURN: Final = 0.25  # seconds that shard I waits I - 1 times for the plan of another, at most
_LONGEST_TURN: Final = 5.0
_LOOK_EVERY: Final = 0.5
_NOTHING: Final = KeyRange(LAST, LAST)


@dataclass(frozen=True, slots=True)
class Division:
    """What is divided, and among how many.

    Attributes:
        command: Which job, such as `backfill`.
        about: What else tells one job from another: the selection, the name of the run.
        prefix: Of the keys that are divided, with a slash at its end.
        count: Of the shards.
    """

    command: str
    about: tuple[str | None, ...]
    prefix: str
    count: int

    @property
    def base(self) -> str:
        """What all its objects' keys begin with."""
        text = json.dumps([self.prefix, *self.about])
        return f"{layout.OWN}/shards/{self.command}-{hashlib.sha256(text.encode()).hexdigest()[:16]}/{self.count}"

    @property
    def plan_key(self) -> str:
        """Key of the plan."""
        return f"{self.base}.json"

    def part_key(self, index: int) -> str:
        """Key of what is kept of the shard `index`, from 1."""
        return part_key(self.base, index)


def part_key(base: str, index: int) -> str:
    """Return the key of what is kept of a shard, from 1; `base` is that of its division."""
    return f"{base}/{index}.json"


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """The ranges that workers have agreed on.

    Attributes:
        places: The last place of each range but the last, in the store's order.
        how: Found by looking at a part of the keys, or by listing all of them.
        order: How the store orders keys.
    """

    places: tuple[str, ...]
    how: How
    order: Order

    def range(self, shard: Shard) -> KeyRange:
        """Return the part of a shard; one that holds nothing if there was too little to divide."""
        if shard.index > len(self.places) + 1:
            return _NOTHING
        ends = ("", *self.places, "")
        return KeyRange(ends[shard.index - 1], ends[shard.index], self.order)


def range_of_known(units: Iterable[tuple[str, float]], shard: Shard) -> KeyRange:
    """Return the part of a shard of source directories that all workers know, with their weights: they agree anyhow."""
    return ShardPlan(tuple(partition.given(units, shard.count)), "counted", "bytes").range(shard)


async def range_of(
    store: Store,
    division: Division,
    shard: Shard | None,
    clock: Clock,
    *,
    write: bool = True,
    kept: Store | None = None,
) -> KeyRange:
    """Return the part of a shard by the plan that is there, or make one.

    Args:
        store: An open store.
        division: What is divided.
        shard: Which part; None or the only one for all, for which nothing is read or written.
        clock: Time to wait on: later shards leave it to the first ones to plan.
        write: Keep a plan that is made; without it others may find another one.
        kept: Where the plan is kept; None in the store that is divided.

    Raises:
        StoreError: The store cannot be listed, or the plan cannot be written.
        IntegrityError: The plan cannot be read.
    """
    if shard is None or shard.count == 1:
        return WHOLE
    turn = min(_TURN * (shard.index - 1), _LONGEST_TURN) if write else 0.0
    ends = clock.now() + turn
    while (plan := await _read(store, division, kept or store)) is None and clock.now() < ends:
        await clock.sleep(min(_LOOK_EVERY, ends - clock.now()))
    if plan is None:
        plan = await make_plan(store, division, write=write, kept=kept)
    return plan.range(shard)


async def make_plan(
    store: Store,
    division: Division,
    *,
    exactly: bool = False,
    write: bool = True,
    kept: Store | None = None,
) -> ShardPlan:
    """Make the plan; what another process has written meanwhile is taken in its place.

    Args:
        store: An open store.
        division: What is divided.
        exactly: List all keys once, so that shards weigh the same; else a number of requests that does not grow with
            the store.
        write: As in `range_of`.
        kept: As in `range_of`.

    Raises:
        StoreError: The store cannot be listed, or the plan cannot be written.
    """
    places: list[str] | None = None
    how: How = "sampled"
    if exactly or not store.lists_from_anywhere:
        how, places = "counted", await partition.counted(store, division.prefix, division.count)
    if places is None:
        places = await partition.sampled(store, division.prefix, division.count)
    if not write:
        return ShardPlan(tuple(places), how, "bytes")
    made = {"made_at": datetime.now(UTC).isoformat(), **document(author())}
    plan = {"version": 1, "prefix": division.prefix, "count": division.count, "how": how, "places": places}
    # first who plans: both objects together show in which order the store lists
    for key, value in ((f"{division.base}/planner.json", made), (division.plan_key, plan)):
        try:
            await (kept or store).put(key, json.dumps(value).encode("ascii"), if_absent=True)
        except PreconditionFailedError:
            continue
    agreed = await _read(store, division, kept or store)
    if agreed is None:
        raise ObjectNotFoundError(
            f"{division.plan_key} was removed from {(kept or store).address} while it was being made"
        )
    return agreed


async def _read(store: Store, division: Division, kept: Store) -> ShardPlan | None:
    try:
        data = await kept.get(division.plan_key)
    except ObjectNotFoundError:
        return None
    try:
        said = read_json(data)
        places, how = tuple(map(str, said["places"])), said["how"]
        right = said["version"] == 1 and said["count"] == division.count and len(places) < division.count
    except (ValueError, KeyError, TypeError):
        right = False
    if not right:
        raise IntegrityError(
            f"{division.plan_key} in {kept.address} is no plan of {division.count} shards",
            hint="remove it, and start all shards again",
        )
    # in another store the plan's own objects show nothing of the order in which this one lists
    return ShardPlan(places, how, await order_shown_by(store, division.base) if kept is store else "bytes")
