"""Unpacking wheels in parts."""

from __future__ import annotations

import random
import zipfile
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.hydrate import wheel_archive
from asynccache.hydrate.wheel_archive import wheel_parts, write_part
from tests.support.wheels import extract_wheel, write_wheel

_MIB = 1 << 20


def _unpacked(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel with a large member that deflates, one that is stored, and many small ones."""
    source = random.Random(3)
    path = tmp_path / "large-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("lib/large", (source.randbytes(_MIB) + bytes(_MIB)) * 5)
        archive.writestr("lib/stored", source.randbytes(9 * _MIB), zipfile.ZIP_STORED)
        for number in range(1100):
            archive.writestr(f"small/{number % 7}/{number}", b"x" * number)
    return path


def test_parts_can_be_written_in_any_order_and_make_what_was_packed(wheel: Path, tmp_path: Path) -> None:
    parts = wheel_parts(wheel, tmp_path / "out")
    assert [[member.info.filename for member in part] for part in parts if len(part) == 1] == [
        ["lib/large"],
        ["lib/stored"],
    ]
    assert len(parts) > 3, "one processor would unpack all small files"
    for part in reversed(parts):
        write_part(wheel, part, lambda: False)
    found = {str(p.relative_to(tmp_path / "out")): p.read_bytes() for p in (tmp_path / "out").rglob("*") if p.is_file()}
    with zipfile.ZipFile(wheel) as archive:
        assert found == {name: archive.read(name) for name in archive.namelist()}


def test_unpacking_stops_inside_of_a_large_member(wheel: Path, tmp_path: Path) -> None:
    large = next(part for part in wheel_parts(wheel, tmp_path / "out") if part[0].info.filename == "lib/large")
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return len(asked) > 3

    with pytest.raises(CancelledError):
        write_part(wheel, large, stop)
    assert 0 < (tmp_path / "out" / "lib" / "large").stat().st_size < 10 * _MIB


@pytest.mark.parametrize("name", ["lib/large", "lib/stored"])
def test_a_large_member_with_a_wrong_bit_is_refused(wheel: Path, tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = archive.getinfo(name)
    data = bytearray(wheel.read_bytes())
    data[info.header_offset + info.compress_size // 2] ^= 1
    wheel.write_bytes(data)
    with pytest.raises(ArchiveError, match=f"cannot be unpacked .*{name}"):
        extract_wheel(wheel, tmp_path / "out")


def test_a_large_member_that_unpacks_to_more_than_it_announces_is_refused_before_it_is_written(tmp_path: Path) -> None:
    wheel = tmp_path / "bomb-1.0-py3-none-any.whl"
    announced = wheel_archive._LARGE + 1
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(50 * _MIB))
    data = wheel.read_bytes().replace((50 * _MIB).to_bytes(4, "little"), announced.to_bytes(4, "little"))
    wheel.write_bytes(data)
    with pytest.raises(ArchiveError, match="wrong checksum"):
        extract_wheel(wheel, tmp_path / "out")
    assert (tmp_path / "out" / "x").stat().st_size <= announced


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(contents=st.dictionaries(st.sampled_from(["a/x", "b", "c/d/e", "☃"]), st.binary(max_size=70_000)))
def test_what_was_packed_is_unpacked(contents: dict[str, bytes], tmp_path: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        wheel = write_wheel(Path(name), "some", files=contents)
        extract_wheel(wheel, Path(name) / "out")
        with zipfile.ZipFile(wheel) as archive:
            assert _unpacked(Path(name) / "out") == {n: archive.read(n) for n in archive.namelist()}


def test_stored_members_and_other_methods_are_read(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"m{method}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("x", b"content" * 1000)
        extract_wheel(path, tmp_path / str(method))
        assert (tmp_path / str(method) / "x").read_bytes() == b"content" * 1000


def test_flipped_bits_are_noticed_or_change_nothing(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "some", files={"some/data": random.Random(1).randbytes(3000), "t": b"text" * 900})
    whole, source = wheel.read_bytes(), random.Random(2)
    extract_wheel(wheel, tmp_path / "right")
    right = _unpacked(tmp_path / "right")
    refused = 0
    for number in range(300):
        data = bytearray(whole)
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        wheel.write_bytes(data)
        try:
            extract_wheel(wheel, tmp_path / f"out{number}")
        except ArchiveError:
            refused += 1
            continue
        found = _unpacked(tmp_path / f"out{number}")
        # a bit of a name, a date or a mode is no checksum's business: the archive's own digest covers it
        assert set(found.values()) == set(right.values())
    assert refused > 150


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[: len(data) // 2], "not a zip file"),
        (lambda data: data.replace(b"PK\x03\x04", b"PK\x03\x05", 1), "local header"),
    ],
)
def test_a_broken_archive_is_named(tmp_path: Path, change: Callable[[bytes], bytes], reason: str) -> None:
    wheel = write_wheel(tmp_path, "some")
    wheel.write_bytes(change(wheel.read_bytes()))
    with pytest.raises(ArchiveError, match=rf"some-1\.0-py3-none-any\.whl cannot be unpacked .*{reason}"):
        extract_wheel(wheel, tmp_path / "out")


def test_a_member_that_unpacks_to_more_than_it_announces_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "bomb-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(50_000_000))
    data = wheel.read_bytes().replace((50_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    wheel.write_bytes(data)
    with pytest.raises(ArchiveError, match="wrong checksum"):
        extract_wheel(wheel, tmp_path / "out")


def test_names_twice_and_links_are_refused(tmp_path: Path) -> None:
    twice = tmp_path / "twice-1.0-py3-none-any.whl"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("x", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x", b"2")
    link = tmp_path / "link-1.0-py3-none-any.whl"
    with zipfile.ZipFile(link, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        archive.writestr(info, b"/etc/passwd")
    for path in (twice, link):
        with pytest.raises(HostileArchiveError, match="twice or as something other"):
            extract_wheel(path, tmp_path / "out" / path.stem)


def test_unpacking_stops_when_asked(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        extract_wheel(write_wheel(tmp_path, "some"), tmp_path / "out", lambda: True)
