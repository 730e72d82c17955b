"""An archive is refused before another program unpacks it; what is harmless is told without decoding it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from asynccache.archive import Limits, zstd_stream
from asynccache.archive.bound import check_unpacked, most_of_zstd
from asynccache.archive.conda_read import Entry
from asynccache.errors import ArchiveError, HostileArchiveError
from tests.archive import tar_builder as tb
from tests.support.testdata import real_packages

PACKAGES = real_packages()
SMALL = Limits(ratio_floor=1 << 20, ratio=50)


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path, tb.file(b"zeros", bytes(8 << 20)))
    with pytest.raises(HostileArchiveError, match=r"unpacks to more than it may.*raise the setting unpacked_bytes"):
        check_unpacked(path, SMALL)
    check_unpacked(path, Limits())


def test_ordinary_content_is_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tb.conda(tmp_path, tb.file(b"x", random.Random(1).randbytes(3 << 20)))

    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(zstd_stream, "decompressed", decoded)
    check_unpacked(path, Limits(ratio_floor=256 << 20))


@pytest.mark.parametrize("level", [1, 19])
@pytest.mark.parametrize(
    "data",
    [b"", b"a", bytes(1 << 20), random.Random(2).randbytes(700_001), b"some text\n" * 200_000],
    ids=["nothing", "a byte", "zeros", "noise", "text"],
)
def test_the_bound_of_zstd_is_never_below_what_it_gives_and_seldom_far_above(
    data: bytes, level: int, tmp_path: Path
) -> None:
    for checksum in (0, 1):
        parameter = tb.zstd.CompressionParameter
        options: dict[int, int] = {parameter.compression_level: level, parameter.checksum_flag: checksum}
        packed = tb.zstd.compress(data, options=options)
        path = tmp_path / "data"
        skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
        path.write_bytes(b"before" + packed + skippable + packed + b"after")
        with path.open("rb") as file:
            most = most_of_zstd(file, Entry("x", 6, 2 * len(packed) + len(skippable), 0), "demo")
            assert 2 * len(data) <= most <= 2 * (len(data) + (128 << 10))
            with pytest.raises(ArchiveError, match="ends within a zstd frame"):
                most_of_zstd(file, Entry("x", 6, 3, 0), "demo")


@pytest.mark.skipif(not PACKAGES, reason="the collection of real packages is not there")
def test_every_real_package_is_within_the_defaults() -> None:
    for package in (each for each in PACKAGES if each.path.suffix == ".conda"):
        try:
            check_unpacked(package.path, Limits())
        except ArchiveError as exc:
            assert not isinstance(exc, HostileArchiveError) or "unpacks" not in str(exc), package.path  # noqa: PT017
