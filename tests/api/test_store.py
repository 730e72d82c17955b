"""Verbs on what a store holds: what they return, and what they raise when nothing is known to be right."""

from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.errors import (
    DiskError,
    IntegrityError,
    ObjectNotFoundError,
    StoreError,
    StoreNotFoundError,
    UsageError,
)
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel
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


async def test_having_read_nothing_is_a_failure_unless_it_is_allowed(configured: Settings, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    async with Session(configured) as session:
        nothing = await session.verify()
        with pytest.raises(ObjectNotFoundError, match="nothing was read"):
            nothing.raise_for_failures()
        nothing.raise_for_failures(allow_empty=True)
        for share in (0, -1, 1.01, float("nan")):
            with pytest.raises(UsageError, match="--sample is wrong"):
                await session.verify(sample=share)


async def test_what_a_run_depends_on_is_looked_at(configured: Settings, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    seen: list[str] = []
    async with Session(configured) as session:
        examination = await session.doctor(lambda finding: seen.append(finding.subject))
    examination.raise_for_failures()
    assert {"python", "disk", "store", "store speed"} <= set(seen)
    assert [finding.subject for finding in examination.findings] == seen


async def test_doctor_says_whose_modules_answer_where_the_other_extension_is_installed(
    configured: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said() -> list[str]:
        async with Session(replace(configured, store=None)) as session:
            return [f.text for f in (await session.doctor()).findings if f.subject == "metaflow"]

    plugins = tmp_path / "site" / "metaflow_extensions" / "netflixext" / "plugins" / "conda"
    plugins.mkdir(parents=True)
    (plugins / "remote_bootstrap.py").touch()  # as in a code package
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert await said() == []

    (plugins / "env_descr.py").touch()
    (sentence,) = await said()
    assert "metaflow-netflixext is installed as well" in sentence
    assert str(tmp_path / "site") in sentence


async def test_a_store_that_is_opened_once_serves_all_verbs_of_a_session(
    filled: FaultServer, configured: Settings
) -> None:
    async with Session(replace(configured, in_flight=2)) as session:
        before = await session.stat()
        (await session.backfill(".conda")).raise_for_failures()
        after = await session.stat()
    assert (before.both_forms, after.both_forms) == (0, 6)


async def test_a_named_store_that_is_not_there_is_no_store_to_read_from_and_nothing_makes_it(
    configured: Settings, tmp_path: Path
) -> None:
    async with Session(configured) as session:
        for reading in (
            session.stat(),
            session.verify(),
            session.backfill(".conda"),
            session.find("team/env:v1"),
            session.history("team/env:latest"),
        ):
            with pytest.raises(StoreNotFoundError, match=f"there is no store at {tmp_path}/store"):
                await reading
        with pytest.raises(StoreNotFoundError):
            _ = [item async for item in session.list_packages()]
        examination = await session.doctor()
    failed = [finding for finding in examination.findings if finding.level == "failure"]
    assert [finding.subject for finding in failed] == ["store"]
    assert failed[0].advice
    with pytest.raises(StoreError, match="1 checks failed: store"):
        examination.raise_for_failures()
    assert list(tmp_path.iterdir()) == []


async def test_what_stores_something_makes_the_directory(
    channel: SyntheticChannel, configured: Settings, tmp_path: Path
) -> None:
    async with FaultServer(channel.root) as server, Session(configured) as session:
        report = await session.cache(packages=channel.packages(server.url, 1))
    report.raise_for_failures()
    assert len(archives_in(tmp_path / "store")) == 1


async def test_the_default_store_that_was_never_written_is_empty(configured: Settings, tmp_path: Path) -> None:
    said: list[str] = []
    async with Session(replace(configured, store=None), say=said.append) as session:
        assert (await session.stat()).packages == 0
        assert [item async for item in session.list_packages()] == []
        examination = await session.doctor()
    assert all("it is empty" in sentence for sentence in said)
    examination.raise_for_failures()
    assert list(tmp_path.iterdir()) == []


async def test_a_file_is_no_store(configured: Settings, tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"")
    async with Session(configured) as session:
        with pytest.raises(StoreNotFoundError, match="it is not a directory"):
            await session.stat()


@pytest.mark.parametrize("below", ["afile/cache", "cache"])
async def test_a_check_that_fails_is_a_finding_and_the_others_are_made(
    configured: Settings, tmp_path: Path, below: str
) -> None:
    (tmp_path / "afile").write_bytes(b"")
    (tmp_path / "store").mkdir()
    async with Session(replace(configured, cache_dir=tmp_path / below)) as session:
        examination = await session.doctor()
    levels = {finding.subject: finding.level for finding in examination.findings}
    assert levels["store speed"] == "ok"
    assert levels["store conditions"] == "ok"
    if below == "cache":
        assert levels["disk"] == "ok"
    else:
        assert levels["disk"] == "failure"
        with pytest.raises(DiskError, match="1 checks failed: disk"):
            examination.raise_for_failures()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["afile", "store"]
    assert list((tmp_path / "store").rglob("*")) == []


async def test_a_session_can_be_opened_before_its_first_verb_and_counts_what_its_store_is_asked(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    async with Session(configured) as session:
        assert session.store_requests == 0
        await session.open()
        before = session.store_requests
        await session.stat()
        assert session.store_requests > before
    nowhere = replace(configured, store=str(tmp_path / "nowhere"))
    async with Session(nowhere) as session:
        with pytest.raises(StoreNotFoundError):
            await session.open()
        await session.open(writing=True)
        assert (await session.stat()).packages == 0
