"""What a report holds has limits, however much a store has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.catalog.aliases import Aliases
from asynccache.catalog.keys import CatalogKeys
from asynccache.errors import StoreRefusedError
from asynccache.model.alias import Alias
from asynccache.ops import report
from asynccache.ops.backfill_run import Counts
from asynccache.ops.collect import Collector
from asynccache.ops.collect_rules import DAY, Rules
from asynccache.ops.report_result import StoreReport
from asynccache.ops.shard_journal import Journal
from asynccache.store.memory import MemoryStore
from tests.store.fault_proxy import FaultProxy, Refuse
from tests.support.fault_server import FaultServer
from tests.support.object_servers import BUCKET, ObjectServer
from tests.support.small_channel import SyntheticChannel

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
    assert {*runs} == {"replicate", "audit", "verify"}
    assert runs["replicate"].figures["made"] == 3
    for command in ("audit", "verify"):
        assert (runs[command].shards, runs[command].unfinished) == (1, 1)


@pytest.mark.xdist_group("object-servers")
async def test_each_run_leaves_a_record_and_where_only_reading_is_allowed_its_result_says_that_there_is_none(
    weed: ObjectServer, channel: SyntheticChannel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in weed.environment.items():
        monkeypatch.setenv(name, value)
    async with FaultProxy(weed.url) as proxy, FaultServer(channel.root) as source:
        root = f"s3://{BUCKET}/records-{tmp_path.name}"
        settings = Settings(store=root, s3_endpoint_url=proxy.url, cache_dir=tmp_path / "cache")
        async with Session(settings) as session, Session(replace(settings, store=f"{root}-copy")) as copying:
            await session.cache(packages=channel.packages(source.url, 4))
            await copying.replicate(root)
            writes = {"PUT", "POST", "DELETE"}
            proxy.script = lambda request: Refuse(403, "AccessDenied") if request.method in writes else None
            audited, verified = await session.audit(read_data=1), await session.verify()
            copied = await copying.replicate(root)
            for result in (audited, verified, copied):
                result.raise_for_failures()
                assert isinstance(result.unrecorded, StoreRefusedError)
            assert (await session.report()).runs == ()

            proxy.script = lambda _request: None
            audited, verified = await session.audit(read_data=1), await session.verify()
            copied = await copying.replicate(root)
            assert (audited.unrecorded, verified.unrecorded, copied.unrecorded) == (None, None, None)
            await session.gc()
            runs = {run.command: run for run in (await session.report()).runs}
            assert {*runs} == {"audit", "verify", "gc"}
            assert runs["audit"].figures == {"archives": 4, "documents": 0, "wrong": 0}
            assert runs["verify"].figures["checked"] == 4
            runs |= {run.command: run for run in (await copying.report()).runs}
            assert runs["replicate"].figures["there"] == 4
            assert all((run.unfinished, bool(run.begun_at <= run.updated_at)) == (0, True) for run in runs.values())
