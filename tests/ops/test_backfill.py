"""A backfill does what is left to do, wherever it is interrupted."""

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.model.package import Format
from asynccache.model.shard import Shard
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.backfill_run import Counts
from asynccache.ops.shard_journal import Journal
from asynccache.store.memory import MemoryStore
from tests.support.fault_server import FaultServer
from tests.support.stores import archives_in, damaged_in, receipts_in

TO_CONDA = Selection(Format.CONDA)


async def _run(settings: Settings, selection: Selection = TO_CONDA, *, resume: bool = False) -> Backfill:
    async with Engine(settings) as engine:
        backfill = Backfill(engine, selection)
        (await backfill.run(resume=resume)).raise_for_failures()
        return backfill


async def test_every_package_gets_the_wanted_form_from_the_store_alone(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    backfill = await _run(configured)
    assert backfill.plan.as_document() | {"todo_bytes": 0} == {
        "complete": 6, "todo": 6, "todo_bytes": 0, "unpublished": 0, "skipped": 0,
    }  # fmt: skip
    assert Counter(p.suffix for p in archives_in(tmp_path / "store")) == {".conda": 12, ".bz2": 6}
    assert damaged_in(tmp_path / "store") == []
    assert len(receipts_in(tmp_path / "store")) == 6
    assert filled.requests == []


async def test_a_second_backfill_finds_nothing_to_do(filled: FaultServer, configured: Settings) -> None:
    await _run(configured)
    assert (await _run(configured)).plan.todo == 0


async def test_the_other_direction_works_as_well(filled: FaultServer, configured: Settings, tmp_path: Path) -> None:
    await _run(configured, Selection(Format.TAR_BZ2))
    assert Counter(p.suffix for p in archives_in(tmp_path / "store")) == {".conda": 6, ".bz2": 12}
    assert damaged_in(tmp_path / "store") == []


async def test_shards_cover_everything_once(filled: FaultServer, configured: Settings) -> None:
    plans = [(await _run(configured, Selection(Format.CONDA, shard=Shard(i, 3)))).plan for i in (1, 2, 3)]
    assert sum(p.todo for p in plans) == 6
    assert sum(p.complete for p in plans) == 6
    assert all(p.todo + p.complete > 0 for p in plans)
    assert (await _run(configured)).plan.todo == 0


async def test_a_pattern_selects_by_file_name(filled: FaultServer, configured: Settings, tmp_path: Path) -> None:
    backfill = await _run(configured, Selection(Format.CONDA, pattern="synthetic-0000-*"))
    assert (backfill.plan.todo, backfill.plan.skipped) == (1, 11)
    assert len(archives_in(tmp_path / "store")) == 13


async def test_an_interrupted_backfill_goes_on_behind_its_mark(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    async with Engine(replace(configured, in_flight=1)) as engine:
        backfill = Backfill(engine, TO_CONDA)
        task = asyncio.ensure_future(backfill.run())
        while len(archives_in(tmp_path / "store")) < 14:  # noqa: ASYNC110 - another process would look so, too
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        journal = json.loads((tmp_path / "store" / backfill.journal_key).read_text())
    assert journal["behind"].startswith("packages/conda/")
    elsewhere = replace(configured, cache_dir=tmp_path / "another node")
    resumed = await _run(elsewhere, resume=True)
    assert resumed.plan.complete + resumed.plan.todo < 12  # what lies behind the mark was not looked at again
    async with Engine(elsewhere) as engine:
        run = await Backfill(engine, TO_CONDA).so_far()
    assert run.complete
    assert (run.counts.looked_at, run.counts.failed) == (12, 0)
    assert Counter(p.suffix for p in archives_in(tmp_path / "store")) == {".conda": 12, ".bz2": 6}


async def test_what_failed_is_tried_again_first_when_resumed(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    victim = next(p for p in archives_in(tmp_path / "store") if p.name.endswith(".tar.bz2"))
    good = victim.read_bytes()
    victim.chmod(0o644)
    victim.write_bytes(good[:-9] + bytes(9))
    # its upstream is asked by https, which a server of plain HTTP never answers
    async with Engine(replace(configured, connect_timeout=1.0)) as engine:
        backfill = Backfill(engine, TO_CONDA)
        report = await backfill.run()
        # damaged in the store, and https instead of http upstream: nobody has it
        assert len(report.failures) == 1
        run = await backfill.so_far()
        assert (len(run.failed_directories), run.counts.failed, run.unfinished) == (1, 1, (1,))
    assert victim.read_bytes() != good  # reported, and left where it is
    victim.write_bytes(good)
    resumed = await _run(configured, resume=True)
    assert resumed.plan.todo == 1
    assert len(archives_in(tmp_path / "store")) == 18


def _journal() -> Journal[Counts]:
    return Journal(MemoryStore(), "asynccache/shards/j/1/1.json", Counts)


def test_the_mark_never_passes_what_is_not_done() -> None:
    journal = _journal()
    journal.passed("_", Counts.of("there"))
    for name in "abcd":
        journal.begin(name)
    journal.end("b", Counts.of("made", 5))
    assert (journal.behind, journal.counts) == ("_", Counts(there=1))
    journal.end("a", Counts.of("failed"), failed=True)
    assert (journal.behind, journal.failed) == ("b", {"a"})
    journal.end("d", Counts.of("made"))
    journal.passed("e", Counts.of("skipped"))
    assert journal.behind == "b"
    journal.end("c", Counts.of("made"))
    assert journal.behind == "e"
    assert journal.counts == Counts(there=1, made=3, failed=1, skipped=1, made_bytes=5)
    journal.end("a", Counts.of("made"))
    assert (journal.failed, journal.counts.failed, journal.counts.looked_at) == (set(), 0, 6)


def test_a_failure_behind_what_is_not_done_is_none_of_the_journal_yet() -> None:
    journal = _journal()
    for name in "ab":
        journal.begin(name)
    journal.end("b", Counts.of("failed"), failed=True)
    assert (journal.behind, journal.failed, journal.counts) == ("", set(), Counts())  # whoever goes on meets both
    journal.end("a", Counts.of("made"))
    assert (journal.behind, journal.failed, journal.counts) == ("b", {"b"}, Counts(made=1, failed=1))


async def test_an_unreadable_journal_means_starting_from_the_beginning() -> None:
    store = MemoryStore()
    async with store:
        await store.put("j", b"{")
        journal = Journal(store, "j", Counts)
        await journal.load()
        assert (journal.behind, journal.failed, journal.loaded) == ("", set(), False)
        await journal.begin_again()
        await journal.save()
        assert json.loads(await store.get("j"))["behind"] == ""


async def test_a_worker_that_is_behind_another_leaves_the_journal_as_it_is() -> None:
    store = MemoryStore()
    async with store:
        first = Journal(store, "j", Counts)
        await first.begin_again()
        second = Journal(store, "j", Counts)
        await second.load()
        for journal, names in ((first, "abc"), (second, "ab")):
            for name in names:
                journal.passed(name, Counts.of("there"))
            await journal.save()
        assert json.loads(await store.get("j"))["behind"] == "c"
        second.passed("c", Counts.of("there"))
        second.passed("d", Counts.of("there"))
        second.complete = True
        await second.save()
        said = json.loads(await store.get("j"))
        assert (said["behind"], said["counts"]["there"], said["complete"]) == ("d", 4, True)
        await Journal(store, "j", Counts).begin_again()
        await first.save()
        assert json.loads(await store.get("j"))["behind"] == ""  # whoever began again is not disturbed
