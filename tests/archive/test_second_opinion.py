"""conda-package-handling reads what we wrote, and what it finds to differ does not appear."""

from pathlib import Path

import pytest

from asynccache.archive import transmute
from asynccache.archive.second_opinion import by_cph, opinion_of
from asynccache.errors import IntegrityError, TransmuteError, UsageError
from asynccache.model.package import Format
from tests.support.conda_package import Member, Metadata, write_package

ABOUT = Metadata(name="linked", version="1", build="0")
MEMBERS = [
    Member("bin/tool", b"#!/bin/sh\n", executable=True),
    Member("bin/other", symlink="tool"),
    Member("lib/same", hardlink="bin/tool"),
    Member("lib/data", bytes(range(256)) * 300),
]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (path,) = write_package(tmp_path, ABOUT, MEMBERS, [Format.TAR_BZ2])
    return path


def test_what_we_write_is_what_cph_reads_both_ways(package: Path, tmp_path: Path) -> None:
    derived = package.with_name("linked-1-0.conda")
    back = tmp_path / "back" / package.name
    back.parent.mkdir()
    transmute(package, derived, opinion=by_cph)
    transmute(derived, back, opinion=by_cph)
    assert back.stat().st_size


@pytest.mark.parametrize(
    ("changed", "member"),
    [
        ([*MEMBERS[:3], Member("lib/data", b"other")], "lib/data"),
        ([Member("bin/tool", b"#!/bin/sh\n"), *MEMBERS[1:]], "bin/tool"),
        ([MEMBERS[0], Member("bin/other", symlink="data"), *MEMBERS[2:]], "bin/other"),
        (MEMBERS[:3], "lib/data"),
    ],
    ids=["content", "mode", "link", "missing"],
)
def test_a_difference_is_named_by_its_member(package: Path, tmp_path: Path, changed: list[Member], member: str) -> None:
    (tmp_path / "other").mkdir()
    (other,) = write_package(tmp_path / "other", ABOUT, changed, [Format.CONDA])
    with pytest.raises(
        IntegrityError, match=r"linked-1-0\.conda does not hold what linked-1-0\.tar\.bz2 holds"
    ) as caught:
        by_cph(package, package.name, other, other.name)
    assert repr(member) in str(caught.value.found)


def test_what_it_cannot_read_is_an_error_in_one_sentence(package: Path, tmp_path: Path) -> None:
    broken = tmp_path / "linked-1-0.conda"
    broken.write_bytes(b"no package")
    with pytest.raises(TransmuteError, match=r"cannot compare linked-1-0\.conda"):
        by_cph(package, package.name, broken, broken.name)


def test_nothing_appears_when_the_second_opinion_is_another(package: Path) -> None:
    def differs(_source: Path, _source_name: str, written: Path, name: str) -> None:
        assert written.stat().st_size
        raise IntegrityError(f"{name} is not what it should be")

    before = sorted(package.parent.iterdir())
    with pytest.raises(IntegrityError, match="is not what it should be"):
        transmute(package, package.with_name("linked-1-0.conda"), opinion=differs)
    assert sorted(package.parent.iterdir()) == before


def test_an_unknown_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nobody called 'tar'"):
        opinion_of("tar")
    assert opinion_of(None) is None
    assert opinion_of("cph") is by_cph
