"""Verbs on packages: what they take, what they return and what that amounts to."""

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import Conversion, Session, Settings
from asynccache.errors import DiskError, ObjectNotFoundError, PartialFailureError, StoreError, UsageError
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel


async def test_packages_come_from_urls_and_lists_and_the_receipt_says_where_they_are(
    channel: SyntheticChannel, configured: Settings, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server, Session(configured) as session:
        first, *rest = (f"{p.url}#{p.digests.md5}" for p in channel.packages(server.url, 4))
        (tmp_path / "list.txt").write_text("@EXPLICIT\n" + "\n".join(rest))
        report = await session.cache(first, lists=[tmp_path / "list.txt"])
        report.raise_for_failures()
        assert (len(report.outcomes), report.as_document()["store"]) == (4, configured.store)
        with pytest.raises(UsageError, match="there is nothing to cache"):
            await session.cache()


async def test_files_are_converted_each_for_itself(
    channel: SyntheticChannel, configured: Settings, tmp_path: Path
) -> None:
    source = next(path for path in channel.paths if path.name.endswith(".tar.bz2"))
    missing = tmp_path / "missing-1-0.tar.bz2"
    seen: list[Conversion] = []
    async with Session(configured) as session:
        done = await session.transmute(source, missing, to=".conda", out=tmp_path / "new" / "out", done=seen.append)
        alone = await session.transmute(missing, to=".conda")
    with pytest.raises(PartialFailureError, match="1 of 2 files were not converted"):
        done.raise_for_failures()
    with pytest.raises(ObjectNotFoundError, match=r"missing-1-0\.tar\.bz2 does not exist"):
        alone.raise_for_failures()
    assert {result.error is None for result in seen} == {True, False}
    assert [p.suffix for p in (tmp_path / "new" / "out").iterdir()] == [".conda"]


async def test_of_several_files_the_largest_is_converted_first_whatever_their_order(
    channel: SyntheticChannel, configured: Settings, tmp_path: Path
) -> None:
    packed = [path for path in channel.paths if path.name.endswith(".tar.bz2")]
    files = sorted(packed[:6], key=lambda path: path.name)  # the smallest first
    seen: list[str] = []
    async with Session(replace(configured, cpu_slots=1)) as session:
        await session.transmute(*files, to=".conda", out=tmp_path, done=lambda done: seen.append(done.source.name))
    assert seen == [path.name for path in sorted(files, key=lambda path: -path.stat().st_size)]


async def test_a_form_that_conda_packages_do_not_have_and_a_place_that_cannot_be_written_are_refused(
    channel: SyntheticChannel, configured: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    async with Session(configured) as session:
        with pytest.raises(UsageError, match="conda packages have no such format"):
            await session.transmute(channel.paths[0], to=".whl")
        with pytest.raises(UsageError, match="conda packages have no such format"):
            await session.backfill("conda")
        with pytest.raises(DiskError):
            await session.transmute(channel.paths[0], to=".conda", out=tmp_path / "file" / "out")
        for shard in ((0, 3), (4, 3)):
            with pytest.raises(UsageError, match="--shard is wrong"):
                await session.backfill(".conda", shard=shard)


async def test_a_dry_run_finds_what_a_run_does(filled: FaultServer, configured: Settings) -> None:
    found: list[str] = []
    async with Session(configured) as session:
        planned = await session.backfill(".conda", dry_run=True, found=lambda job: found.append(job.package.filename))
        done = await session.backfill(".conda")
    done.raise_for_failures()
    assert (planned.plan.todo, done.plan.todo, len(found)) == (6, 6, 6)
    assert planned.report is None
    assert "packages" not in planned.as_document()


async def test_a_backfill_that_no_package_is_meant_by_is_a_failure_unless_it_is_allowed(
    filled: FaultServer, configured: Settings
) -> None:
    async with Session(configured) as session:
        nothing = await session.backfill(".conda", pattern="mistyped-*")
        with pytest.raises(ObjectNotFoundError, match="has no conda package that matches"):
            nothing.raise_for_failures()
        nothing.raise_for_failures(allow_empty=True)
        # of many shards some are empty, which is no mistake
        for number in range(1, 41):
            (await session.backfill(".conda", shard=(number, 40), dry_run=True)).raise_for_failures()


async def test_shards_of_one_run_add_up_and_what_is_done_is_not_done_again(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    async with Session(configured) as session:
        await session.plan_backfill(".conda", 3, run_id="nightly")
        for number in (1, 3):
            (await session.backfill(".conda", shard=(number, 3), run_id="nightly")).raise_for_failures()
        run = await session.backfill_run(".conda", 3, run_id="nightly")
        assert run.unfinished == (2,)
        with pytest.raises(StoreError, match="1 of 3 shards are not done"):
            run.raise_for_failures()
    async with Session(replace(configured, cache_dir=tmp_path / "another node")) as session:
        last = await session.backfill(".conda", shard=(2, 3), run_id="nightly", report=True)
        assert last.run is not None
        last.run.raise_for_failures()
        assert (last.run.counts.looked_at, last.run.counts.made, last.run.counts.there) == (12, 6, 6)
        again = await session.backfill(".conda", shard=(2, 3), run_id="nightly", report=True)
        assert (again.run, again.plan.todo + again.plan.complete) == (last.run, 0)
