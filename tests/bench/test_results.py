"""What a case found: ratios, targets, and the plain values that go into the JSON file."""

import json

import pytest

from bench.harness import Sample, Series, without
from bench.results import CPU, PEAK, WALL, CaseResult, Group, Target
from bench.run import peers_table


@pytest.fixture
def group() -> Group:
    ours = Series("ours", tuple(Sample(1.0, cpu, 40_000_000, {"start_cpu": 0.1}) for cpu in (1.0, 1.2, 1.1)))
    peer = Series("peer", tuple(Sample(3.0, cpu, 90_000_000) for cpu in (3.3, 3.6, 2.2)))
    return Group("one package", (ours, peer))


@pytest.mark.parametrize(
    ("wanted", "measured", "at_least", "reached"),
    [(2.5, 2.5, True, True), (2.5, 2.49, True, False), (1.2, 1.2, False, True), (1.2, 1.21, False, False)],
)
def test_a_target_is_reached_at_its_bound_and_not_beyond(
    wanted: float, measured: float, at_least: bool, reached: bool
) -> None:
    target = Target("overlap", wanted, measured, at_least, "x")
    assert target.reached is reached
    assert target.verdict == ("reached" if reached else "missed")


def test_a_target_says_both_figures() -> None:
    assert str(Target("faster", 2.5, 2.7123, at_least=True, unit="x", detail="3 rounds")) == (
        "faster: target at least 2.5x, measured 2.71x (3 rounds)"
    )
    assert str(Target("memory", 300, 212.04, at_least=False, unit="MB")) == (
        "memory: target at most 300 MB, measured 212.0 MB"
    )


def test_a_quick_run_is_not_judged() -> None:
    assert "not judged" in Target("x", 1, 2, at_least=True, unit="x", judged=False).verdict


def test_a_ratio_target_compares_with_the_first_contender(group: Group) -> None:
    result = CaseResult("name", "Title", "About.")
    result.times_less(group, "peer", CPU, 2.5, "fewer CPU seconds")
    (target,) = result.targets
    assert target.measured == pytest.approx(3.0)
    assert target.reached
    assert target.detail == "rounds 2.00-3.30"


def test_contenders_that_did_different_work_are_not_compared(group: Group) -> None:
    assert Group(group.label, group.series, compared=False).ratios("cpu") == {}


def test_metrics_are_shown_in_their_units() -> None:
    assert CPU.text(1.234) == "1.23 s"
    assert PEAK.text(212_400_000) == "212 MB"


def test_the_document_holds_every_sample_in_base_units(group: Group) -> None:
    result = CaseResult("name", "Title", "About.", metrics=(CPU, WALL, PEAK), groups=[group])
    result.times_less(group, "peer", CPU, 2.5, "fewer CPU seconds")
    document = json.loads(json.dumps(result.as_document()))
    assert document["error"] is None
    (found,) = document["groups"]
    assert found["contenders"]["ours"]["samples"][1] == {"wall": 1.0, "cpu": 1.2, "peak": 40_000_000, "start_cpu": 0.1}
    assert found["contenders"]["ours"]["median"] == {"cpu": 1.1, "wall": 1.0, "peak": 40_000_000}
    assert set(found["ratios"]["cpu"]["peer"]) == {"value", "least", "most"}
    assert document["targets"][0]["reached"] is True


def test_what_we_need_stands_beside_what_peers_need(group: Group) -> None:
    result = CaseResult("name", "Title", "About.")
    result.beside("one package", *group.series, cpu=0.5)
    table = peers_table([result])
    cpu, wall, peak = (cell.strip() for cell in table.splitlines()[2].split("|")[4:7])
    assert cpu == "0.33 (0.30 to 0.50), at most 0.5"
    assert wall == "0.33"
    assert peak == "0.44"
    ours, peer = group.series
    slower = CaseResult("name", "Title", "About.")
    slower.beside("the same", peer, ours)
    assert "**3.00** (2.00 to 3.30)" in peers_table([slower])


def test_a_part_of_the_work_is_taken_off_in_each_round() -> None:
    whole = Series("whole", (Sample(3.0, 2.0, 70), Sample(4.0, 2.5, 80)))
    part = Series("part", (Sample(1.0, 0.5, 90), Sample(1.5, 1.0, 90)))
    assert without(whole, part) == Series("whole", (Sample(2.0, 1.5, 70), Sample(2.5, 1.5, 80)))
