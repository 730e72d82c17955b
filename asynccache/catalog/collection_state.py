"""What is being collected in a store: one object, which is changed by compare-and-swap.

asynccache/gc/state.json                 what was marked, what of it is swept, which lists are claimed for how long
asynccache/gc/MARK/NAME-NUMBER.json      a list of candidates, of one shard of the mark
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Any, Final

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
from asynccache.store.base import Store

GC: Final = f"{layout.OWN}/gc/"
STATE_KEY: Final = f"{GC}state.json"
CLAIM_SECONDS: Final = 600.0
"""How long a claim lasts; whoever has it ends earlier, by `SKEW_SECONDS`."""
SKEW_SECONDS: Final = 60.0
"""By how much the clocks of two machines may differ."""
_SCHEMA: Final = 2
_TRIES: Final = 100  # tries of a swap that others keep winning: each of them finishes a list in between


@dataclass(frozen=True, slots=True)
class Claim:
    """A list that is being swept.

    Attributes:
        number: Number of the list.
        until: When the claim ends, seconds since the epoch.
    """

    number: int
    until: float


@dataclass(frozen=True, slots=True)
class Lists:
    """The lists of candidates that one shard has written.

    Attributes:
        name: Common part of their keys, different for each worker.
        count: Number of lists.
        environments: How many of them, the first ones, hold environments, which the first shard has.
    """

    name: str
    count: int
    environments: int = 0


@dataclass(frozen=True, slots=True)
class MarkRules:
    """The rules by which the candidates were chosen.

    Attributes:
        keep_days: Days within which objects are kept.
        unreferenced: Whether environments without a root are among the candidates.
        also: Pattern for other objects to collect.
    """

    keep_days: float = 0.0
    unreferenced: bool = False
    also: str = ""


@dataclass(frozen=True, slots=True)
class Marking:
    """A mark that several shards make, each a part of it. Nothing of it is swept before all parts are complete.

    Attributes:
        mark: Its name.
        began_at: Seconds since the epoch.
        shards: Number of parts.
        rules: The rules of all parts.
        parts: Complete parts, by their number from 1.
    """

    mark: str
    began_at: float
    shards: int
    rules: MarkRules
    parts: Mapping[int, Lists] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[int, ...]:
        """Missing parts, from 1."""
        return tuple(index for index in range(1, self.shards + 1) if index not in self.parts)

    def with_part(self, index: int, lists: Lists) -> Marking:
        """Return it with one more part."""
        return replace(self, parts={**self.parts, index: lists})


@dataclass(frozen=True, slots=True)
class CollectionState:
    """What is being collected in a store.

    Attributes:
        mark: Name of the lists of candidates; empty if there are none.
        began_at: When their writer began to read the store, seconds since the epoch.
        marked_at: When all of them were complete, likewise.
        parts: The lists of each shard of the mark. They are numbered consecutively.
        done: Numbers of those that are swept.
        rules: The rules by which the candidates were chosen.
        claims: The lists that are being swept.
        marking: The mark that shards are making; None if there is none.
    """

    mark: str = ""
    began_at: float = 0.0
    marked_at: float = 0.0
    parts: tuple[Lists, ...] = ()
    done: frozenset[int] = frozenset()
    rules: MarkRules = field(default_factory=MarkRules)
    claims: tuple[Claim, ...] = ()
    marking: Marking | None = None

    @property
    def lists(self) -> int:
        """Number of lists."""
        return sum(part.count for part in self.parts)

    @property
    def environments(self) -> int:
        """How many of them, the first ones, hold environments."""
        return self.parts[0].environments if self.parts else 0

    @property
    def waiting(self) -> bool:
        """Whether there are lists that are not swept."""
        return len(self.done) < self.lists

    def key(self, number: int) -> str:
        """Return the key of a list."""
        behind = number
        for part in self.parts:
            if behind < part.count:
                return list_key(self.mark, part.name, behind)
            behind -= part.count
        raise IndexError(number)

    def held(self, now: float) -> set[Claim]:
        """Return the claims that have not expired."""
        return {claim for claim in self.claims if claim.until + SKEW_SECONDS > now}

    def claimed(self, claim: Claim, now: float) -> CollectionState:
        """Return it with another claim, and without expired ones."""
        return replace(self, claims=(*sorted(self.held(now), key=lambda each: each.number), claim))

    def released(self, claim: Claim, *, done: bool) -> CollectionState:
        """Return it without a claim, whose list is swept or not."""
        left = tuple(each for each in self.claims if each != claim)
        return replace(self, claims=left, done=self.done | {claim.number} if done else self.done)

    def to_json(self) -> bytes:
        """Return it as it is stored."""
        said = {
            "schema": _SCHEMA,
            "mark": self.mark,
            "began_at": self.began_at,
            "marked_at": self.marked_at,
            "parts": [_lists(part) for part in self.parts],
            "done": sorted(self.done),
            "rules": _rules(self.rules),
            "claims": [[claim.number, claim.until] for claim in self.claims],
            "marking": None if (making := self.marking) is None else {
                "mark": making.mark,
                "began_at": making.began_at,
                "shards": making.shards,
                "rules": _rules(making.rules),
                "parts": {str(index): _lists(part) for index, part in making.parts.items()},
            },
        }  # fmt: skip
        return json.dumps(said).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> CollectionState:
        """Read it.

        Raises:
            ValueError, KeyError, TypeError: It is not a state.
        """
        said = read_json(data)
        if said["schema"] == 1:  # from before shards were supported: what was marked is marked again
            until = float(said["claimed_until"])
            return cls(marked_at=float(said["marked_at"]), claims=(Claim(0, until),) if until else ())
        making = said["marking"]
        return cls(
            str(said["mark"]),
            float(said["began_at"]),
            float(said["marked_at"]),
            tuple(map(_read_lists, said["parts"])),
            frozenset(map(int, said["done"])),
            MarkRules(**said["rules"]),
            tuple(Claim(int(number), float(until)) for number, until in said["claims"]),
            None if making is None else Marking(
                str(making["mark"]),
                float(making["began_at"]),
                int(making["shards"]),
                MarkRules(**making["rules"]),
                {int(index): _read_lists(part) for index, part in making["parts"].items()},
            ),
        )  # fmt: skip


def list_key(mark: str, name: str, number: int) -> str:
    """Return the key of a list of candidates, from 0, of those that have a name."""
    return f"{GC}{mark}/{name}-{number:05d}.json"


def _lists(part: Lists) -> list[object]:
    return [part.name, part.count, part.environments]


def _read_lists(said: list[Any]) -> Lists:
    name, count, environments = said
    return Lists(str(name), int(count), int(environments))


def _rules(rules: MarkRules) -> dict[str, Any]:
    return {"keep_days": rules.keep_days, "unreferenced": rules.unreferenced, "also": rules.also}


@dataclass(frozen=True, slots=True)
class KnownState:
    """A state that was read, and its version.

    Attributes:
        state: What it says.
        etag: Its version; None if there is no such object.
    """

    state: CollectionState
    etag: str | None

    async def swapped(self, store: Store, state: CollectionState) -> KnownState | None:
        """Replace the state; None if another process has done so meanwhile.

        Raises:
            StoreError: The store cannot be written.
        """
        try:
            info = await store.put(STATE_KEY, state.to_json(), if_absent=self.etag is None, if_match=self.etag)
        except PreconditionFailedError:
            return None
        return KnownState(state, info.etag)

    async def replace(self, store: Store, state: CollectionState) -> KnownState:
        """Replace the state.

        Raises:
            LockTimeoutError: Another process has done so meanwhile.
            StoreError: The store cannot be written.
        """
        known = await self.swapped(store, state)
        if known is None:
            raise _contended(store)
        return known

    async def changed(self, store: Store, change: Callable[[CollectionState], CollectionState | None]) -> KnownState:
        """Change the state, retrying if others change it meanwhile.

        Args:
            store: An open store.
            change: Returns another state; None to leave it as it is.

        Raises:
            LockTimeoutError: Others keep changing it.
            StoreError: The store cannot be read or written.
        """
        known = self
        for _ in range(_TRIES):
            wanted = change(known.state)
            if wanted is None:
                return known
            swapped = await known.swapped(store, wanted)
            if swapped is not None:
                return swapped
            known = await read_state(store)
        raise _contended(store)


async def read_state(store: Store) -> KnownState:
    """Return what is being collected.

    Raises:
        IntegrityError: The object cannot be read.
        StoreError: The store cannot be read.
    """
    try:
        info = await store.head(STATE_KEY)
    except StoreRefusedError:  # a user who may not list gets "forbidden" for an absent object
        info = None
    if info is None:
        return KnownState(CollectionState(), None)
    try:
        return KnownState(CollectionState.from_json(await store.get(STATE_KEY)), info.etag)
    except ObjectNotFoundError:
        return KnownState(CollectionState(), None)
    except (ValueError, KeyError, TypeError) as exc:
        raise IntegrityError(
            f"{STATE_KEY} in {store.address} cannot be read ({exc})", hint="remove it; what was marked is marked again"
        ) from exc


def check_unclaimed(store: Store, state: CollectionState) -> None:
    """Refuse to sweep while another process does.

    Raises:
        LockTimeoutError: A list is claimed, and the claim has not expired.
    """
    if held := state.held(store.timestamp()):
        last = max(claim.until for claim in held) + SKEW_SECONDS
        ends = datetime.fromtimestamp(last, UTC).isoformat(timespec="seconds")
        raise LockTimeoutError(
            f"somebody else collects in {store.address}",
            hint=f"wait; should that one be dead, its claim ends at {ends}",
        )


def _contended(store: Store) -> LockTimeoutError:
    return LockTimeoutError(f"somebody else collects in {store.address} at the same time", hint="let one of them do it")
