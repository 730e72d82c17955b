"""The page: whole by itself, complete, and honest about what went wrong."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from bench.harness import Sample, Series
from bench.page import render
from bench.plot import bars
from bench.results import CPU, WALL, CaseResult, Group, Limit, Target

VOID = {"meta", "br", "circle", "line", "rect"}
OPTIONAL = {"html", "li", "dt", "dd", "tr", "th", "td", "p"}


class Outline(HTMLParser):
    """Collects text and addresses, and notices elements that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"href", "src"}]
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID | OPTIONAL:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def document() -> dict[str, Any]:
    return {
        "command": "asynccache bench --rounds 2",
        "quick": False,
        "rounds": 2,
        "machine": {
            "when": "2026-01-01 00:00:00 +0000",
            "processor": "A & B <fast>",
            "cores": 2,
            "memory_bytes": 4 << 30,
            "system": "Linux",
            "python": "CPython 3.11.7",
            "load_average": 0.1,
            "load_average_after": 0.2,
            "peak_floor_bytes": 30_000_000,
            "commit": None,
            "versions": {"asynccache": "0.1.0"},
        },
    }


@pytest.fixture
def result() -> CaseResult:
    ours = Series("ours <1>", (Sample(1.0, 1.5, 10, {}), Sample(1.2, 1.6, 10, {})))
    peer = Series("peer", (Sample(4.0, 4.5, 10, {}), Sample(4.2, 4.6, 10, {})))
    group = Group("work & more", (ours, peer), (Limit("cpu", 2.0, "the limit"),))
    target = Target("fewer CPU seconds", 2.5, 2.94, at_least=True, unit="x")
    return CaseResult("case-one", "Case one", "About it.", groups=[group], targets=[target], notes=["A note."])


def outline(html: str) -> Outline:
    found = Outline()
    found.feed(html)
    assert not found.open
    return found


def test_the_page_needs_nothing_but_itself(document: dict[str, Any], result: CaseResult) -> None:
    html = render(document, [result])
    assert all(address.startswith("#") for address in outline(html).addresses)
    assert not re.search(r"@import|url\((?!#)|<script", html)


def test_the_page_tells_what_was_measured_where_and_how_to_do_it_again(
    document: dict[str, Any], result: CaseResult
) -> None:
    text = outline(render(document, [result])).text
    for expected in ("A & B <fast>", "asynccache bench --rounds 2", "asynccache 0.1.0", "About it.", "A note."):
        assert expected in text
    assert "2.94" in text
    assert "reached" in text


def test_a_case_that_could_not_be_measured_says_why(document: dict[str, Any]) -> None:
    text = outline(render(document, [CaseResult("sad", "Sad", "", error="no <server> here")])).text
    assert "Not measured: no <server> here" in text
    assert "not measured" in text


def test_a_quick_run_warns_that_its_figures_mean_nothing(document: dict[str, Any], result: CaseResult) -> None:
    assert "mean nothing" in outline(render({**document, "quick": True}, [result])).text
    assert "mean nothing" not in outline(render(document, [result])).text


def test_a_plot_has_a_bar_a_contender_a_dot_a_round_and_the_limit(result: CaseResult) -> None:
    svg = bars(result.groups[0], CPU)
    assert svg.count("fill: var(--ours)") == 2
    assert svg.count("fill: var(--dot)") == 4
    assert "var(--limit)" in svg
    assert "the limit" in svg
    assert "ours &lt;1&gt;" in svg
    assert "var(--limit)" not in bars(result.groups[0], WALL)


def test_a_plot_of_nothing_but_zeros_can_be_drawn() -> None:
    assert "<svg" in bars(Group("idle", (Series("one", (Sample(0.0, 0.0, 0),)),)), CPU)
