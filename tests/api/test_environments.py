"""Verbs on environments: from a file to a name, and back."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.api import Session, Settings
from asynccache.errors import AsyncCacheError, DiskError, ObjectNotFoundError, PartialFailureError, UsageError
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel

ARCH = "linux-64"


@pytest.fixture
def settings(configured: Settings, tmp_path: Path) -> Settings:
    return replace(configured, datastore_root=tmp_path / "here", username="ann")


@pytest.fixture
def lists(channel: SyntheticChannel, filled: FaultServer, tmp_path: Path) -> list[Path]:
    paths = []
    for number, (begin, end) in enumerate(((0, 6), (2, 8))):
        lines = [f"{p.url}#{p.digests.md5}" for p in channel.packages(filled.url)[begin:end]]
        paths.append(tmp_path / f"list{number}.txt")
        paths[-1].write_text("@EXPLICIT\n" + "\n".join(lines))
    return paths


async def test_an_environment_is_imported_named_found_compared_and_moved_back(
    lists: list[Path], settings: Settings
) -> None:
    async with Session(settings) as session:
        first = await session.import_environment(lists[0], names=["team/env", "team/env:v1"], arches=[ARCH])
        second = await session.import_environment(lists[1], names=["team/env"], arches=[ARCH])
        ids = [made.environments[0].id for made in (first, second)]
        assert [str(name) for name in first.names] == ["team/env:latest", "team/env:v1"]
        assert (await session.find("team/env", arch=ARCH)).id == ids[1]
        shown = await session.show(ids[0].full_id, arch=ARCH)
        assert shown.as_document()["names"] == ["team/env:v1"]
        difference = await session.diff("team/env:v1", "team/env", arch=ARCH)
        assert (len(difference.added), len(difference.removed), difference.same) == (2, 2, 4)
        assert difference.bytes > 0
        assert [move.target for move in (await session.history("team/env")).moves] == [
            (env_id.req_id, env_id.full_id) for env_id in ids
        ]
        moved = await session.rollback("team/env")
        assert moved.now == (ids[0].req_id, ids[0].full_id)
        assert moved.as_document()["from"] == [ids[1].req_id, ids[1].full_id]
        listed = [row.summary.id async for row in session.list_environments(by="ann")]
        assert listed == [ids[1], ids[0]]
        assert [row async for row in session.list_environments("*:v2")] == []


async def test_a_document_keeps_its_identity_whatever_its_file_is_called(
    lists: list[Path], settings: Settings, tmp_path: Path
) -> None:
    async with Session(settings) as session:
        made = (await session.import_environment(lists[0], arches=[ARCH])).environments[0]
        exported = await session.export(str(made.id), "json", arch=ARCH)
    elsewhere = replace(settings, store=str(tmp_path / "other"), datastore_root=tmp_path / "there")
    for name in ("env.json", "env"):
        exported.write(tmp_path / name)
        async with Session(elsewhere) as session:
            imported = await session.import_environment(tmp_path / name, names=["other/env"], arches=[ARCH])
            assert imported.environments[0].id == made.id
            with pytest.raises(UsageError, match="--spec does not go with it"):
                await session.import_environment(tmp_path / name, arches=[ARCH], specs=["conda::six"])
    assert [row["full_id"] for row in json.loads(json.dumps(imported.as_document()))["environments"]] == [
        made.id.full_id
    ]


async def test_names_that_cannot_be_given_do_not_undo_the_others(lists: list[Path], settings: Settings) -> None:
    async with Session(settings) as session:
        await session.import_environment(lists[0], names=["team/env:v1", "team/env:v2"], arches=[ARCH])
        taken = await session.import_environment(lists[1], names=["team/env:v1", "team/new:v1"], arches=[ARCH])
        assert [str(name) for name in taken.names] == ["team/new:v1"]
        with pytest.raises(AsyncCacheError, match="team/env:v1 is immutable"):
            taken.raise_for_failures()
        given = await session.alias("team/new:v1", "team/env:v1", "team/env:v2", "team/new:v1", "team/new:v2")
        assert [str(name) for name in given.changed] == ["team/new:v2"]
        assert [str(name) for name in given.unchanged] == ["team/new:v1"]
        with pytest.raises(PartialFailureError, match="2 of 4 names were not given"):
            given.raise_for_failures()


async def test_a_name_that_cannot_be_given_is_refused_before_anything_is_fetched(
    lists: list[Path], filled: FaultServer, settings: Settings
) -> None:
    lists[0].write_text(f"{filled.url}/linux-64/lost-1-0.conda#{'0' * 32}")
    async with Session(settings) as session:
        with pytest.raises(UsageError, match="'Team:v1' is no environment alias"):
            await session.import_environment(lists[0], names=["Team:v1"], arches=[ARCH])
    assert filled.requests == []


async def test_a_name_that_nobody_knows_is_not_found_by_any_verb(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    async with Session(settings) as session:
        for call in (
            session.find("no/env:v1"),
            session.show("no/env:v1"),
            session.get("no/env:v1"),
            session.alias("no/env:v1", "other/env:v1"),
            session.history("no/env"),
            session.history("no/env:v1"),
            session.rollback("no/env"),
            session.rollback("no/env:v1"),
            session.rollback("no/env", to=3),
            session.diff("no/env:v1", "no/env:v2"),
            session.export("no/env:v1"),
        ):
            with pytest.raises(ObjectNotFoundError, match="no environment is known as no/env"):
                await call


async def test_what_is_taken_is_in_this_machines_list_and_doubts_are_said(
    lists: list[Path], settings: Settings, tmp_path: Path
) -> None:
    async with Session(settings) as session:
        made = (await session.import_environment(lists[0], names=["team/env:v1"], arches=[ARCH])).environments[0]
    said: list[str] = []
    other = replace(settings, datastore_root=tmp_path / "elsewhere")
    async with Session(other, say=said.append) as session:
        assert [row async for row in session.list_environments(remote=False)] == []
        taken = await session.get("team/env:v1", arch=ARCH)
        assert [row.summary.id async for row in session.list_environments(remote=False)] == [made.id]
        assert (taken.manifest.exists(), said) == (True, [])
        document = json.loads((await session.export("team/env:v1", "json", arch=ARCH)).text)
        document["packages"].pop()
        (tmp_path / "changed.json").write_text(json.dumps(document))
        await session.show(str(tmp_path / "changed.json"), arch=ARCH)
    assert len(said) == 1
    assert "may have been changed: its packages amount to full_id" in said[0]


async def test_an_export_says_what_its_format_cannot_hold_and_where_it_cannot_be_written(
    lists: list[Path], settings: Settings, tmp_path: Path
) -> None:
    async with Session(settings) as session:
        made = (await session.import_environment(lists[0], arches=[ARCH])).environments[0]
        exported = await session.export(str(made.id), "explicit", arch=ARCH)
        assert exported.as_document()["format"] == "explicit"
        with pytest.raises(UsageError, match="there is no such export format"):
            await session.export(str(made.id), "zip", arch=ARCH)
    with pytest.raises(DiskError, match="cannot be written"):
        exported.write(tmp_path / "no" / "directory")
