"""Names of environments in a store: an immutable one is won by exactly one writer, a mutable one moves step by step.

An immutable name is one conditional write. A mutable one moves by compare-and-swap, and every move is an entry in a
hash-chained log beside it (ours alone: other readers do not know it and are not disturbed by it). Should another
writer, or a crash between move and entry, leave the log behind, the next reader or mover notices by the last entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Final

from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import (
    AliasTakenError,
    IntegrityError,
    ObjectNotFoundError,
    PreconditionFailedError,
    StoreError,
    StoreRefusedError,
    UsageError,
)
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.identity import checked_ids
from asynccache.node.json_text import read_json
from asynccache.node.user import user_name
from asynccache.store.base import ObjectInfo, Store

_SWAPS: Final = 200  # attempts of a compare-and-swap before giving up
Ids = tuple[str, str]
"""(req_id, full_id)"""


@dataclass(frozen=True, slots=True)
class Move:
    """One entry in the history of a mutable name.

    Attributes:
        number: From 1.
        when: UTC, ISO 8601 with zone: this log is ours, so its times can say what they mean.
        by: Who moved it; `another writer` when the move was only noticed.
        source: (req_id, full_id) before, None for the first.
        target: (req_id, full_id) after.
        previous: SHA-256 of the entry before, empty for the first.
    """

    number: int
    when: str
    by: str
    source: Ids | None
    target: Ids
    previous: str

    def as_document(self) -> dict[str, object]:
        """Return the entry as plain values."""
        return asdict(self)

    def to_json(self) -> bytes:
        """Return the entry as it is stored and hashed."""
        return json.dumps(self.as_document(), sort_keys=True).encode("ascii")

    @property
    def digest(self) -> str:
        """SHA-256 of the entry."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @classmethod
    def from_json(cls, data: bytes) -> Move:
        """Read an entry.

        Raises:
            IntegrityError: It is not one.
        """
        try:
            document = read_json(data)
            source = document["source"]
            return cls(
                int(document["number"]),
                str(document["when"]),
                str(document["by"]),
                None if source is None else checked_ids(source),
                checked_ids(document["target"]),
                str(document["previous"]),
            )
        except (ValueError, KeyError, TypeError, UsageError) as exc:
            raise IntegrityError(f"an entry of an alias's history is malformed ({exc})") from exc


