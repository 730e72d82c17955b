"""Several environments in one call of `asynccache create`: each at its place, each for itself."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.api import Session, Settings, events
from asynccache.errors import UsageError
from asynccache.model.digest import digest_file
from tests.support.channel import cached_channel
from tests.support.command_line import items_of, run_command
from tests.support.hydration import channel_paths

Run = Callable[..., subprocess.CompletedProcess[str]]
NAMES = {
    "team/links:v1": ("feature-symlinks",),
    "team/text:v1": ("feature-prefix-text", "feature-symlinks"),
    "team/shell:v1": ("feature-activate",),
}


async def _filled(root: Path) -> str:
    async with Session(Settings(store=str(root / "store"), cache_dir=root / "cache"), writing=True) as session:
        for alias, packages in NAMES.items():
            paths = channel_paths(cached_channel("small"), *packages)
            lines = [f"{path.as_uri()}#{digest_file(str(path), 'md5').md5}" for path in paths]
            (root / "list.txt").write_text("\n".join(["@EXPLICIT", *lines]))
            (await session.import_environment(root / "list.txt", names=[alias])).raise_for_failures()
    return str(root / "store")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store that has three small environments, two of which share a package."""
    root = tmp_path_factory.mktemp("several")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # where this machine's list lies
        return asyncio.run(_filled(root))


@pytest.fixture
def run(store: str, tmp_path: Path) -> Run:
    """Runs commands on a machine that has nothing yet."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_", "CONDA_"))}
    own = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "xdg"), "ASYNCCACHE_STORE": store}

    def call(*words: str | Path, code: int = 0, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        result = run_command(words, cwd=tmp_path, env={**clean, **own, "METAFLOW_USER": "ann"}, stdin=stdin)
        assert result.returncode == code, result.stderr + result.stdout
        assert "Traceback" not in result.stderr
        return result

    return call


def complete(directory: Path) -> list[str]:
    """Return the names of the whole environments in a directory; nothing else is in it."""
    names = sorted(path.name for path in directory.iterdir() if not path.name.startswith(".lock"))
    assert all((directory / name / ".metaflowenv").is_file() for name in names if not name.startswith("."))
    return [name for name in names if name != "mf_env-creation.lock" and not name.startswith(".asynccache")]


def test_each_goes_into_the_directory_and_one_that_fails_does_not_stop_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").write_text("mine")
    listed = "team/shell:v1 ../taken\n \nteam/text:v1   in my own words  \r\nteam/none:v1\n"
    done = run("create", "team/links:v1", "-", "--into", "envs", "--json", stdin=listed, code=1)
    items = {item["asked"]: item for item in items_of(done.stdout)}
    assert {name: item.get("prefix", item.get("cause")) for name, item in items.items()} == {
        "team/links:v1": str(tmp_path / "envs/team_links_v1"),
        "team/shell:v1": "environment",
        "team/text:v1": str(tmp_path / "envs/in my own words"),
        "team/none:v1": "not-found",
    }
    assert json.loads(done.stdout.splitlines()[-1]) == {"type": "result", "schema": 1, "count": 4, "failed": 2}
    error = json.loads(done.stderr.splitlines()[-1])
    assert error["message"] == "2 of 4 environments were not created"
    assert sorted(cause["first"] for cause in error["causes"]) == ["team/none:v1", "team/shell:v1"]
    assert complete(tmp_path / "envs") == ["in my own words", "team_links_v1"]
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["file"]


def test_without_a_place_each_is_where_it_would_be_alone_and_is_found_again(run: Run, tmp_path: Path) -> None:
    alone = json.loads(run("create", "team/links:v1", "--json").stdout)
    said = run("create", *NAMES, "team/links:v1").stdout.splitlines()
    assert sorted(line.partition(": ")[0] for line in said) == sorted(NAMES)
    assert [line for line in said if line.endswith("already created and valid")] == [
        f"team/links:v1: Environment at '{alone['prefix']}' already created and valid"
    ]
    quiet = run("create", *NAMES, "--quiet").stdout.splitlines()
    assert quiet[0] == f"{alone['prefix']}/bin/python"
    assert [Path(line).parents[1].parent for line in quiet] == [tmp_path / "xdg/asynccache/envs"] * 3
    refused = run("create", "team/none:v1", "team/none:v2", "--into", "envs", code=9).stderr
    assert "failed: team/none:v" in refused
    # the failure of the only one is the command's
    assert "no environment" in run("create", "-", stdin="team/none:v1\n", code=9).stderr


@pytest.mark.parametrize(
    ("words", "listed", "said"),
    [
        (("team/links:v1", "team/text:v1", "--prefix", "here"), None, "--prefix is of one environment"),
        (("team/links:v1", "--into", "envs", "--name", "one"), None, "--name is of one environment"),
        (("-", "--into-dir", "work"), "team/links:v1", "--into-dir is of one environment"),
        (("-",), "team/links:v1 here\nteam/text:v1 ./here\n", "would both be made at"),
        (("-",), "\n", "the list on standard input is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(
    run: Run, tmp_path: Path, words: tuple[str, ...], listed: str | None, said: str
) -> None:
    assert said in run("create", *words, stdin=listed, code=2).stderr
    assert not any((tmp_path / name).exists() for name in ("here", "envs", "work", "xdg/asynccache/envs"))


async def test_a_program_makes_several_and_a_package_that_both_need_is_extracted_once(
    store: str, tmp_path: Path
) -> None:
    extracted: list[str] = []

    def emit(event: events.Event) -> None:
        if isinstance(event, events.PackageExtracted):
            extracted.append(event.package)

    async with Session(Settings(store=store, cache_dir=tmp_path / "cache"), emit=emit) as session:
        made = await session.create_all("team/links:v1", ("team/text:v1", "mine"), into=tmp_path / "envs")
        made.raise_for_failures()
        with pytest.raises(UsageError, match="nothing to create"):
            await session.create_all()

    assert [(each.name, each.place) for each in made.results] == [
        ("team/links:v1", tmp_path / "envs/team_links_v1"),
        ("team/text:v1", tmp_path / "envs/mine"),
    ]
    assert sorted(extracted) == sorted(set(extracted))
    assert len(extracted) == 2
