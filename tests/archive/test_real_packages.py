"""Every real package goes both ways member by member, or is refused for a reason that is written down here."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynccache.archive import transmute
from asynccache.archive.member import Component
from asynccache.errors import ArchiveError
from asynccache.model.package import split_filename
from tests.archive.members import members
from tests.support.channel_index import read_index_json
from tests.support.effort import share
from tests.support.testdata import RealPackage, real_packages

REFUSED = {
    "zlib-1.2.11-h7b6447c_3.conda": "the symbolic link 'lib/libz.so.1' has no target",
    "zlib-1.2.11-h1de35cc_3.conda": "the symbolic link 'lib/libz.1.dylib' has no target",
    "another_bad_package.conda": "is not a .conda file",
    "bad_package.tar.bz2": "is not a bzip2 file",
    "ca-certificates-2024.7.4-hbcca054_0.conda": "is compressed or encrypted",
    "info-only-1.0.0-0.conda": "it lacks pkg",
}
LARGE = 1 << 20  # bytes; the larger ones take the time, and nothing about them is special
ALL = real_packages()
PACKAGES = [p for p in ALL if p.path.name in REFUSED] + share([p for p in ALL if p.path.name not in REFUSED], 6)


def split(path: Path) -> list[object]:
    records = list(members(path))
    return [(r.member, r.sha256, r.header_sha256) for c in Component for r in records if r.member.component is c]


def label(package: RealPackage) -> str:
    return package.path.name


@pytest.mark.skipif(not PACKAGES, reason="the collection of real packages is not there")
@pytest.mark.parametrize(
    "package",
    [pytest.param(p, marks=[pytest.mark.slow] if p.path.stat().st_size > LARGE else [], id=label(p)) for p in PACKAGES],
)
def test_real_package_goes_both_ways_or_is_refused_by_name(package: RealPackage, tmp_path: Path) -> None:
    source = package.path
    stem, fmt = split_filename(source.name)
    derived = tmp_path / (stem + fmt.other)
    if source.name in REFUSED:
        with pytest.raises(ArchiveError) as caught:
            transmute(source, derived)
        assert REFUSED[source.name] in str(caught.value)
        assert not list(tmp_path.iterdir())
        return
    receipt = transmute(source, derived)
    expected = split(source)
    assert len(expected) == receipt.members
    assert split(derived) == expected
    back = tmp_path / "back" / source.name
    back.parent.mkdir()
    transmute(derived, back)
    assert split(back) == expected
    assert read_index_json(back) == read_index_json(source)
