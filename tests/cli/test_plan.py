"""`asynccache plan` takes a command with its own options, and says what it would do."""

import json
from pathlib import Path

import pytest

from asynccache_cli.main import run
from asynccache_cli.plan import PLANNED
from tests.support.small_channel import SyntheticChannel


@pytest.fixture
def bed(
    url: str,
    channel: SyntheticChannel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Path:
    """A directory with a store `st` of two packages, one in each format, which is worked in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASYNCCACHE_CACHE_DIR", str(tmp_path / "cache"))
    assert run(["cache", "--store", "st", *(f"{url}/linux-64/{path.name}" for path in channel.paths[:2])]) == 0
    capfd.readouterr()
    return tmp_path


def _tree(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_plan_shows_bytes_requests_and_seconds_and_changes_nothing(
    bed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = _tree(bed / "st")
    assert run(["plan", "backfill", "--store", "st", "--to", ".conda", "--match", "synthetic-0000-*"]) == 0
    said = capfd.readouterr().out
    assert "objects   1: 1 to be transmuted" in said
    assert "put" in said
    assert "seconds   about " in said
    assert "money     not shown: the setting prices" in said
    assert _tree(bed / "st") == before


def test_prices_are_the_users(bed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ASYNCCACHE_PRICES", '{"list": 1000, "get": 1000, "put": 1000, "currency": "EUR"}')
    assert run(["plan", "--json", "verify", "--store", "st"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["type"], found["command"], found["requests"]["put"]) == ("result", "verify", 2)
    assert found["money"]["requests"] == sum(found["requests"][kind] for kind in ("list", "get", "put"))
    assert (found["money"]["currency"], found["money"]["unpriced"]) == ("EUR", ["delete", "out"])
    monkeypatch.setenv("ASYNCCACHE_PRICES", '{"rent": 1}')
    assert run(["plan", "verify", "--store", "st"]) == 3
    assert "numbers by `list`, `get`" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["resolve", "stat", "plan"])
def test_what_cannot_be_planned_is_refused_by_a_sentence_that_names_what_can(
    name: str, bed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    del bed
    assert run(["plan", name]) == 2
    assert f"`{name}` cannot be planned: expected {', '.join(PLANNED)}" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["verify", "--nothing"], "asynccache plan verify --help"),
        (["backfill", "--to", ".conda", "--merge", "2"], "has no plan"),
        (["clean", "--store", "--keep", "x"], "--keep and --keep-bytes are for this machine"),
        (["nothing"], "there is no command `nothing`"),
    ],
)
def test_words_mean_what_they_mean_to_the_command(
    words: list[str], sentence: str, bed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    del bed
    assert run(["plan", *words]) == 2
    assert sentence in capfd.readouterr().err


@pytest.mark.parametrize("name", PLANNED)
def test_its_help_is_that_of_the_command(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", name, "--help"]) == 0
    planned = capfd.readouterr().out
    assert run([name, "--help"]) == 0
    assert planned.replace("asynccache plan ", "asynccache ") == capfd.readouterr().out


def test_what_cleaning_frees_is_planned_too(bed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    archive = bed / "cache" / "pkgs" / "a-1-0.conda"
    archive.parent.mkdir()
    archive.write_bytes(b"12345")
    assert run(["plan", "clean", "--keep-bytes", "0", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["work"], found["freed_bytes"], found["seconds"]) == ({"archives to be removed": 1}, 5, None)
    assert archive.exists()