class Aliases:
    """Reads, gives and moves names.

    Args:
        store: An open store that honours conditional writes.
        keys: Where names lie.
        user: Who moves names; the operating system's user when None.
    """

    def __init__(self, store: Store, keys: CatalogKeys | None = None, user: str | None = None) -> None:
        self._store = store
        self._keys = keys or CatalogKeys()
        self._user = user or user_name()

    async def get(self, alias: Alias) -> Ids | None:
        """Return what a name stands for, None when it is not given.

        Raises:
            IntegrityError: Its object is not readable.
        """
        current = await self._read(alias)
        return None if current is None else current[0]

    async def assign(self, alias: Alias, ids: Ids) -> bool:
        """Give a name to an environment, or move a mutable one; return whether anything changed.

        Raises:
            AliasTakenError: The name is immutable and stands for another environment; says which and since when.
            StoreError: The store cannot promise that exactly one writer wins.
        """
        if not (await self._store.capabilities()).conditional_put:
            raise StoreRefusedError(
                f"{self._store.address} ignores conditional writes, so {alias} cannot be given safely",
                hint="use a store that honours If-None-Match; `asynccache doctor` tells",
            )
        return await (self._move(alias, ids) if alias.mutable else self._create(alias, ids))

    async def _create(self, alias: Alias, ids: Ids) -> bool:
        try:
            await self._store.put(self._keys.alias(alias), json.dumps(list(ids)).encode("ascii"), if_absent=True)
        except PreconditionFailedError:
            current = await self._read(alias)
            if current is not None and current[0] == ids:
                return False
            holder = f"{current[0][0]}:{current[0][1]}" if current else "an environment that vanished meanwhile"
            raise AliasTakenError(
                f"{alias} is immutable and stands for {holder}{_since(current)}",
                hint="choose another tag, or use latest, candidate or stable for a name that moves",
            ) from None
        return True

    async def _move(self, alias: Alias, ids: Ids) -> bool:
        data = json.dumps(list(ids)).encode("ascii")
        for _ in range(_SWAPS):
            current = await self._read(alias)
            if current is not None and current[0] == ids:
                return False
            logged = len(await self._entries(alias))
            there = None if current is None else current[1].etag
            try:
                await self._store.put(self._keys.alias(alias), data, if_absent=current is None, if_match=there)
            except PreconditionFailedError:
                continue
            await self._log(alias, None if current is None else current[0], ids, logged)
            return True
        raise StoreError(
            f"{alias} could not be moved: other writers moved it {_SWAPS} times meanwhile", hint="try again"
        )

    async def history(self, alias: Alias) -> list[Move]:
        """Return every move of a mutable name, the first one first.

        A move that another writer made without an entry is the last element, by `another writer`.

        Raises:
            IntegrityError: The chain is broken: an entry was changed or removed.
        """
        moves = [Move.from_json(await self._store.get(key)) for key in await self._entries(alias)]
        previous = ""
        for number, move in enumerate(moves, 1):
            if move.previous != previous or move.number != number:
                raise IntegrityError(
                    f"the history of {alias} is broken at entry {number}",
                    expected=f"an entry that follows {previous[:12] or 'nothing'}",
                    found=f"entry {move.number} that follows {move.previous[:12] or 'nothing'}",
                    hint="`asynccache env history --repair` chains what is left",
                )
            previous = move.digest
        current = await self._read(alias)
        if current is not None and (not moves or moves[-1].target != current[0]):
            when = current[1].modified
            moved = datetime.fromtimestamp(when, UTC).isoformat() if when is not None else ""
            source = moves[-1].target if moves else None
            moves.append(Move(len(moves) + 1, moved, "another writer", source, current[0], previous))
        return moves

    async def repair(self, alias: Alias) -> list[Move]:
        """Chain what is left of a broken history again, in order, and return it as `history` does.

        Entries that cannot be read are removed, as are those that say the same move twice; the name itself stays.
        """
        keys = await self._entries(alias)
        left: list[Move] = []
        for key in keys:
            try:
                move = Move.from_json(await self._store.get(key))
            except IntegrityError:
                continue
            if not left or left[-1].target != move.target:
                left.append(move)
        previous = ""
        for number, move in enumerate(left, 1):
            source = left[number - 2].target if number > 1 else move.source
            chained = replace(move, number=number, source=source, previous=previous)
            if chained != move or keys[number - 1] != self._keys.log_entry(alias, number):
                await self._store.put(self._keys.log_entry(alias, number), chained.to_json())
            previous = chained.digest
        kept = {self._keys.log_entry(alias, number) for number in range(1, len(left) + 1)}
        for key in keys:
            if key not in kept:
                await self._store.delete(key)
        return await self.history(alias)

    async def rollback(self, alias: Alias, *, to: int | None = None) -> Ids:
        """Move a mutable name back; return what it stands for now.

        Args:
            alias: Which.
            to: Number of the move whose target it shall have again; the one before the last when None.

        Raises:
            UsageError: The name is immutable, or has no such move.
        """
        if not alias.mutable:
            raise UsageError(
                f"{alias} is immutable and has no history to go back in", expected="latest, candidate, stable"
            )
        moves = await self.history(alias)
        number = len(moves) - 1 if to is None else to
        if to is None and len(moves) < 2:
            raise UsageError(f"{alias} has moved only once, so there is nothing to go back to")
        if not 1 <= number <= len(moves):
            raise UsageError(f"{alias} has no move to go back to", expected=f"1 to {len(moves)}", found=number)
        target = moves[number - 1].target
        await self.assign(alias, target)
        return target

    async def names(self, prefix: str = "") -> AsyncIterator[tuple[Alias, ObjectInfo]]:
        """Yield all names that begin with a text, in order; what nobody could give as a name is none."""
        async for info in self._store.scan(self._keys.alias_prefix + prefix):
            name, _, tag = info.key.removeprefix(self._keys.alias_prefix).rpartition("/")
            with suppress(UsageError):
                alias = Alias.parse(f"{name}:{tag}")
                if alias.kind == "generic":
                    yield alias, info

    async def _log(self, alias: Alias, source: Ids | None, target: Ids, logged: int) -> None:
        """Enter a move that was just made.

        A mover that comes right after may have entered it already, as noticed; `logged` is how many entries there were
        before the move.
        """
        for _ in range(_SWAPS):
            entries = await self._entries(alias)
            later = [Move.from_json(await self._store.get(key)) for key in entries[logged:]]
            if any((move.source, move.target) == (source, target) for move in later):
                return
            last = later[-1] if later else None
            if last is None and entries:
                last = Move.from_json(await self._store.get(entries[-1]))
            now = datetime.now(UTC).isoformat()
            before = last.target if last else None
            number = (self._keys.log_number(alias, entries[-1]) or 0) + 1 if entries else 1
            noticed = source if before != source else None
            moved = (self._user, source, target) if noticed is None else ("another writer", before, noticed)
            entry = Move(number, now, *moved, last.digest if last else "")
            try:
                await self._store.put(self._keys.log_entry(alias, entry.number), entry.to_json(), if_absent=True)
            except PreconditionFailedError:
                continue
            if noticed is None:
                return
        raise StoreError(f"the move of {alias} could not be entered in its history", hint="the name itself has moved")

    async def _entries(self, alias: Alias) -> list[str]:
        """Return the keys of a name's history, the first entry first."""
        scanned = self._store.scan(self._keys.log_prefix(alias))
        return [info.key async for info in scanned if self._keys.log_number(alias, info.key) is not None]

    async def _read(self, alias: Alias) -> tuple[Ids, ObjectInfo] | None:
        key = self._keys.alias(alias)
        # the version first: if the object changes before it is read, the swap fails and is tried again
        info = await self._store.head(key)
        if info is None:
            return None
        try:
            data = await self._store.get(key)
        except ObjectNotFoundError:
            return None
        try:
            return checked_ids(read_json(data)), info
        except (ValueError, UsageError) as exc:
            raise IntegrityError(
                f"the alias {alias} is damaged", expected='["REQ_ID", "FULL_ID"]', found=repr(data[:80])
            ) from exc


def _since(current: tuple[Ids, ObjectInfo] | None) -> str:
    if current is None or current[1].modified is None:
        return ""
    return datetime.fromtimestamp(current[1].modified, UTC).strftime(" since %Y-%m-%d %H:%M:%S UTC")
