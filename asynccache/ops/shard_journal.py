"""How far a job, or one shard of it, has come: kept in the store, so that it goes on wherever it is started next.

What is counted belongs to the mark: everything that is before it, and nothing else. So what a killed worker did behind
its last mark is done or found done by the one that goes on and is counted there, and the counts of all shards add up.
What one looks at, a source directory or an archive, is a unit here; units come in the order of the store.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from typing import Any, Final, Generic, Protocol, Self, TypeVar

from asynccache.errors import AsyncCacheError, ObjectNotFoundError, PreconditionFailedError, StoreError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented, document
from asynccache.node.json_text import read_json
from asynccache.runtime.author import author
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_works
from asynccache.store.base import Store

SAVE_EVERY: Final = 5.0
"""Seconds: what a killed worker has done since is looked at again."""
_TRIES: Final = 3  # of a swap that others keep winning
_AT_ONCE: Final = 16  # journals that are read


class Tally(Protocol):
    """What came of units, added up."""

    @property
    def looked_at(self) -> int:
        """How many there are in all."""

    def add(self, other: Self) -> None:
        """Add what came of others."""

    def forget_failure(self, unit: str) -> None:
        """Take out one that failed, and is retried."""

    def as_document(self) -> dict[str, Any]:
        """Return it as plain values."""

    @classmethod
    def from_document(cls, said: Mapping[str, Any]) -> Self:
        """Read what `as_document` wrote; KeyError, TypeError or ValueError where it is something else."""


T = TypeVar("T", bound=Tally)


class _Begun(Generic[T]):
    """A unit that is worked on, and what has ended behind it and is not yet before the mark."""

    def __init__(self, last: str, counts: T) -> None:
        self.last = last
        self.counts = counts
        self.ended = False
        self.failed: set[str] = set()

    def take(self, other: _Begun[T]) -> None:
        """Take over what was kept behind the next unit."""
        self.last = other.last
        self.counts.add(other.counts)
        self.failed |= other.failed


class Journal(Generic[T]):
    """Every unit up to `behind` is done or listed as failed.

    Args:
        store: An open store.
        key: Where it is in it.
        kind: What is counted.

    Attributes:
        behind: The mark; empty at the beginning.
        failed: Units before it that failed.
        counts: What came of those before it.
        complete: Whether everything is done.
    """

    def __init__(self, store: Store, key: str, kind: type[T]) -> None:
        self.key = key
        self.behind = ""
        self.failed: set[str] = set()
        self.counts = kind()
        self.complete = False
        self.loaded = False
        """Whether an earlier worker's was taken over."""
        self.superseded = False
        """Another worker has begun again since: what this one does is done, and not recorded here."""
        self._store = store
        self._kind = kind
        self._generation = secrets.token_hex(8)
        self._begun_at = datetime.now(UTC).isoformat()
        self._etag: str | None = None
        self._begun: dict[str, _Begun[T]] = {}

    async def load(self) -> None:
        """Take over what an earlier worker wrote; an unreadable journal means starting from the beginning.

        Raises:
            StoreError: The store cannot be read.
        """
        found = await self._stored()
        if found is not None:
            said, self.counts = found
            self.loaded = True
            self._generation, self._begun_at = said.generation, said.begun_at
            self.behind, self.failed, self.complete = said.behind, set(said.failed), said.complete

    async def begin_again(self) -> None:
        """Write down that a worker begins at the beginning, whatever others have done.

        Raises:
            StoreError: The store cannot be written.
        """
        self._etag = (await self._store.put(self.key, self._text())).etag

    async def leave(self, counts: T, *, complete: bool) -> None:
        """Write down what one has done who kept no journal meanwhile, whatever others have done.

        Raises:
            StoreError: The store cannot be written.
        """
        self.counts, self.complete = counts, complete
        await self.begin_again()

    def begin(self, unit: str) -> None:
        """Note that work on a unit begins; they begin in order."""
        self._begun[unit] = _Begun(unit, self._kind())

    def passed(self, unit: str, counts: T) -> None:
        """Note a unit on which nothing is to be done, in order with those that begin."""
        if self._begun:
            last = self._begun[next(reversed(self._begun))]
            last.last = unit
            last.counts.add(counts)
        else:
            self.behind = unit
            self.counts.add(counts)

    def end(self, unit: str, counts: T, *, failed: bool = False) -> None:
        """Note what came of a unit that was begun, and move the mark over all that have ended."""
        begun = self._begun.get(unit)
        if begun is None:
            self.tried_again(unit, counts, failed=failed)
            return
        if failed:
            begun.failed.add(unit)
        begun.ended = True
        begun.counts.add(counts)
        before: _Begun[T] | None = None
        for name, each in list(self._begun.items()):
            if not each.ended:
                before = each
                continue
            if before is None:
                self.behind = each.last
                self.counts.add(each.counts)
                self.failed |= each.failed
            else:
                before.take(each)
            del self._begun[name]

    def tried_again(self, unit: str, counts: T | None, *, failed: bool = False) -> None:
        """Note what came of a unit before the mark that had failed; None if it is no longer there."""
        if unit not in self.failed:
            return
        self.counts.forget_failure(unit)
        if not failed:
            self.failed.discard(unit)
        if counts is not None:
            self.counts.add(counts)

    async def save(self) -> None:
        """Write it down, unless another worker is farther or has begun again.

        Raises:
            StoreError: The store cannot be written.
        """
        for _ in range(_TRIES):
            if self.superseded:
                return
            try:
                if self._etag is None:
                    info = await self._store.put(self.key, self._text(), if_absent=True)
                else:
                    info = await self._store.put(self.key, self._text(), if_match=self._etag)
            except PreconditionFailedError:
                there = await self._stored()
                if there is None:
                    self._etag = None
                elif there[0].generation != self._generation:
                    self.superseded = True
                elif there[0].complete or there[1].looked_at > self.counts.looked_at:
                    return
            else:
                self._etag = info.etag
                return

    def _text(self) -> bytes:
        stored = Stored(
            self._generation, self.behind, tuple(sorted(self.failed)), self.complete, self._begun_at,
            datetime.now(UTC).isoformat(),
        )  # fmt: skip
        said = {"version": 1, **stored.as_document(), "counts": self.counts.as_document()}
        return json.dumps({**said, "worker": document(author())}).encode("ascii")

    async def _stored(self) -> tuple[Stored, T] | None:
        found = await read_journal(self._store, self.key, self._kind)
        self._etag = None if found is None else found[2]
        return None if found is None else (found[0], found[1])


