"""A thousand of the packages that `make fuzz` tries, and what it is that it would notice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.archive import tar_header, tar_scan
from asynccache.archive.tar_header import RawHeader
from asynccache.errors import ArchiveError
from tests.fuzz import judge
from tests.fuzz.inputs import Input, make_input
from tests.fuzz.judge import Judge, Tally
from tests.fuzz.programs import PROGRAMS, REFERENCE, tree
from tests.fuzz.run import run
from tests.support.effort import tries

REPOSITORY = Path(__file__).parents[2]


def test_mutated_packages_are_read_as_tarfile_reads_them_or_refused_by_name(tmp_path: Path) -> None:
    tally = run(5, range(tries(700, 10_000)), tmp_path)
    assert tally.wrong == []
    assert tally.outcomes["accepted"] > sum(tally.outcomes.values()) // 4
    assert tally.outcomes["transmuted"] > 10
    assert tally.outcomes["refused by both"] > 50


def test_a_package_follows_from_two_integers() -> None:
    assert [make_input(7, n) for n in range(50)] == [make_input(7, n) for n in range(50)]
    assert make_input(7, 3) != make_input(8, 3)


def accepted(tmp_path: Path) -> Iterator[tuple[int, Input]]:
    """Yield packages that are accepted and have members."""
    for number in range(100):
        tally = Tally()
        made = make_input(5, number)
        Judge(tmp_path, tally).judge(number, made)
        if tally.outcomes["accepted"]:
            yield number, made


def wrong(tmp_path: Path, number: int, made: Input) -> str:
    tally = Tally()
    Judge(tmp_path, tally).judge(number, made)
    return " ".join(what for _, what in tally.wrong)


def test_what_another_reader_sees_otherwise_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number, made = next(accepted(tmp_path))
    right = tar_header.parse_header

    def shifted(buffer: bytes, offset: int) -> RawHeader:
        header = right(buffer, offset)
        return replace(header, mtime=header.mtime + 1)

    monkeypatch.setattr(tar_scan, "parse_header", shifted)
    assert "first difference" in wrong(tmp_path, number, made)


def test_an_error_that_is_none_of_ours_a_refusal_without_a_listed_reason_and_memory_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, made = next(accepted(tmp_path))

    def broken(*_: object, **__: object) -> None:
        raise IndexError("list index out of range")

    def strict(*_: object, **__: object) -> None:
        raise ArchiveError("the package is not nice")

    def costly(*_: object, **__: object) -> None:
        monkeypatch.setattr(judge, "_peak", lambda: 500 << 10)
        raise ArchiveError("damaged: malformed")

    for instead, said in (
        (broken, "IndexError"),
        (strict, "no listed reason"),
        (costly, "MiB"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(judge, "_peak", lambda: 0)
            patch.setattr(judge, "check", instead)
            assert said in wrong(tmp_path, number, made)


def test_each_listed_reason_is_one_that_the_reader_gives() -> None:
    sources = "".join(p.read_text("utf-8") for p in (REPOSITORY / "asynccache" / "archive").glob("*.py"))
    for subject, words in judge.STRICTER.items():
        assert re.search(words, sources), subject


def test_our_own_unpacking_leaves_what_tarfile_leaves(tmp_path: Path) -> None:
    for count, (_, made) in enumerate(accepted(tmp_path)):
        path = tmp_path / made.name
        path.write_bytes(made.data)
        for program in (REFERENCE, "asynccache"):
            PROGRAMS[program](path, tmp_path / f"{program}-{count}", "")
        assert tree(tmp_path / f"asynccache-{count}") == tree(tmp_path / f"{REFERENCE}-{count}")
        if count == 10:
            break
