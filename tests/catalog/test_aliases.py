"""An immutable name has one winner; a mutable one has a history that cannot be rewritten unnoticed."""

import asyncio
import hashlib
import itertools
import json
import socket

import pytest

from asynccache import __version__
from asynccache.catalog.aliases import Aliases
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import AliasTakenError, IntegrityError, StoreError, UsageError
from asynccache.model.alias import Alias
from asynccache.runtime.author import named_command
from asynccache.store import journal
from asynccache.store.base import Capabilities
from asynccache.store.memory import MemoryStore

V1, LATEST = Alias.parse("team/env:v1"), Alias.parse("team/env:latest")
KEYS = CatalogKeys()


def _ids(number: int) -> tuple[str, str]:
    return f"{number:040x}", f"{number + 1000:040x}"


async def test_of_many_racers_for_an_immutable_name_exactly_one_wins_and_the_others_learn_who() -> None:
    store = MemoryStore()
    results = await asyncio.gather(
        *(Aliases(store, user=f"user{n}").assign(V1, _ids(n)) for n in range(200)), return_exceptions=True
    )
    winners = [n for n, result in enumerate(results) if result is True]
    assert len(winners) == 1
    holder = ":".join(_ids(winners[0]))
    losers = [r for r in results if r is not True]
    assert all(isinstance(r, AliasTakenError) and holder in str(r) and "since 20" in str(r) for r in losers)
    assert await Aliases(store).get(V1) == _ids(winners[0])


async def test_giving_a_name_to_the_same_environment_again_is_no_error() -> None:
    aliases = Aliases(MemoryStore())
    assert await aliases.assign(V1, _ids(1)) is True
    assert await aliases.assign(V1, _ids(1)) is False


async def test_a_name_is_stored_as_other_readers_expect_it() -> None:
    store = MemoryStore()
    await Aliases(store).assign(V1, _ids(1))
    assert await store.get("envs/aliases/generic/team/env/v1") == json.dumps(list(_ids(1))).encode()


async def test_every_move_of_a_mutable_name_is_in_its_history() -> None:
    aliases = Aliases(MemoryStore(), user="ann")
    for number in (1, 2, 2, 3):
        await aliases.assign(LATEST, _ids(number))
    moves = await aliases.history(LATEST)
    assert [(m.number, m.by, m.source, m.target) for m in moves] == [
        (1, "ann", None, _ids(1)),
        (2, "ann", _ids(1), _ids(2)),
        (3, "ann", _ids(2), _ids(3)),
    ]
    assert all(m.when.endswith("+00:00") for m in moves)


async def test_concurrent_moves_lose_nothing() -> None:
    store = MemoryStore()
    await asyncio.gather(*(Aliases(store, user=f"u{n}").assign(LATEST, _ids(n)) for n in range(30)))
    moves = await Aliases(store).history(LATEST)
    assert {m.target for m in moves} == {_ids(n) for n in range(30)}
    assert all(a.target == b.source for a, b in itertools.pairwise(moves))
    assert moves[-1].target == await Aliases(store).get(LATEST)


async def test_going_back_is_a_move_of_its_own() -> None:
    aliases = Aliases(MemoryStore(), user="ann")
    for number in (1, 2, 3):
        await aliases.assign(LATEST, _ids(number))
    assert await aliases.rollback(LATEST) == _ids(2)
    assert await aliases.rollback(LATEST, to=1) == _ids(1)
    assert [m.target for m in await aliases.history(LATEST)] == [_ids(1), _ids(2), _ids(3), _ids(2), _ids(1)]


async def test_there_is_no_going_back_for_immutable_names_nor_to_moves_that_never_were() -> None:
    aliases = Aliases(MemoryStore())
    await aliases.assign(V1, _ids(1))
    await aliases.assign(LATEST, _ids(1))
    with pytest.raises(UsageError, match="immutable"):
        await aliases.rollback(V1)
    with pytest.raises(UsageError, match="moved only once"):
        await aliases.rollback(LATEST)
    with pytest.raises(UsageError, match="expected 1 to 1, found 2"):
        await aliases.rollback(LATEST, to=2)


def _earlier(document: dict[str, object]) -> dict[str, object]:
    """Return an entry as versions know it that did not write down where and by which command."""
    return {name: document[name] for name in ("number", "when", "by", "source", "target", "previous")}


def _earlier_digest(document: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(_earlier(document), sort_keys=True).encode()).hexdigest()


async def test_an_entry_says_on_which_machine_by_which_command_and_version() -> None:
    store = MemoryStore()
    named_command("asynccache env alias")
    await Aliases(store, user="ann").assign(LATEST, _ids(1))
    (move,) = await Aliases(store).history(LATEST)
    assert (move.by, move.host, move.command, move.version) == (
        "ann", socket.gethostname(), "asynccache env alias", __version__,
    )  # fmt: skip
    assert json.loads(move.to_json())["command"] == "asynccache env alias"


