"""What a person resolves on the command line, what it prints, what it leaves, and how it ends."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.resolving import REPOSITORY, Commands, serve
from tests.support.command_line import ASYNCCACHE, run_command
from tests.support.stores import archives_in, damaged_in
from tests.support.tiny_channel import write_tiny_channel


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_channel(tmp_path_factory.mktemp("tiny") / "channel", payload=60_000)


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    with serve(root) as address:
        yield address


@pytest.fixture
def run(tmp_path: Path, url: str) -> Commands:
    return Commands(tmp_path, url)


@pytest.fixture(autouse=True)
def files(tmp_path: Path) -> None:
    for name, packages in (("one", "app, native"), ("two", "extra, native"), ("bad", "apps"), ("none", "picky, app=2")):
        (tmp_path / f"{name}.yml").write_text(f"dependencies: [{packages}]\n")


PYTHON = ("--python", "3.11.*")


def test_the_life_of_an_environment(run: Commands, tmp_path: Path) -> None:
    first = run("resolve", "one.yml", *PYTHON, "--arch", "linux-64", "--alias", "team/one:v1", "--alias", "team/one")
    assert re.search(
        r"^DEFAULT Environment of type conda-only full hash [0-9a-f]{40}:[0-9a-f]{40}$", first.stdout, re.MULTILINE
    )
    for line in (
        "### Environment for architecture linux-64 (one.yml)",
        "Aliases team/one:v1, team/one:latest (mutable)",
        "Available on linux-64",
        "Resolved by ann",
        "User-requested packages sys::__glibc==2.27=0, conda::app, conda::native, conda::python==3.11.*",
        "Conda Packages installed app==2.0-py_0, lib==2.5-py_0, native==1.1-h2_0, python==3.11.9-h1_0",
    ):
        assert line in first.stdout.splitlines()
    assert "resolving one.yml for linux-64 with rattler" in first.stderr
    assert len(archives_in(tmp_path / "st")) == 4
    again = run("resolve", "-f", "one.yml", *PYTHON, "--arch", "linux-64")
    assert "Aliases team/one:v1, team/one:latest (mutable)" in again.stdout
    assert "known already (--force resolves again)" in again.stderr
    assert "resolving" not in again.stderr
    assert "resolving" in run("resolve", "one.yml", *PYTHON, "--arch", "linux-64", "--force").stderr
    shown = json.loads(run("env", "show", "team/one:v1", "--arch", "linux-64", "--json").stdout)
    assert (shown["env_type"], shown["names"]) == ("conda-only", ["team/one:latest", "team/one:v1"])
    run("warm", "--env", "team/one:v1", "--arch", "linux-64", "--to", "remote")


def test_json_says_ids_packages_sizes_and_notes(run: Commands) -> None:
    result = json.loads(run("resolve", "one.yml", *PYTHON, "--arch", "linux-64", "--json").stdout)
    (row,) = result["environments"]
    assert (row["name"], row["arch"], row["known"], row["resolver"]) == ("one.yml", "linux-64", False, "rattler")
    assert row["bytes"] == sum(row["package_bytes"]) > 4 * 50_000
    assert row["packages"] == len(row["document"]["packages"]) == 4
    assert row["notes"] == result["notes"] == []
    assert len(row["req_id"]) == len(row["full_id"]) == 40


def test_a_dry_run_writes_nothing(run: Commands, tmp_path: Path) -> None:
    result = run("resolve", "one.yml", "two.yml", *PYTHON, "--arch", "linux-64", "--arch", "osx-arm64", "--dry-run")
    assert result.stdout.count("### Environment") == 4
    assert "nothing was written" in result.stderr
    assert run.written() == []


def test_several_architectures_get_one_id_and_one_name(run: Commands) -> None:
    words = ("one.yml", *PYTHON, "--arch", "osx-arm64", "--arch", "linux-64", "--alias", "team/both:v1", "--json")
    mac, linux = json.loads(run("resolve", *words).stdout)["environments"]
    assert (mac["arch"], linux["arch"]) == ("osx-arm64", "linux-64")
    assert (mac["req_id"], mac["full_id"]) == (linux["req_id"], linux["full_id"])
    assert mac["document"]["resolved_archs"] == ["linux-64", "osx-arm64"]
    assert any("osx-arm64" in p["url"] for p in mac["document"]["packages"])
    for arch in ("linux-64", "osx-arm64"):
        shown = json.loads(run("env", "show", "team/both:v1", "--arch", arch, "--json").stdout)
        assert shown["full_id"] == mac["full_id"]
    assert [r["known"] for r in json.loads(run("resolve", *words).stdout)["environments"]] == [True, True]


def test_a_request_means_the_same_whatever_its_order_and_spelling_and_on_any_machine(
    run: Commands, tmp_path: Path
) -> None:
    (tmp_path / "same.yml").write_text("# a comment\ndependencies:\n  - native\n  - app   # ours\n")
    words = (*PYTHON, "--arch", "linux-64", "--dry-run", "--json")
    other: dict[str, Any] = {"HOME": str(tmp_path / "other"), "METAFLOW_USER": "ben", "CONDA_OVERRIDE_CUDA": "12.0"}
    ids = {
        json.loads(run("resolve", name, *words, **more).stdout)["environments"][0]["req_id"]
        for name in ("one.yml", "same.yml")
        for more in ({}, other)
    }
    assert len(ids) == 1


def test_channels_of_condas_configuration_are_part_of_the_request_and_asked(run: Commands, tmp_path: Path) -> None:
    environ = run.environment(CONDA_SUBDIR="linux-64")
    del environ["ASYNCCACHE_CHANNELS"]
    (tmp_path / ".condarc").write_text(f"channels: [team]\ncustom_multichannels:\n  team: ['{run.channel}']\n")
    words = ["resolve", "one.yml", *PYTHON, "--arch", "linux-64", "--json", "--store", run.store]
    for known in (False, True):
        done = run_command(words, cwd=tmp_path, env=environ)
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)["environments"]
        assert row["known"] is known
        assert row["document"]["sources"] == [f"conda::{run.channel}/{subdir}" for subdir in ("linux-64", "noarch")]


def test_all_failures_are_shown_together_and_the_others_are_done(run: Commands, tmp_path: Path) -> None:
    result = run("resolve", "one.yml", "bad.yml", "none.yml", "absent.yml", *PYTHON, "--arch", "linux-64", code=1)
    assert "app==2.0-py_0" in result.stdout
    for sentence in ("failed: bad.yml (linux-64): ", "failed: none.yml (linux-64): ", "absent.yml cannot be read"):
        assert sentence in result.stderr
    assert "error: 3 of 4 environments failed; the others are complete" in result.stderr
    assert len(archives_in(tmp_path / "st")) == 4


@pytest.mark.parametrize(("name", "code"), [("bad.yml", 11), ("none.yml", 10), ("absent.yml", 9)])
def test_each_failure_has_its_exit_code(run: Commands, name: str, code: int) -> None:
    result = run("resolve", name, *PYTHON, "--arch", "linux-64", code=code)
    assert result.stderr.count("error: ") == 1


def test_an_index_that_does_not_answer_and_one_that_was_never_read(run: Commands, tmp_path: Path) -> None:
    run("resolve", "one.yml", *PYTHON, "--arch", "linux-64", code=12, ASYNCCACHE_CHANNELS='["http://127.0.0.1:9/ch"]')
    run("resolve", "one.yml", *PYTHON, "--arch", "linux-64", "--offline", code=12)
    run("resolve", "one.yml", *PYTHON, "--arch", "linux-64")
    # what was fetched before does offline
    run("resolve", "two.yml", *PYTHON, "--arch", "linux-64", "--offline", "--dry-run")
    del tmp_path


def test_an_environment_is_extended_and_resolved_again(run: Commands) -> None:
    at = ("--arch", "linux-64", "--json")
    run("resolve", "one.yml", *PYTHON, *at, "--alias", "team/base:v1")
    more = json.loads(run("resolve", "-f", "two.yml", "--using", "team/base:v1", *at).stdout)["environments"][0]
    names = [p["filename"] for p in more["document"]["packages"]]
    assert {"app-2.0-py_0", "lib-2.5-py_0", "extra-0.3-py_0", "python-3.11.9-h1_0"} <= set(names)
    assert more["document"]["accurate_source"] is False
    again = json.loads(run("resolve", "--from", "team/base:v1", "--arch", "osx-arm64", "--json").stdout)
    assert again["environments"][0]["document"]["packages"][0]["url"].count("/osx-arm64/") == 1
    missing = run("resolve", "-f", "two.yml", "--using", "team/bass:v1", *at, code=9)
    assert json.loads(missing.stderr)["hint"] == "did you mean team/base:v1?"
    run("resolve", "-f", "two.yml", "--using", "team/base:v1", "--arch", "osx-64", code=9)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "there is nothing to resolve"),
        (("-r", "a", "-f", "b", "-p", "c"), "-r, -f and -p exclude each other"),
        (("one.yml", "--python", "3.11", "--using", "x"), "--python and --using exclude each other"),
        (("--python", "3.11", "--from", "x"), "--python and --from exclude each other"),
        (("one.yml", "--using", "x", "--using-pathspec", "F/1/s"), "--using and --using-pathspec exclude each other"),
        (("--from", "x", "--from-pathspec", "F/1/s"), "--from and --from-pathspec exclude each other"),
        (("--using", "x", "--from", "y"), "--using and --from exclude each other"),
        (("one.yml", "--from", "y"), "--from takes its requirements from an environment"),
        (("one.yml", "two.yml", "--alias", "x"), "one name cannot mean 2 environments"),
        (("one.yml", "--alias", "x", "--no-cache"), "a name is given to what is in the store only"),
        (("one.yml", "--resolver", "uv", "--resolver", "pip"), "--resolver names two programs"),
        (("one.yml", "--arch", "linux-65"), "an architecture has an unknown name"),
        (("one.yml", "--arhc", "linux-64"), "No such option"),
        (("one.yml", "--metaflow-deps", "floppy"), "Invalid value for '--metaflow-deps'"),
    ],
)
def test_options_that_exclude_each_other_are_refused(
    run: Commands, tmp_path: Path, words: tuple[str, ...], sentence: str
) -> None:
    assert sentence in run("resolve", *words, code=2).stderr
    assert run.written() == []


def test_the_pins_of_metaflow_enter_when_they_are_asked_for(run: Commands) -> None:
    words = ("resolve", "one.yml", *PYTHON, "--arch", "linux-64", "--dry-run", "--json")
    plain, pinned = (json.loads(run(*words, *w).stdout)["environments"][0] for w in ((), ("--metaflow-deps", "local")))
    assert "conda::requests==>=2.21.0" in pinned["document"]["deps"]
    assert plain["req_id"] != pinned["req_id"]
    assert "requests-2.31.0-py_0" in {p["filename"] for p in pinned["document"]["packages"]}


def test_exclude_newer_and_a_missing_resolver_are_refused_clearly(run: Commands) -> None:
    at = ("one.yml", *PYTHON, "--arch", "linux-64")
    assert "exclude_newer is no date" in run("resolve", *at, "--exclude-newer", "yesterday", code=3).stderr
    run("resolve", *at, "--exclude-newer", "2001-01-01", code=None)
    missing = run("resolve", *at, "--resolver", "mamba", code=3, PATH=str(Path(sys.executable).parent))
    assert "Could not find conda binary for mamba" in missing.stderr
    assert "rattler" in missing.stderr


@pytest.fixture
def slow(root: Path) -> Iterator[str]:
    with serve(root, "--bandwidth", "120000") as address:
        yield address


@pytest.mark.long
def test_a_killed_run_leaves_nothing_half_made_and_the_next_one_goes_on(
    run: Commands, slow: str, tmp_path: Path
) -> None:
    words = [ASYNCCACHE, "resolve", "one.yml", *PYTHON, "--arch", "linux-64", "--alias", "team/k:v1", "--store", "st"]
    environment = Commands(tmp_path, slow).environment()
    hit = 0
    for moment in (0.6, 1.0, 1.4, 1.8, 2.2):
        with subprocess.Popen(
            words, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        ) as process:
            time.sleep(moment)
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                hit += 1
        assert damaged_in(tmp_path / "st") == []
        documents = list((tmp_path / "st" / "envs").rglob("env"))
        for document in documents:
            for package in json.loads(document.read_bytes())["packages"]:
                assert all((tmp_path / "st" / entry["url"]).exists() for entry in package["cache_info"].values())
        assert bool(documents) or not (tmp_path / ".metaflow").exists()
    assert hit >= 2
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert len(archives_in(tmp_path / "st")) == 4
    assert json.loads(run("env", "show", "team/k:v1", "--arch", "linux-64", "--json").stdout)["names"] == ["team/k:v1"]


def test_the_documentation_names_every_option() -> None:
    page = (REPOSITORY / "docs" / "resolving.md").read_text("utf-8")
    said = subprocess.run([ASYNCCACHE, "resolve", "--help"], capture_output=True, text=True, check=True).stdout
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", said.partition("Options:")[2])) - {"--help"}
    # what is the default is said by its opposite
    options -= {"--cache", "--set-default", "--no-force"}
    options -= {"--receipt", "--metrics-file"}  # of every command: docs/operating.md
    assert len(options) > 25
    assert sorted(option for option in options if f"`{option}`" not in page) == []


def test_every_command_of_the_documentation_runs(run: Commands, tmp_path: Path) -> None:
    (tmp_path / "one.yml").rename(tmp_path / "environment.yml")
    (tmp_path / "two.yml").rename(tmp_path / "more.yml")
    page = (REPOSITORY / "docs" / "resolving.md").read_text("utf-8")
    commands = [shlex.split(line) for line in re.findall(r"^\$ asynccache (.*)$", page, re.MULTILINE)]
    assert len(commands) >= 5
    for words in commands:
        run(*words, *(() if "--arch" in words else ("--arch", "linux-64")), *_python(words))


def _python(words: list[str]) -> tuple[str, ...]:
    """Python of the channel, where the documentation means the running one."""
    return () if {"--python", "--using", "--from"} & set(words) else PYTHON
