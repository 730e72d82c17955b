"""What a report holds has limits, however much a store has."""

from __future__ import annotations

import pytest

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.keys import CatalogKeys
from asynccache.model.alias import Alias
from asynccache.ops import report
from asynccache.ops.backfill_run import Counts
from asynccache.ops.collect import Collector
from asynccache.ops.collect_rules import DAY, Rules
from asynccache.ops.report_result import StoreReport
from asynccache.ops.shard_journal import Journal
from asynccache.store.memory import MemoryStore

IDS = ("0" * 40, "1" * 40)


async def reported(store: MemoryStore) -> StoreReport:
    rules, keys = Rules(), CatalogKeys()
    return await report.report_on(
        store, rules, Collector(store, rules, keys, "packages"), keys, "packages", store.timestamp()
    )


async def test_channels_and_names_beyond_the_limit_are_counted_and_not_told_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report, "CHANNELS", 2)
    monkeypatch.setattr(report, "ALIASES", 2)
    monkeypatch.setattr(report, "MOVES", 1)
    store = MemoryStore()
    for host in "abcd":
        file = f"{host}-1-0.conda"
        await store.put(f"packages/conda/{host}/ch/noarch/{file}/{file}/{'0' * 32}/{file}", b"archive")
    for number in range(4):
        names = Aliases(store)
        await names.assign(Alias.parse(f"team/{number}:latest"), IDS)
        await names.assign(Alias.parse(f"team/{number}:latest"), (IDS[0], "2" * 40))
    found = await reported(store)
    assert {name: each.objects for name, each in found.channels.items()} == {"a/ch": 1, "b/ch": 1, report.OTHERS: 2}
    assert (found.names, len(found.aliases)) == (4, 2)
    assert [(each.moves, [move.number for move in each.history]) for each in found.aliases] == [(2, [2])] * 2


async def test_of_several_runs_of_a_command_the_last_one_counts_and_what_is_no_run_is_passed_over() -> None:
    moment = [1_800_000_000.0]
    store = MemoryStore(now=lambda: moment[0])
    for run, made in (("aa", 1), ("cc", 2), ("bb", 3)):  # not in the order of their keys
        moment[0] += DAY
        journal = Journal(store, f"asynccache/shards/replicate-{run}/1/1.json", Counts)
        journal.passed("packages/conda/a", Counts(made=made))
        await journal.begin_again()
    for key in ("backfill-aa/99999/1.json", "backfill-<b>/1/1.json", "audit-aa/1/1.jsonl", "verify-aa/1/1.json", "x"):
        await store.put(f"asynccache/shards/{key}", b"{}")
    runs = {run.command: run for run in (await reported(store)).runs}
    assert {*runs} == {"replicate", "audit"}
    assert runs["replicate"].figures["made"] == 3
    assert (runs["audit"].shards, runs["audit"].unfinished) == (1, 1)
