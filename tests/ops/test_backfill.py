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
from asynccache.ops.backfill import Backfill, Journal, Selection
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
    plans = [(await _run(configured, Selection(Format.CONDA, shard=(i, 3)))).plan for i in (1, 2, 3)]
    assert sum(p.todo for p in plans) == 6
    assert all(p.skipped > 0 for p in plans)
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
        journal = json.loads(backfill.journal_path.read_text())
    assert journal["behind"].startswith("packages/conda/")
    resumed = await _run(configured, resume=True)
    assert resumed.plan.complete + resumed.plan.todo < 12  # what lies behind the mark was not looked at again
    assert not resumed.journal_path.exists()
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
        assert len(_failed(backfill.journal_path)) == 1
    assert victim.read_bytes() != good  # reported, and left where it is
    victim.write_bytes(good)
    resumed = await _run(configured, resume=True)
    assert resumed.plan.todo == 1
    assert len(archives_in(tmp_path / "store")) == 18


def _failed(path: Path) -> set[str]:
    journal = Journal(path)
    journal.load()
    return journal.failed


def test_the_mark_never_passes_what_is_not_done(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.json")
    for name in "abcd":
        journal.begin(name)
    journal.end("b", failed=False)
    assert journal.behind == ""
    journal.end("a", failed=True)
    assert (journal.behind, journal.failed) == ("b", {"a"})
    journal.end("d", failed=False)
    assert journal.behind == "b"
    journal.end("c", failed=False)
    assert journal.behind == "d"


def test_an_unreadable_journal_means_starting_from_the_beginning(tmp_path: Path) -> None:
    path = tmp_path / "j.json"
    path.write_text("{")
    journal = Journal(path)
    journal.load()
    assert (journal.behind, journal.failed) == ("", set())
