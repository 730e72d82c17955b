"""A small form of `make test-replicate`, and what it is that it would notice."""

from __future__ import annotations

from pathlib import Path

from tests.scale.replicate import IN_FLIGHT, Copied, Place, there_and_back


def test_a_store_that_is_copied_and_back_by_processes_that_are_killed_is_the_same(tmp_path: Path) -> None:
    places = [Place(str(tmp_path / name)) for name in ("first", "second", "third")]
    results = there_and_back(places, tmp_path / "aside", environments=10, kills=1, seed=1)
    assert [result.wrong for result in results] == [[], []]
    assert [result.kills for result in results] == [1, 1]


def test_what_must_not_be_is_noticed() -> None:
    def wrong(**changes: object) -> str:
        fields = {
            "objects": 9,
            "told": 9,
            "kills": 1,
            "copied": 9,
            "fetched": 5 + 2 * IN_FLIGHT,
            "larger": 5,
            **changes,
        }
        result = Copied(**fields)  # type: ignore[arg-type]
        result.judge()
        return " ".join(result.wrong)

    assert wrong() == ""
    assert "1 objects were copied twice" in wrong(copied_twice=1)
    assert "2 objects are not the same" in wrong(missed=2)
    assert "an audit found" in wrong(findings={"missing": 1})
    assert "copied 3 objects" in wrong(again=3)
    assert "0 objects of 99 were copied" in wrong(told=99, copied=0)
    assert "were read twice" in wrong(fetched=6 + 2 * IN_FLIGHT)
