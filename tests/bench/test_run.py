"""Running cases: which there are, what is written, and that one that fails does not stop the others."""

import json
from pathlib import Path

import pytest

from asynccache.errors import UsageError
from asynccache_cli.bench import load_benchmarks
from asynccache_cli.main import run as run_command_line
from bench import run
from bench.bed import Bed
from bench.case import CASES, Case
from bench.harness import REPOSITORY, ContenderError
from bench.results import CaseResult

DOCUMENT = REPOSITORY / "docs" / "benchmarks.md"


@pytest.mark.parametrize("name", CASES)
def test_every_case_says_what_it_measures_and_is_documented(name: str) -> None:
    assert CASES[name].summary
    assert CASES[name].blank().about
    first_cells = [line.split("|")[1] for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in cell for cell in first_cells)


def test_an_unknown_case_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no benchmark 'speed'") as caught:
        run.run(["limits", "speed"], out=tmp_path / "out")
    assert "transmute-to-conda" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_case_that_fails_is_told_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bed: Bed, found: CaseResult) -> None:
        found.notes.append("half done")
        raise ContenderError("`peer` ended with code 1: no luck")

    def fine(bed: Bed, found: CaseResult) -> None:
        found.notes.append(f"In {bed.rounds} rounds.")

    cases = {
        "broken": Case("breaks", broken, lambda: CaseResult("broken", "Broken", "")),
        "fine": Case("works", fine, lambda: CaseResult("fine", "Fine", "")),
    }
    monkeypatch.setattr(run, "CASES", cases)
    shown: list[str] = []
    document = run.run(out=tmp_path, rounds=2, show=shown.append)
    assert document["cases"][0]["notes"] == []
    assert [case["error"] for case in document["cases"]] == ["`peer` ended with code 1: no luck", None]
    assert "not measured: `peer` ended with code 1" in shown[0]
    assert "In 2 rounds." in (tmp_path / "index.html").read_text("utf-8")


def test_a_quick_run_measures_contenders_and_writes_json_and_a_page(tmp_path: Path) -> None:
    document = run.run(["transmute-to-conda"], quick=True, out=tmp_path)
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == document
    (case,) = document["cases"]
    assert case["error"] is None
    (group,) = case["groups"]
    names = list(group["contenders"])
    assert names[0].startswith("asynccache")
    assert any("cph" in name for name in names)
    for contender in group["contenders"].values():
        (sample,) = contender["samples"]
        assert {"wall", "cpu", "peak", "start_cpu", "work_wall"} <= set(sample)
    assert all(target["reached"] is None for target in case["targets"])
    assert document["machine"]["cores"] >= 1
    assert document["command"] == "asynccache bench --case transmute-to-conda --quick"
    assert "| `transmute-to-conda` | fewer CPU seconds than cph" in (tmp_path / "targets.md").read_text("utf-8")
    assert "<svg" in (tmp_path / "index.html").read_text("utf-8")


def test_the_command_lists_the_cases(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command_line(["bench", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in CASES)


def test_the_command_refuses_an_unknown_case(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_command_line(["bench", "--case", "speed", "--out", str(tmp_path)]) == 2
    assert "there is no benchmark 'speed'" in capsys.readouterr().err


def test_outside_a_checkout_the_command_says_where_the_benchmarks_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="live in the source tree"):
        load_benchmarks(tmp_path)