async def test_histories_of_earlier_versions_go_on_and_they_read_ours() -> None:
    store = MemoryStore()
    aliases = Aliases(store, user="ann")
    await aliases.assign(LATEST, _ids(1))
    key = KEYS.log_entry(LATEST, 1)
    first = json.loads(await store.get(key))
    await store.put(key, json.dumps(_earlier(first), sort_keys=True).encode())
    await aliases.assign(LATEST, _ids(2))
    moves = await aliases.history(LATEST)
    assert [(move.by, move.host != "") for move in moves] == [("ann", False), ("ann", True)]
    await aliases.assign(LATEST, _ids(3))
    written = [json.loads(await store.get(KEYS.log_entry(LATEST, number))) for number in (1, 2, 3)]
    assert [entry["previous"] for entry in written] == ["", *map(_earlier_digest, written[:2])]


async def test_entries_that_a_repair_removes_are_entered_in_the_log_of_the_store() -> None:
    store = MemoryStore()
    aliases = Aliases(store, user="ann")
    await aliases.assign(LATEST, _ids(1))
    await aliases.assign(LATEST, _ids(2))
    await store.put(KEYS.log_entry(LATEST, 1), b"{")
    await Aliases(store, user="ben").repair(LATEST)
    (deed,) = [deed async for deed in journal.entries(store)]
    assert (deed.what, deed.user) == ("delete", "ben")


async def test_a_move_by_a_writer_that_knows_no_history_is_noticed() -> None:
    store = MemoryStore()
    aliases = Aliases(store, user="ann")
    await aliases.assign(LATEST, _ids(1))
    await store.put(KEYS.alias(LATEST), json.dumps(list(_ids(2))).encode())
    assert [(m.by, m.target) for m in await aliases.history(LATEST)] == [("ann", _ids(1)), ("another writer", _ids(2))]
    await aliases.assign(LATEST, _ids(3))
    assert [m.by for m in await aliases.history(LATEST)] == ["ann", "another writer", "ann"]


@pytest.mark.parametrize("removed", [True, False])
async def test_a_changed_or_removed_entry_breaks_the_chain(removed: bool) -> None:
    store = MemoryStore()
    aliases = Aliases(store, user="ann")
    for number in (1, 2, 3):
        await aliases.assign(LATEST, _ids(number))
    key = KEYS.log_entry(LATEST, 2)
    data = await store.get(key)
    await (store.delete(key) if removed else store.put(key, data.replace(b"ann", b"eve")))
    with pytest.raises(IntegrityError, match="broken at entry"):
        await aliases.history(LATEST)
    await aliases.assign(LATEST, _ids(4))
    repaired = await aliases.repair(LATEST)
    assert repaired == await aliases.history(LATEST)
    assert [move.target for move in repaired] == [_ids(n) for n in ((1, 3, 4) if removed else (1, 2, 3, 4))]
    assert await aliases.rollback(LATEST) == _ids(3)


@pytest.mark.parametrize("other", ["team/env/latest:latest", "team/env/latest/00000001:latest"])
async def test_names_below_anothers_tag_have_histories_of_their_own(other: str) -> None:
    aliases, below = Aliases(MemoryStore(), user="ann"), Alias.parse(other)
    for number, alias in enumerate((LATEST, below, LATEST, below, LATEST, below)):
        await aliases.assign(alias, _ids(number))
    assert [move.target for move in await aliases.history(LATEST)] == [_ids(0), _ids(2), _ids(4)]
    assert [move.target for move in await aliases.history(below)] == [_ids(1), _ids(3), _ids(5)]
    assert await aliases.rollback(LATEST) == _ids(2)


async def test_entries_that_a_shared_history_numbered_apart_are_repaired() -> None:
    """Earlier versions counted the entries of longer names too, so that numbers were left out."""
    store = MemoryStore()
    aliases = Aliases(store, user="ann")
    for number in (1, 2):
        await aliases.assign(LATEST, _ids(number))
    last = KEYS.log_entry(LATEST, 2)
    await store.put(KEYS.log_entry(LATEST, 4), (await store.get(last)).replace(b'"number": 2', b'"number": 4'))
    await store.delete(last)
    await aliases.assign(LATEST, _ids(3))
    with pytest.raises(IntegrityError, match="env history --repair"):
        await aliases.history(LATEST)
    assert [move.number for move in await aliases.repair(LATEST)] == [1, 2, 3]


async def test_a_store_that_cannot_promise_one_winner_is_refused() -> None:
    class Careless(MemoryStore):
        async def capabilities(self, *, again: bool = False) -> Capabilities:
            return Capabilities(conditional_put=False)

    with pytest.raises(StoreError, match="ignores conditional writes"):
        await Aliases(Careless()).assign(V1, _ids(1))


@pytest.mark.parametrize("text", ["a//b:v1", "a:"])
async def test_names_that_other_readers_accept_but_no_store_can_hold_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="cannot be stored"):
        await Aliases(MemoryStore()).assign(Alias.parse(text), _ids(1))


async def test_a_damaged_alias_says_what_it_should_be() -> None:
    store = MemoryStore()
    await store.put(KEYS.alias(V1), b"{")
    with pytest.raises(IntegrityError, match="REQ_ID"):
        await Aliases(store).get(V1)
