"""Aliases of environments in a store: an immutable one is won by exactly one writer, a mutable one moves step by step.

An immutable alias is one conditional write. A mutable one moves by compare-and-swap, and every move is an entry in a
hash-chained log beside it, which other readers ignore. If another writer, or a crash between move and entry, leaves the
log behind, the next reader or mover notices from the last entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Final, Literal

from asynccache.catalog.collection import about_to_name
from asynccache.catalog.documents import read_twice
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
from asynccache.model.digest import checked_hex
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID, checked_ids
from asynccache.model.platform import ARCHITECTURES, checked_architecture
from asynccache.node.json_text import read_json
from asynccache.runtime.author import author
from asynccache.runtime.tasks import run_together
from asynccache.store import journal
from asynccache.store.base import ObjectInfo, Store

_SWAPS: Final = 200  # attempts of a compare-and-swap before giving up
_UNCHAINED: Final = ("host", "command", "version")
_LATER: Final = (*_UNCHAINED, "digests")  # fields that earlier versions do not know
Ids = tuple[str, str]
"""(req_id, full_id)"""
Followed = Literal["there", "moved", "moved on"]
"""What came of a name that was to follow another store's."""


@dataclass(frozen=True, slots=True)
class Move(Documented):
    """One entry in the history of a mutable alias.

    Attributes:
        number: From 1.
        when: UTC, ISO 8601 with zone: only asynccache reads this log, so its times can have a zone.
        by: Who moved it; `another writer` if the move was only noticed.
        source: (req_id, full_id) before, None for the first.
        target: (req_id, full_id) after.
        previous: SHA-256 of the entry before, empty for the first.
        host: The machine; empty in entries of earlier versions and of moves that were only noticed.
        command: The command, without its arguments.
        version: Version of asynccache.
        digests: Architecture -> sha256 of the environment after, as far as it was known then.
    """

    number: int
    when: str
    by: str
    source: Ids | None
    target: Ids
    previous: str
    host: str = ""
    command: str = ""
    version: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the entry as it is stored."""
        return json.dumps(self.as_document(), sort_keys=True).encode("ascii")

    @property
    def digest(self) -> str:
        """SHA-256 of the fields that earlier versions know, too, so that they can continue the chain."""
        chained = {name: value for name, value in self.as_document().items() if name not in _LATER}
        return hashlib.sha256(json.dumps(chained, sort_keys=True).encode("ascii")).hexdigest()

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
                **{name: str(document.get(name, "")) for name in _UNCHAINED},
                digests=_digests(document.get("digests") or {}),
            )
        except (ValueError, KeyError, TypeError, UsageError) as exc:
            raise IntegrityError(f"an entry of an alias's history is malformed ({exc})") from exc


class Aliases:
    """Reads, assigns and moves aliases.

    Args:
        store: An open store that honours conditional writes.
        keys: Keys of aliases.
        user: The user who moves aliases; None for the operating system's user.
    """

    def __init__(self, store: Store, keys: CatalogKeys | None = None, user: str | None = None) -> None:
        self._store = store
        self._keys = keys or CatalogKeys()
        self._author = author(user)
        self._user = self._author.user

    async def get(self, alias: Alias) -> Ids | None:
        """Return what an alias refers to; None if it does not exist.

        Raises:
            IntegrityError: Its object is not readable.
        """
        return await read_twice(self._store, self._keys.alias(alias), lambda data: _ids(alias, data))

    async def assign(self, alias: Alias, ids: Ids, digests: Mapping[str, str] | None = None) -> bool:
        """Assign an alias to an environment, or move a mutable one; return whether anything changed.

        Args:
            alias: The alias.
            ids: Of the environment.
            digests: Architecture -> sha256 of the environment, for the history.

        Raises:
            AliasTakenError: The alias is immutable and refers to another environment; the message says which and since
                when.
            StoreError: The store cannot guarantee that exactly one writer wins.
        """
        await self._require_conditions(alias)
        await self._keep(alias, ids)
        return await (self._move(alias, ids, digests or {}) if alias.mutable else self._create(alias, ids))

    async def _keep(self, alias: Alias, ids: Ids) -> None:
        """Protect what gets an alias from collection.

        Raises:
            ObjectNotFoundError: It has been collected.
        """
        if not await about_to_name(self._store, ids):
            return
        documents = [self._keys.document(EnvID(*ids, arch)) for arch in ARCHITECTURES]
        if not any(await run_together([self._store.head(key) for key in documents])):
            raise ObjectNotFoundError(
                f"{alias} is not given: {self._store.address} has no document of {ids[0]}:{ids[1]}",
                hint=f"`asynccache warm --env {ids[0]}:{ids[1]}` publishes one",
            )

    async def _create(self, alias: Alias, ids: Ids) -> bool:
        try:
            await self._store.put(self._keys.alias(alias), json.dumps(list(ids)).encode("ascii"), if_absent=True)
        except PreconditionFailedError:
            await self._check_given(alias, ids)
            return False
        return True

    async def _check_given(self, alias: Alias, ids: Ids) -> None:
        """Raise `AliasTakenError` unless an existing alias refers to this environment."""
        current = await self._read(alias)
        if current is None or current[0] != ids:
            holder = f"{current[0][0]}:{current[0][1]}" if current else "an environment that vanished meanwhile"
            raise AliasTakenError(
                f"{alias} is immutable and refers to {holder}{_since(current)}",
                hint="choose another tag, or use latest, candidate or stable for a name that moves",
            ) from None

    async def _move(self, alias: Alias, ids: Ids, digests: Mapping[str, str]) -> bool:
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
            await self._log(alias, None if current is None else current[0], ids, logged, digests)
            return True
        raise self._contended(alias)

    async def follow(
        self, original: Aliases, alias: Alias, wanted: Ids, *, anyway: bool = False, write: bool = True
    ) -> Followed:
        """Make an alias refer to what it refers to in another store, after copying its history.

        An alias that is behind the other store's, all of whose targets are in the other's history, is moved. One that
        was moved differently in this store has moved on, and is kept.

        Args:
            original: The aliases of the other store.
            alias: The alias.
            wanted: What it refers to in the other store.
            anyway: Also move one that has moved on, as another move in its history in this store.
            write: Change the store; otherwise only return what would happen.

        Raises:
            AliasTakenError: The alias is immutable and refers to another environment in this store.
            IntegrityError: Its object in this store is not readable.
            StoreError: This store cannot guarantee that exactly one writer wins.
        """
        if write:
            await self._require_conditions(alias)
        if not alias.mutable:
            given = await self.get(alias)
            if given is not None:
                if given != wanted:
                    await self._check_given(alias, wanted)
                return "there"
            if write:
                await self._keep(alias, wanted)
            return "moved" if not write or await self._create(alias, wanted) else "there"
        for _ in range(_SWAPS):
            current = await self._read(alias)
            here, there = await run_together([self._entries(alias), original._entries(alias)])
            lacking = await self._lacking(original, here, there)
            same = current is not None and current[0] == wanted
            if current is not None and not same and not await original._stood_for(current[0], here[-1:], lacking):
                if anyway and write:
                    await self._move(alias, wanted, {})
                return "moved" if anyway else "moved on"
            outcome: Followed = "there" if same else "moved"
            if not write:
                return outcome
            if not same:
                await self._keep(alias, wanted)
            with suppress(PreconditionFailedError):  # another process moved it meanwhile: look again
                for key, data in await original._moves_upto(wanted, lacking or ()):
                    await self._store.put(key, data, if_absent=True)
                if not same:
                    data = json.dumps(list(wanted)).encode("ascii")
                    version = None if current is None else current[1].etag
                    await self._store.put(self._keys.alias(alias), data, if_absent=current is None, if_match=version)
                return outcome
        raise self._contended(alias)

    async def _lacking(self, original: Aliases, here: list[str], there: list[str]) -> list[str] | None:
        """Return the entries by which another store's history continues the one in this store; None if it does not."""
        if here != there[: len(here)]:
            return None
        if here and len(here) < len(there) and await self._store.get(here[-1]) != await original._store.get(here[-1]):
            return None  # each entry contains the digest of the previous one
        return there[len(here) :]

    async def _stood_for(self, ids: Ids, last: list[str], later: list[str] | None) -> bool:
        """Return whether the last entry in both stores, or one that only this store has, is a move to this
        environment.
        """
        if later is None:
            return False
        return any([Move.from_json(await self._store.get(key)).target == ids for key in (*last, *later)])

    async def _moves_upto(self, ids: Ids, entries: Sequence[str]) -> list[tuple[str, bytes]]:
        """Return entries up to the last one that is a move to this environment; all if none is, as it is not recorded
        yet.
        """
        found = [(key, await self._store.get(key)) for key in entries]
        ends = [number for number, (_key, data) in enumerate(found, 1) if _target_of(data) == ids]
        return found[: ends[-1]] if ends else found

    async def _require_conditions(self, alias: Alias) -> None:
        if not (await self._store.capabilities()).conditional_put:
            raise StoreRefusedError(
                f"{self._store.address} ignores conditional writes, so {alias} cannot be given safely",
                hint="use a store that honours If-None-Match; `asynccache doctor` checks that",
            )

    def _contended(self, alias: Alias) -> StoreError:
        return StoreError(
            f"{alias} could not be moved: other writers moved it {_SWAPS} times meanwhile", hint="try again"
        )

    async def history(self, alias: Alias) -> list[Move]:
        """Return every move of a mutable alias, oldest first.

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
        """Rebuild the chain of a broken history from what is left, in order, and return it as `history` does.

        Unreadable entries are removed, as are duplicates; the alias itself does not change.
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
        gone = [key for key in keys if key not in kept]
        if gone:
            await journal.enter(self._store, "delete", gone, user=self._user)
        for key in gone:
            await self._store.delete(key)
        return await self.history(alias)

    async def rollback(self, alias: Alias, *, to: int | None = None) -> Ids:
        """Move a mutable alias back; return what it refers to now.

        Args:
            alias: The alias.
            to: Number of the move whose target it gets again; None for the last but one.

        Raises:
            UsageError: The alias is immutable, or has no such move.
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
        await self.assign(alias, target, moves[number - 1].digests)
        return target

    async def names(self, prefix: str = "") -> AsyncIterator[tuple[Alias, ObjectInfo]]:
        """Yield all valid aliases that begin with a text, in order."""
        async for info in self._store.scan(self._keys.alias_prefix + prefix):
            name, _, tag = info.key.removeprefix(self._keys.alias_prefix).rpartition("/")
            with suppress(UsageError):
                alias = Alias.parse(f"{name}:{tag}")
                if alias.kind == "generic":
                    yield alias, info

    async def _log(
        self, alias: Alias, source: Ids | None, target: Ids, logged: int, digests: Mapping[str, str]
    ) -> None:
        """Record a move that was just made.

        A later mover may have recorded it already, as noticed; `logged` is the number of entries before the move.
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
            known = {name: getattr(self._author, name) for name in _UNCHAINED} if noticed is None else {}
            entry = Move(number, now, *moved, last.digest if last else "", **known)
            entry = replace(entry, digests=dict(digests)) if noticed is None else entry
            try:
                await self._store.put(self._keys.log_entry(alias, entry.number), entry.to_json(), if_absent=True)
            except PreconditionFailedError:
                continue
            if noticed is None:
                return
        raise StoreError(f"the move of {alias} could not be entered in its history", hint="the name itself has moved")

    async def _entries(self, alias: Alias) -> list[str]:
        """Return the keys of an alias's history, oldest entry first."""
        scanned = self._store.scan(self._keys.log_prefix(alias))
        return [info.key async for info in scanned if self._keys.log_number(alias, info.key) is not None]

    async def _read(self, alias: Alias) -> tuple[Ids, ObjectInfo] | None:
        key = self._keys.alias(alias)
        # the version first: if the object changes before it is read, the swap fails and is retried
        info = await self._store.head(key)
        if info is None:
            return None
        ids = await read_twice(self._store, key, lambda data: _ids(alias, data))
        return None if ids is None else (ids, info)


def _ids(alias: Alias, data: bytes) -> Ids:
    try:
        return checked_ids(read_json(data))
    except (ValueError, UsageError) as exc:
        raise IntegrityError(
            f"the alias {alias} is damaged", expected='["REQ_ID", "FULL_ID"]', found=repr(data[:80])
        ) from exc


def _target_of(data: bytes) -> Ids | None:
    with suppress(IntegrityError):
        return Move.from_json(data).target
    return None


def _digests(said: object) -> dict[str, str]:
    if not isinstance(said, dict):
        raise TypeError("its digests are no map")
    return {checked_architecture(arch): checked_hex("sha256", digest) for arch, digest in said.items()}


def _since(current: tuple[Ids, ObjectInfo] | None) -> str:
    if current is None or current[1].modified is None:
        return ""
    return datetime.fromtimestamp(current[1].modified, UTC).strftime(" since %Y-%m-%d %H:%M:%S UTC")
