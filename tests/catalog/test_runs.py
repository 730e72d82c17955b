"""Steps of runs lead to environments, as Metaflow's local datastore records them."""

import json
from pathlib import Path

import pytest

from asynccache.catalog.runs import Runs
from asynccache.errors import ObjectNotFoundError, UsageError

IDS = ("a" * 40, "b" * 40)


def _record(root: Path, pathspec: str, value: str | None, when: int = 1) -> None:
    meta = root / pathspec / "_meta"
    meta.mkdir(parents=True, exist_ok=True)
    flow, run = pathspec.split("/")[:2]
    (root / flow / "latest_run").write_text(run)
    if value is not None:
        record = {"field_name": "conda_env_id", "value": value, "ts_epoch": when}
        (meta / f"sysmeta_conda_env_id_{when}.json").write_text(json.dumps(record))


def _value(full_id: str = IDS[1]) -> str:
    return json.dumps([IDS[0], full_id, "linux-64"])


@pytest.mark.parametrize(
    "pathspec", ["Flow", "Flow/12", "Flow/12/end", "Flow/12/end/7", "Flow/latest", "Flow/latest/end"]
)
async def test_a_flow_and_a_run_mean_the_end_step_of_the_latest_run(tmp_path: Path, pathspec: str) -> None:
    _record(tmp_path, "Flow/11/end/3", _value("c" * 40))
    _record(tmp_path, "Flow/12/start/6", _value("d" * 40))
    _record(tmp_path, "Flow/12/end/7", _value())
    assert await Runs(tmp_path, client=False).ids(pathspec) == IDS


async def test_the_last_attempt_counts(tmp_path: Path) -> None:
    _record(tmp_path, "Flow/12/end/7", _value("c" * 40), 5)
    _record(tmp_path, "Flow/12/end/7", _value(), 9)
    assert await Runs(tmp_path, client=False).ids("Flow") == IDS


async def test_without_a_note_of_the_latest_run_the_newest_is_taken(tmp_path: Path) -> None:
    _record(tmp_path, "Flow/12/end/7", _value())
    _record(tmp_path, "Flow/12/_parameters/0", None)
    (tmp_path / "Flow/latest_run").unlink()
    assert await Runs(tmp_path, client=False).ids("Flow") == IDS


@pytest.mark.parametrize("value", [None, "", '["", "", ""]'])
async def test_a_step_without_an_environment_says_so(tmp_path: Path, value: str | None) -> None:
    _record(tmp_path, "Flow/12/end/7", value)
    with pytest.raises(UsageError, match="Flow/12/end used no environment"):
        await Runs(tmp_path, client=False).ids("Flow/12")


@pytest.mark.parametrize("value", ["abcdef", '["a"]', '["x", "y", "z"]'])
async def test_an_environment_of_an_older_system_says_so(tmp_path: Path, value: str) -> None:
    _record(tmp_path, "Flow/12/end/7", value)
    with pytest.raises(UsageError, match="older Conda environment system"):
        await Runs(tmp_path, client=False).ids("Flow/12")


async def test_an_unknown_run_and_an_unknown_flow_say_what_is_there(tmp_path: Path) -> None:
    _record(tmp_path, "Flow/12/end/7", _value())
    with pytest.raises(ObjectNotFoundError, match=r"no run is known as Flow/13; .* has other runs"):
        await Runs(tmp_path, client=False).ids("Flow/13")
    with pytest.raises(ObjectNotFoundError, match="has no such flow"):
        await Runs(tmp_path, client=False).ids("Other")


@pytest.mark.parametrize("pathspec", ["", "Flow//end", "Flow/1/2/3/4", "../x", "Flow/.."])
async def test_what_is_no_pathspec_is_refused(tmp_path: Path, pathspec: str) -> None:
    with pytest.raises(UsageError, match="is no pathspec"):
        await Runs(tmp_path, client=False).ids(pathspec)


async def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    _record(tmp_path, "Flow/12/end/7", _value())
    path = next(tmp_path.rglob("sysmeta_*"))
    path.write_text("{")
    with pytest.raises(UsageError, match=path.name):
        await Runs(tmp_path, client=False).ids("Flow/12")


async def test_what_is_not_there_is_asked_of_metaflows_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "modules" / "metaflow"
    package.mkdir(parents=True)
    (package / "exception.py").write_text("class MetaflowNotFound(Exception): pass\n")
    (package / "__init__.py").write_text(
        "from metaflow.exception import MetaflowNotFound\n"
        "class Flow:\n"
        "    def __init__(self, name, _namespace_check=True):\n"
        "        assert not _namespace_check\n"
        "        self.latest_run = type('Run', (), {'id': '7'})()\n"
        "class Step:\n"
        "    def __init__(self, name, _namespace_check=True):\n"
        "        if name != 'Remote/7/end':\n"
        "            raise MetaflowNotFound(name)\n"
        f"        self.task = type('Task', (), {{'metadata_dict': {{'conda_env_id': {_value()!r}}}}})()\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    for name in ("metaflow", "metaflow.exception"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    assert await Runs(tmp_path).ids("Remote") == IDS
    with pytest.raises(ObjectNotFoundError):
        await Runs(tmp_path).ids("Remote/8/end")
    for name in ("metaflow", "metaflow.exception"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
