"""Running cases: which there are, what is written, and that one that fails does not stop the others."""

import json
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from asynccache.errors import UsageError
from asynccache_cli.bench import load_benchmarks
from asynccache_cli.main import run as run_command_line
from bench import against, run
from bench.bed import Bed
from bench.case import CASES, Case
from bench.harness import REPOSITORY, ContenderError, Sample, Series
from bench.peers import peer
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


def test_what_was_measured_is_saved_after_each_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fine(bed: Bed, found: CaseResult) -> None:
        found.notes.append("measured")

    def interrupted(bed: Bed, found: CaseResult) -> None:
        raise KeyboardInterrupt

    cases = {
        "fine": Case("works", fine, lambda: CaseResult("fine", "Fine", "")),
        "interrupted": Case("is ended", interrupted, lambda: CaseResult("interrupted", "Ended", "")),
    }
    monkeypatch.setattr(run, "CASES", cases)
    with pytest.raises(KeyboardInterrupt):
        run.run(out=tmp_path)
    saved = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert [(case["name"], case["notes"]) for case in saved["cases"]] == [("fine", ["measured"])]


def _measured(cpu: dict[str, float]) -> dict[str, Any]:
    series = [Series(name, (Sample(wall=seconds, cpu=seconds, peak=1000),)) for name, seconds in cpu.items()]
    result = CaseResult("one", "One", "")
    result.group("work", series)
    return {"format": 1, "machine": {"when": "yesterday", "commit": "abc"}, "cases": [result.as_document()]}


def test_two_runs_are_compared_in_all_and_beside_their_peers() -> None:
    before = _measured({"peer": 2.0, "ours": 1.0, "gone": 1.0})
    now = _measured({"peer": 6.0, "ours": 1.5, "new": 1.0})
    rows = against.compared(now, before)
    assert [(row["contender"], row["ratios"]["cpu"]) for row in rows] == [
        ("peer", {"all": 3.0, "beside": None}),
        ("ours", {"all": 1.5, "beside": 0.5}),
    ]
    text = "\n".join(against.lines(rows, before))
    assert "commit abc" in text
    assert "one: ours  CPU seconds 1.50x, beside 0.50x" in text


def test_what_is_no_run_is_not_compared_with(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("[]")
    for path in (tmp_path / "results.json", tmp_path / "absent.json"):
        with pytest.raises(UsageError, match=r"results\.json of another run"):
            run.run(["limits"], out=tmp_path / "out", against=path)
    assert not (tmp_path / "out").exists()


def test_a_peer_is_named_by_a_variable_or_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "micromamba"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert peer("micromamba") == str(program)
    other = program.rename(tmp_path / "mine")
    assert peer("micromamba") is None
    monkeypatch.setenv("ASYNCCACHE_PEER_MICROMAMBA", str(other))
    assert peer("micromamba") == str(other)
    monkeypatch.setenv("ASYNCCACHE_PEER_MICROMAMBA", str(tmp_path / "absent"))
    with pytest.raises(ContenderError, match=r"ASYNCCACHE_PEER_MICROMAMBA names .*absent"):
        peer("micromamba")


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
    assert "synthetic packages | cph, verified | " in (tmp_path / "peers.md").read_text("utf-8")
    assert "<svg" in (tmp_path / "index.html").read_text("utf-8")


def test_a_bed_has_a_place_on_the_server_of_a_store_until_it_is_closed(tmp_path: Path) -> None:
    bed = Bed(tmp_path, rounds=1, quick=True, say=lambda _text: None)
    try:
        place = bed.remote("gs")
        assert bed.remote("gs") is place
        assert place.settings(rounds=1)["google_endpoint"] == place.endpoint
        assert place.root == "gs://bench/{run}"
        assert psutil.pid_exists(place.pid)
    finally:
        bed.close()
    assert not psutil.pid_exists(place.pid)


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
