"""Verbs on what a store holds: what they return, and what they raise when nothing is known to be right."""

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.errors import IntegrityError, ObjectNotFoundError, UsageError
from tests.support.fault_server import FaultServer
from tests.support.stores import archives_in


async def test_packages_are_listed_as_they_come_and_counted(filled: FaultServer, configured: Settings) -> None:
    said: list[str] = []
    async with Session(configured, say=said.append) as session:
        names = [item.parts.filename async for item in session.list_packages("*-0000-*")]
        counted = await session.stat()
        assert [item async for item in session.list_packages("nothing*")] == []
    assert len(names) == 1
    assert (counted.packages, counted.store) == (12, configured.store)
    assert said == [f"{configured.store} has no packages that match 'nothing*'"]


async def test_a_store_that_is_whole_raises_nothing_and_a_damaged_one_says_how_many(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    seen: list[str] = []
    async with Session(configured) as session:
        whole = await session.verify(checked=lambda item: seen.append(item.info.key))
        whole.raise_for_failures()
        victim = archives_in(tmp_path / "store")[3]
        victim.chmod(0o644)
        victim.write_bytes(b"x" * victim.stat().st_size)
        damaged = await session.verify()
    assert len(seen) == 12
    assert whole.as_document()["store"] == configured.store
    with pytest.raises(IntegrityError, match=r"1 of 12 archives in .* are damaged"):
        damaged.raise_for_failures()


async def test_a_part_of_a_store_is_read_without_its_environments(filled: FaultServer, configured: Settings) -> None:
    async with Session(configured) as session:
        sampled = await session.verify(sample=0.5, seed="tuesday")
        again = await session.verify(sample=0.5, seed="tuesday")
    assert sampled.archives.checked == again.archives.checked
    assert sampled.archives.checked + sampled.archives.skipped == 12
    assert sampled.environments.documents == 0


async def test_having_read_nothing_is_a_failure_unless_it_is_allowed(configured: Settings) -> None:
    async with Session(configured) as session:
        nothing = await session.verify()
        with pytest.raises(ObjectNotFoundError, match="nothing was read"):
            nothing.raise_for_failures()
        nothing.raise_for_failures(allow_empty=True)
        for share in (0, -1, 1.01, float("nan")):
            with pytest.raises(UsageError, match="--sample is wrong"):
                await session.verify(sample=share)


async def test_what_a_run_depends_on_is_looked_at(configured: Settings) -> None:
    seen: list[str] = []
    async with Session(configured) as session:
        examination = await session.doctor(lambda finding: seen.append(finding.subject))
    examination.raise_for_failures()
    assert {"python", "disk", "store", "store speed"} <= set(seen)
    assert [finding.subject for finding in examination.findings] == seen


async def test_a_store_that_is_opened_once_serves_all_verbs_of_a_session(
    filled: FaultServer, configured: Settings
) -> None:
    async with Session(replace(configured, in_flight=2)) as session:
        before = await session.stat()
        (await session.backfill(".conda")).raise_for_failures()
        after = await session.stat()
    assert (before.both_forms, after.both_forms) == (0, 6)
