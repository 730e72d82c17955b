"""Wheels, sdists and packages of every format, whole and otherwise."""

from __future__ import annotations

import gzip
import stat
import zipfile
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from asynccache.archive import Limits, check
from asynccache.errors import ArchiveError, HostileArchiveError, UsageError
from tests.archive import tar_builder as tb

WHEEL = "demo-1.0-py3-none-any.whl"


def wheel(tmp_path: Path, *content: tuple[str, bytes]) -> Path:
    entries = [("demo/__init__.py", b"x = 1\n" * 500), ("demo-1.0.dist-info/METADATA", b"Name: demo\n"), *content]
    return tb.write_zip(tmp_path / WHEEL, entries, zipfile.ZIP_DEFLATED)


def sdist(tmp_path: Path, *parts: bytes, end: bytes = tb.END) -> Path:
    path = tmp_path / "demo-1.0.tar.gz"
    path.write_bytes(gzip.compress(b"".join([tb.file(b"demo-1.0/PKG-INFO", b"Name: demo\n"), *parts]) + end))
    return path


def test_whole_wheel_passes(tmp_path: Path) -> None:
    summary = check(wheel(tmp_path))
    assert (str(summary.format), summary.members, summary.unpacked_bytes) == (".whl", 2, 3011)


def test_whole_sdist_passes(tmp_path: Path) -> None:
    assert check(sdist(tmp_path)).members == 1


def test_wheel_with_a_wrong_checksum_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveError, match="not a whole ZIP file"):
        check(path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\3\4"])
def test_what_is_no_wheel_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / WHEEL
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match="not a whole ZIP file"):
        check(path)


def test_truncated_wheel_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ArchiveError, match="not a whole ZIP file"):
        check(path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "demo/../../x"])
def test_wheel_that_leaves_its_root_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(HostileArchiveError, match=r"absolute path|climbs"):
        check(wheel(tmp_path, (name, b"x")))


def test_wheel_with_a_file_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = wheel(tmp_path, ("demo/__init__.py", b"other"))
    with pytest.raises(HostileArchiveError, match="twice"):
        check(path)


def test_wheel_with_a_link_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("demo/link")
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, b"/etc/passwd")
    with pytest.raises(HostileArchiveError, match="neither a file nor a directory"):
        check(path)


def test_wheel_packed_in_an_unusual_way_is_refused(tmp_path: Path) -> None:
    path = tb.write_zip(tmp_path / WHEEL, [("x", b"y" * 500)], zipfile.ZIP_LZMA)
    with pytest.raises(HostileArchiveError, match="unusual way"):
        check(path)


def test_wheel_bomb_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path, ("zeros", bytes(20 << 20)))
    with pytest.raises(HostileArchiveError, match="unpacks to more than it may"):
        check(path, limits=Limits(ratio=10, ratio_floor=1 << 20))


def test_sdist_bomb_is_refused(tmp_path: Path) -> None:
    path = sdist(tmp_path, tb.file(b"zeros", bytes(20 << 20)))
    with pytest.raises(HostileArchiveError, match="unpacks to more than it may"):
        check(path, limits=Limits(ratio=10, ratio_floor=1 << 20))


@pytest.mark.parametrize("cut", [1, 8, 40])
def test_truncated_sdist_is_refused(tmp_path: Path, cut: int) -> None:
    path = sdist(tmp_path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(ArchiveError, match="not a whole gzip file"):
        check(path)


def test_sdist_that_climbs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HostileArchiveError, match="climbs"):
        check(sdist(tmp_path, tb.file(b"../x")))


def test_other_extension_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo.rpm"
    path.write_bytes(b"")
    with pytest.raises(UsageError, match="not a package file name"):
        check(path)


def test_large_index_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path, info=tb.file(b"info/index.json", b" " * (17 << 20)))
    with pytest.raises(HostileArchiveError, match="large"):
        check(path)


def test_checking_can_be_cancelled(tmp_path: Path) -> None:
    for path in (tb.tar_bz2(tmp_path), tb.conda(tmp_path), wheel(tmp_path), sdist(tmp_path)):
        with pytest.raises(CancelledError):
            check(path, cancelled=lambda: True)


def test_progress_adds_up(tmp_path: Path) -> None:
    for path in (tb.tar_bz2(tmp_path), tb.conda(tmp_path), wheel(tmp_path), sdist(tmp_path)):
        counts: list[int] = []
        check(path, progress=counts.append)
        assert sum(counts) == path.stat().st_size
