"""Whoever deletes or moves something in a store is named there."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from asynccache import __version__
from asynccache.runtime.author import author, named_command
from asynccache.store import journal
from asynccache.store.memory import MemoryStore


@pytest.fixture(autouse=True)
def _no_command() -> None:
    from asynccache.runtime import author as module

    module._named.clear()


async def test_an_entry_says_what_who_where_and_by_which_command() -> None:
    named_command("asynccache verify")
    async with MemoryStore() as store:
        await journal.enter(store, "quarantine", ["a/b"], moved_to="asynccache/quarantine/now/a/b", user="ann")
        await journal.enter(store, "delete", ["c", "d"], user="ben")
        first, second = [deed async for deed in journal.entries(store)]
    assert (first.what, first.keys, first.moved_to) == ("quarantine", ("a/b",), "asynccache/quarantine/now/a/b")
    assert (first.user, first.host, first.command, first.version) == (
        "ann", socket.gethostname(), "asynccache verify", __version__,
    )  # fmt: skip
    assert (second.keys, second.user, second.moved_to) == (("c", "d"), "ben", "")
    assert first.when <= second.when


async def test_what_is_no_entry_hides_no_other() -> None:
    async with MemoryStore() as store:
        await store.put(f"{journal.PREFIX}0.json", b"{")
        await store.put(f"{journal.PREFIX}1.json", json.dumps({"when": 1}).encode())
        await journal.enter(store, "delete", ["c"])
        assert [deed.keys async for deed in journal.entries(store)] == [("c",)]


def test_arguments_of_a_program_are_not_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/home/ann/flow.py", "run", "--token", "s3cret"])
    assert author().command == "flow.py"