@dataclass(frozen=True, slots=True)
class Stored(Documented):
    """What a journal says beside its counts.

    Attributes:
        generation: Of all workers that went on from one beginning.
        behind: The mark.
        failed: Units before it that failed.
        complete: Whether everything is done.
        begun_at: When it was begun; UTC, ISO 8601 with zone.
        updated_at: When it was written, likewise.
    """

    generation: str
    behind: str
    failed: tuple[str, ...]
    complete: bool
    begun_at: str
    updated_at: str


async def read_journal(store: Store, key: str, kind: type[T]) -> tuple[Stored, T, str | None] | None:
    """Return what a journal says, its counts and its version; None if there is none, or it cannot be read.

    Raises:
        StoreError: The store cannot be read.
    """
    info = await store.head(key)  # before: if it changes in between, the swap is lost and tried again
    if info is None:
        return None
    try:
        said = read_json(await store.get(key))
        generation, behind, begun, updated = (
            str(said[name]) for name in ("generation", "behind", "begun_at", "updated_at")
        )
        stored = Stored(generation, behind, tuple(map(str, said["failed"])), said["complete"] is True, begun, updated)
        return stored, kind.from_document(said["counts"]), info.etag
    except ObjectNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return None


@dataclass(slots=True)
class AddedUp(Generic[T]):
    """The journals of all shards of a run.

    Attributes:
        counts: Of all of them.
        shards: How many there are.
        there: Those that have a journal, by their number from 1.
    """

    counts: T
    shards: int
    there: dict[int, Stored] = field(default_factory=dict)

    @property
    def unfinished(self) -> tuple[int, ...]:
        """Shards that are not done, from 1."""
        numbers = range(1, self.shards + 1)
        return tuple(number for number in numbers if number not in self.there or not self.there[number].complete)

    @property
    def begun_at(self) -> str:
        """When the first was begun; empty where none was."""
        return min((each.begun_at for each in self.there.values()), default="")

    @property
    def updated_at(self) -> str:
        """When the last wrote something, likewise."""
        return max((each.updated_at for each in self.there.values()), default="")


async def add_up(store: Store, keys: Sequence[str], kind: type[T]) -> AddedUp[T]:
    """Read the journals of all shards of a run.

    Args:
        store: An open store.
        keys: Of the journals, in the order of the shards.
        kind: What is counted.

    Raises:
        StoreError: One cannot be read.
    """

    async def read(key: str) -> tuple[Stored, T] | None:
        found = await read_journal(store, key, kind)
        return None if found is None else found[:2]

    total = AddedUp(kind(), len(keys))
    for number, each in enumerate(await run_works(keys, read, room=Budget(_AT_ONCE, "journals")), 1):
        if isinstance(each, AsyncCacheError):
            raise each
        if each is not None:
            total.there[number] = each[0]
            total.counts.add(each[1])
    return total


def not_done(
    unfinished: Sequence[int], shards: int, more: str = "", hint: str = "start those shards again"
) -> StoreError:
    """Return the error of a run some of whose shards are not done.

    Args:
        unfinished: Which, from 1.
        shards: How many there are.
        more: What else there is to say.
        hint: What to do.
    """
    some = ", ".join(map(str, unfinished[:10])) + (", ..." if len(unfinished) > 10 else "")
    return StoreError(f"{len(unfinished)} of {shards} shards are not done ({some}){more}", hint=hint)
