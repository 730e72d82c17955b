"""Snapshots of models: whole and verified, whatever happens to the hub, to a task or to the directory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.metaflow.hub_bed import (
    DECORATE,
    NEW,
    OLD,
    SNAPSHOT,
    TOKEN,
    Bed,
    copy_sources,
    files,
    hub_bed,
)
from tests.support.file_locks import site_without_file_locks
from tests.support.waiting import alive, until


@pytest.fixture(name="sources", scope="module")
def make_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(name="bed")
def make_bed(tmp_path: Path, sources: Path) -> Iterator[Bed]:
    with hub_bed(tmp_path, sources) as bed:
        yield bed


class TestSnapshots:
    @pytest.mark.long
    def test_a_branch_that_moved_is_replaced_and_the_earlier_snapshot_stays(self, bed: Bed) -> None:
        old = bed.hub.publish("team/tiny", OLD)
        path = Path(bed.value(SNAPSHOT))
        earlier = path.resolve()
        bed.hub.publish("team/tiny", NEW)
        assert bed.value(SNAPSHOT) == str(path) == str(bed.parent / "team%2Ftiny_main")
        assert files(path) == NEW
        assert files(earlier) == OLD
        assert earlier.name == f".team%2Ftiny@{old}"

    def test_a_commit_that_is_there_is_not_asked_for_again(self, bed: Bed) -> None:
        commit = bed.hub.publish("team/tiny", OLD)
        path = bed.value(SNAPSHOT, REVISION=commit)
        bed.hub.requests.clear()
        assert bed.value(SNAPSHOT, REVISION=commit) == path == str(bed.parent / f"team%2Ftiny_{commit}")
        assert bed.hub.requests == []

    @pytest.mark.parametrize("name", ["weights.bin", "config.json"])
    def test_a_file_that_comes_differently_once_is_fetched_again(self, bed: Bed, name: str) -> None:
        bed.hub.publish("team/tiny", OLD, large={"weights.bin"})
        bed.hub.damage[name] = 1
        assert files(Path(bed.value(SNAPSHOT))) == OLD
        assert bed.hub.downloads(name) == 2

    @pytest.mark.long
    def test_a_file_that_comes_differently_each_time_is_no_snapshot(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD, large={"weights.bin"})
        bed.hub.damage["weights.bin"] = 9
        kind, said = bed.value(SNAPSHOT)
        assert kind == "HuggingFaceException"
        assert "weights.bin does not have the digest that the hub names for it" in said
        assert not (bed.parent / "team%2Ftiny_main").exists()
        bed.hub.damage.clear()
        assert files(Path(bed.value(SNAPSHOT))) == OLD

    @pytest.mark.long
    def test_a_hub_that_stops_answering_is_given_up_and_nothing_half_is_shown(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        bed.hub.stall.add("weights.bin")
        kind, said = bed.value(SNAPSHOT, LIMIT="2")
        assert kind == "HuggingFaceException"
        assert "made no progress for 2 s" in said
        assert [path.name for path in bed.parent.iterdir() if not path.name.endswith((".partial", ".lock"))] == []
        bed.hub.stall.clear()
        assert files(Path(bed.value(SNAPSHOT))) == OLD

    @pytest.mark.long
    def test_another_task_that_does_not_get_on_is_not_waited_for_forever(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        bed.hub.stall.add("weights.bin")
        first = bed.start(SNAPSHOT)
        try:
            until(lambda: bed.hub.downloads("weights.bin") == 1)
            kind, said = bed.value(SNAPSHOT, LIMIT="2")
        finally:
            first.kill()
            first.wait()
        assert kind == "HuggingFaceException"
        assert "another task downloads it, without any progress for 2 s" in said

    def test_a_killed_task_takes_its_download_with_it_and_the_next_one_goes_on(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        bed.hub.stall.add("weights.bin")
        task = bed.start(SNAPSHOT)
        until(lambda: bed.hub.downloads("weights.bin") == 1)
        children = Path(f"/proc/{task.pid}/task/{task.pid}/children").read_text().split()
        os.kill(task.pid, signal.SIGKILL)
        task.wait()
        assert len(children) == 1
        until(lambda: not alive(int(children[0])))
        bed.hub.stall.clear()
        assert files(Path(bed.value(SNAPSHOT))) == OLD

    @pytest.mark.long
    def test_where_files_cannot_be_locked_each_task_downloads_and_one_snapshot_is_shown(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        site = site_without_file_locks(bed.directory / "no-locks")
        path = f"{site}:{bed.variables()['PYTHONPATH']}"
        tasks = [bed.start(SNAPSHOT, PYTHONPATH=path) for _ in range(2)]
        assert [task.wait(60) for task in tasks] == [0, 0]
        shown = bed.value(SNAPSHOT, PYTHONPATH=path)
        assert shown == str(bed.parent / "team%2Ftiny_main")
        assert files(Path(shown)) == OLD
        assert [path.name for path in bed.parent.iterdir() if ".partial" in path.name] == []

    def test_a_directory_of_another_tool_is_put_aside(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD)
        theirs = bed.parent / "team%2Ftiny_main"
        theirs.mkdir(parents=True)
        (theirs / "mine.txt").write_text("kept")
        assert files(Path(bed.value(SNAPSHOT))) == OLD
        assert (bed.parent / "team%2Ftiny_main.replaced" / "mine.txt").read_text() == "kept"

    def test_a_place_that_cannot_be_written_is_named(self, bed: Bed) -> None:
        commit = bed.hub.publish("team/tiny", OLD)
        bed.parent.write_text("a file")
        kind, said = bed.value(SNAPSHOT, REVISION=commit)
        assert kind == "HuggingFaceException"
        assert f"cannot be stored in {bed.parent}" in said

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
    def test_the_default_place_is_not_shared_with_other_users(self, bed: Bed) -> None:
        theirs = bed.directory / "metaflow_huggingface"
        theirs.mkdir()
        os.chown(theirs, 4242, 4242)
        base, message, _trace = bed.value(DECORATE)
        assert base == "MetaflowException"
        assert "belongs to another user (uid 4242)" in message

    def test_a_hub_that_repeats_the_token_does_not_get_it_shown(self, bed: Bed) -> None:
        bed.hub.publish("team/tiny", OLD, token="hf_another")
        kind, said = bed.value(SNAPSHOT, TOKEN=TOKEN)
        assert kind == "HuggingFaceException"
        assert "bad token ***" in said
        assert TOKEN not in said
