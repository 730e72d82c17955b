"""What a person does with environments on the command line, what it prints, and how it ends."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache import __version__
from tests.support.command_line import items_of, run_command
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in

Result = subprocess.CompletedProcess[str]
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def call(*arguments: str | Path, user: str = "ann", code: int | None = 0) -> Result:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))}
        environment = {**clean, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "xdg"), "METAFLOW_USER": user}
        result = run_command([*arguments, "--store", "st"], cwd=tmp_path, env=environment)
        assert code is None or result.returncode == code, result.stderr + result.stdout
        assert "Traceback" not in result.stderr
        return result

    return call


@pytest.fixture
def lists(channel: SyntheticChannel, url: str, tmp_path: Path) -> None:
    for name, begin, end in (("one.txt", 0, 6), ("two.txt", 2, 8)):
        lines = [f"{p.url}#{p.digests.md5}" for p in channel.packages(url)[begin:end]]
        (tmp_path / name).write_text("@EXPLICIT\n" + "\n".join(lines))


@pytest.mark.usefixtures("lists")
def test_the_life_of_a_named_environment(run: Run, tmp_path: Path) -> None:
    made = json.loads(run("env", "import", "one.txt", "--alias", "team/env:v1", "--alias", "team/env", "--json").stdout)
    assert made["names"] == ["team/env:v1", "team/env:latest"]
    run("env", "import", "two.txt", "--alias", "team/env", user="ben")

    listed = run("env", "ls")
    assert "team/env:v1" in listed.stdout
    assert "2 environments" in listed.stderr
    rows = items_of(run("env", "ls", "--json").stdout)
    assert [(r["resolved_by"], r["names"], r["local"], r["remote"]) for r in rows] == [
        ("ben", ["team/env:latest"], True, True),
        ("ann", ["team/env:v1"], True, True),
    ]
    for words, count in ((["--by", "ben"], 1), (["*:v1"], 1), (["--local"], 2), (["--remote", "--arch", "osx-64"], 0)):
        assert len(items_of(run("env", "ls", *words, "--json").stdout)) == count

    first, second = (f"{r['req_id']}:{r['full_id']}" for r in reversed(rows))
    assert first in run("env", "show", "team/env:v1").stdout
    assert json.loads(run("env", "show", second.split(":")[1], "--json").stdout)["names"] == ["team/env:latest"]
    assert "2 added, 2 removed, 0 changed, 4 the same" in run("env", "diff", "team/env:v1", "team/env").stdout

    moves = items_of(run("env", "history", "team/env", "--json").stdout)
    assert [(m["by"], ":".join(m["target"])) for m in moves] == [("ann", first), ("ben", second)]
    assert [(m["command"], m["version"]) for m in moves] == [("asynccache env import", __version__)] * 2
    assert f"team/env:latest is {first}, was {second}" in run("env", "rollback", "team/env").stdout
    assert run("env", "history", "team/env:latest").stdout.count("\n") == 4

    assert f"team/env:v2 is {second}" in run("env", "alias", second, "team/env:v2").stdout
    assert "already" in run("env", "alias", second, "team/env:v2").stdout
    (tmp_path / ".metaflow" / "conda_v2.cnd").unlink()
    assert "as default" in run("env", "get", "team/env:v2").stdout
    assert len(items_of(run("env", "ls", "--local", "--json").stdout)) == 1


@pytest.mark.usefixtures("lists")
def test_clean_with_store_removes_what_dead_processes_left_there_and_nothing_here(run: Run, tmp_path: Path) -> None:
    run("env", "import", "one.txt")
    left = tmp_path / "st" / "asynccache" / "doctor" / "12-34"
    for path in (left, left.with_name("12-35")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    os.utime(left, (0, 0))
    assert [each["key"] for each in json.loads(run("clean", "--store", "--dry-run", "--json").stdout)["removed"]] == [
        "asynccache/doctor/12-34"
    ]
    assert f"1 leftovers removed from {tmp_path / 'st'}" in run("clean", "--store", str(tmp_path / "st")).stdout
    assert (left.exists(), left.with_name("12-35").exists()) == (False, True)
    (entry,) = (tmp_path / "st/asynccache/log").iterdir()
    deed = json.loads(entry.read_text())
    assert (deed["what"], deed["command"], deed["user"]) == ("delete", "asynccache clean", "ann")
    assert "are for this machine" in run("clean", "--store", "--keep-bytes", "1G", code=2).stderr


@pytest.mark.usefixtures("lists")
def test_an_environment_is_warmed_and_the_receipt_says_what_was_done(run: Run, tmp_path: Path) -> None:
    run("env", "import", "one.txt", "--alias", "team/env:v1")
    run("env", "import", "two.txt", "--alias", "team/env:v2")
    victim = archives_in(tmp_path / "st")[0]
    victim.unlink()
    broken = run("verify", code=5)
    assert f"1 of its 6 packages are missing: {victim.name}" in broken.stdout
    result = run("warm", "--env", "team/env:v1", "--env", "team/env:v2")
    assert "2 of 2 environments ready, 8 distinct packages" in result.stdout
    assert "1 127.0.0.1" in result.stdout
    assert "0 documents or names" not in run("verify").stdout
    receipt = json.loads(run("warm", "--env", "team/env:v1", "--json").stdout)
    assert receipt["ready"]
    row = receipt["environments"][0]
    assert (row["environment"], row["packages"], row["complete"], row["verified"]) == ("team/env:v1", 6, 6, 6)
    assert (row["from"], receipt["fetched_bytes"], receipt["runs"]) == ({"node": 6}, 0, [])


@pytest.mark.usefixtures("lists")
def test_warming_ends_with_an_error_code_unless_everything_is_there(run: Run, tmp_path: Path) -> None:
    run("env", "import", "one.txt", "--alias", "team/env:v1")
    document = json.loads(run("env", "export", "team/env:v1", "--format", "json").stdout)
    lost = {**document["packages"][0], "filename": "lost-1-0", "hashes": {".tar.bz2": "0" * 32}, "cache_info": {}}
    lost["url"] = lost["url"].rsplit("/", 1)[0] + "/lost-1-0.tar.bz2"
    (tmp_path / "lost.json").write_text(
        json.dumps({**document, "packages": [*document["packages"], lost], "env_id": None})
    )
    result = run("warm", "--env", "lost.json", code=17)
    assert "NOT READY" in result.stdout
    assert "1 of 1 environments are not ready" in result.stderr
    assert run("env", "import", "lost.json", "--alias", "a/b:v1", code=17).stdout == ""
    assert items_of(run("env", "ls", "a/b*", "--json").stdout) == []


@pytest.mark.usefixtures("lists")
@pytest.mark.parametrize(
    ("fmt", "file"),
    [("explicit", "e.txt"), ("conda-lock", "conda-lock.yml"), ("pixi-lock", "pixi.lock"), ("json", "e.json")],
)
def test_what_is_exported_can_be_imported_elsewhere_with_the_same_identity(
    run: Run, tmp_path: Path, fmt: str, file: str
) -> None:
    made = json.loads(run("env", "import", "one.txt", "--alias", "team/env:v1", "--json").stdout)["environments"][0]
    run("env", "export", "team/env:v1", "--format", fmt, "-o", file)
    (tmp_path / "st").rename(tmp_path / "old")
    (tmp_path / ".metaflow" / "conda_v2.cnd").unlink()
    run("env", "import", file, "--alias", "other/env:v1")
    shown = json.loads(run("env", "show", "other/env:v1", "--json").stdout)
    assert (shown["req_id"], shown["full_id"]) == (made["req_id"], made["full_id"])


@pytest.mark.usefixtures("lists")
def test_the_step_of_a_run_leads_to_its_environment(run: Run, tmp_path: Path) -> None:
    made = json.loads(run("env", "import", "one.txt", "--json").stdout)["environments"][0]
    meta = tmp_path / ".metaflow/TrainFlow/17/end/3/_meta"
    meta.mkdir(parents=True)
    (tmp_path / ".metaflow/TrainFlow/latest_run").write_text("17")
    triple = json.dumps([made["req_id"], made["full_id"], made["arch"]])
    (meta / "sysmeta_conda_env_id_5.json").write_text(json.dumps({"value": triple, "ts_epoch": 5}))
    for pathspec in ("TrainFlow", "TrainFlow/17", "TrainFlow/17/end", "step:TrainFlow/17/end/3"):
        assert made["full_id"] in run("env", "show", pathspec).stdout
    run("env", "alias", "TrainFlow/17/end", "team/trained:stable")
    assert "no run is known as TrainFlow/18" in run("env", "show", "TrainFlow/18", code=9).stderr


@pytest.mark.usefixtures("lists")
def test_each_kind_of_bad_input_is_one_clear_sentence(run: Run, tmp_path: Path) -> None:
    run("env", "import", "one.txt", "--alias", "team/env:v1")
    run("env", "import", "two.txt", "--alias", "team/other:v1")
    for words, code, sentence in (
        (["env", "show", "team/evn:v1"], 9, "no environment is known as team/evn:v1; did you mean team/env:v1"),
        (["env", "show", "Abc:def"], 2, "'Abc:def' is no environment alias: expected NAME[:TAG]"),
        (["env", "show", "a" * 40 + ":" + "b" * 39], 2, "is a malformed id: expected 40 hexadecimal digits, found 39"),
        (["env", "show", "0" * 40], 9, "no environment is known as " + "0" * 40),
        (
            ["env", "show", "team/env:v1", "--arch", "osx-64"],
            9,
            "is not available for osx-64: expected --arch linux-64",
        ),
        (["env", "show", "team/env:v1", "--arch", "vax"], 2, "an architecture has an unknown name: expected linux-64"),
        (["env", "show", "none.json"], 9, "none.json cannot be read"),
        (["env", "alias", "team/other:v1", "team/env:v1"], 19, "team/env:v1 is immutable and refers to"),
        (["env", "alias", "team/other:v1", "Team:v1"], 2, "'Team:v1' is no environment alias"),
        (["env", "alias", "a" * 40 + ":" + "b" * 40, "x:v1"], 9, "of which no document is known"),
        (["env", "history", "team/env:v1"], 2, "team/env:v1 is immutable: it refers to"),
        (["env", "rollback", "team/env:v1"], 2, "is immutable and has no history to go back in"),
        (["env", "import", "nowhere.txt"], 9, "nowhere.txt cannot be read"),
        (["env", "import", "one.txt", "--spec", "numpy"], 2, "'numpy' is no requirement: expected conda::"),
        (["env", "ls", "--local", "--remote"], 2, "--local and --remote exclude each other"),
        (["env", "lss"], 2, "There is no command `env lss`. Did you mean `ls`?"),
        (["warm"], 2, "there is nothing to warm; name an environment with --env"),
    ):
        result = run(*words, code=code)
        assert sentence in result.stderr, (words, result.stderr)
    document = next((tmp_path / "st/envs").rglob("env"))
    document.chmod(0o644)
    ids = ":".join(document.parts[-3:-1])
    document.write_bytes(document.read_bytes()[:200])
    (tmp_path / ".metaflow" / "conda_v2.cnd").unlink()
    assert f"the document of {ids} is not JSON" in run("env", "show", ids, code=5).stderr
    assert "unreadable" in run("env", "ls").stdout
    (tmp_path / ".metaflow" / "conda_v2.cnd").write_text("{")
    assert "is malformed" in run("env", "ls", code=5).stderr
    other = next(p for p in (tmp_path / "st/envs").rglob("env") if p != document)
    said = run("env", "get", ":".join(other.parts[-3:-1]), code=None)
    assert said.returncode in {0, 5}


def test_every_command_of_the_group_teaches(tmp_path: Path) -> None:
    listing = run_command(["env", "--help"], cwd=tmp_path, env=os.environ).stdout
    commands = [line.split()[0] for line in listing.partition("Commands:\n")[2].splitlines() if line.strip()]
    assert commands == ["ls", "show", "diff", "history", "get", "alias", "rollback", "export", "import"]
    for command in commands:
        text = run_command(["env", command, "--help"], cwd=tmp_path, env=os.environ).stdout
        assert "Example" in text
        assert "--json" in text
