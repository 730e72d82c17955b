"""Archives are unpacked to what they hold, or refused: every damaged byte is noticed."""

import bz2
import hashlib
import os
import random
import zipfile
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynccache.archive import Limits, check
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.hydrate.extract import extract_conda, extract_wheel
from tests.archive import tar_builder as tb
from tests.support.wheels import write_wheel


def _on() -> bool:
    return False


def _unpacked(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.dictionaries(st.sampled_from(["a/x", "b", "c/d/e", "☃"]), st.binary(max_size=70_000)))
def test_what_was_packed_is_unpacked(contents: dict[str, bytes], tmp_path: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir=tmp_path) as name:
        wheel = write_wheel(Path(name), "some", files=contents)
        extract_wheel(wheel, Path(name) / "out", _on)
        with zipfile.ZipFile(wheel) as archive:
            assert _unpacked(Path(name) / "out") == {n: archive.read(n) for n in archive.namelist()}


def test_stored_members_and_other_methods_are_read(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        path = tmp_path / f"m{method}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("x", b"content" * 1000)
        extract_wheel(path, tmp_path / str(method), _on)
        assert (tmp_path / str(method) / "x").read_bytes() == b"content" * 1000


def test_flipped_bits_are_noticed_or_change_nothing(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path, "some", files={"some/data": random.Random(1).randbytes(3000), "t": b"text" * 900})
    whole, source = wheel.read_bytes(), random.Random(2)
    extract_wheel(wheel, tmp_path / "right", _on)
    right = _unpacked(tmp_path / "right")
    refused = 0
    for number in range(300):
        data = bytearray(whole)
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
        wheel.write_bytes(data)
        try:
            extract_wheel(wheel, tmp_path / f"out{number}", _on)
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
        extract_wheel(wheel, tmp_path / "out", _on)


def test_a_member_that_unpacks_to_more_than_it_announces_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "bomb-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x", bytes(50_000_000))
    data = wheel.read_bytes().replace((50_000_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    wheel.write_bytes(data)
    with pytest.raises(ArchiveError, match="wrong checksum"):
        extract_wheel(wheel, tmp_path / "out", _on)


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
            extract_wheel(path, tmp_path / "out" / path.stem, _on)


def test_unpacking_stops_when_asked(tmp_path: Path) -> None:
    with pytest.raises(CancelledError):
        extract_wheel(write_wheel(tmp_path, "some"), tmp_path / "out", lambda: True)


def test_what_is_no_conda_package_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad-1.0-0.conda"
    path.write_bytes(b"PK\x03\x04 nearly")
    with pytest.raises(ArchiveError, match=r"bad-1\.0-0\.conda is not a \.conda file"):
        extract_conda(path, tmp_path / "out")


def _pack(path: Path, *parts: bytes) -> Path:
    """Write a package of an index and more members in the form that a name says."""
    return tb.conda(path.parent, *parts) if path.suffix == ".conda" else tb.tar_bz2(path.parent, *parts)


@pytest.mark.parametrize("name", ["demo-1.0-0.tar.bz2", "demo-1.0-0.conda"])
@pytest.mark.parametrize("target", [b"/etc/passwd", b"../../up", b"other/../../.."])
def test_a_package_whose_links_lead_out_is_refused_unless_they_may(name: str, target: bytes, tmp_path: Path) -> None:
    path = _pack(tmp_path / name, tb.symlink(b"lib/link", target), tb.symlink(b"lib/inside", b"../lib/x"))
    with pytest.raises(HostileArchiveError, match=r"'lib/link' leads out of the root.*set links_outside"):
        extract_conda(path, tmp_path / "out")
    extract_conda(path, tmp_path / "allowed", limits=Limits(links_outside=True))
    assert os.fsencode((tmp_path / "allowed" / "lib" / "link").readlink()) == target


@pytest.mark.parametrize("name", ["demo-1.0-0.tar.bz2", "demo-1.0-0.conda"])
def test_a_package_that_unpacks_to_more_than_it_may_is_refused_before_anything_is_written(
    name: str, tmp_path: Path
) -> None:
    path = _pack(tmp_path / name, tb.file(b"zeros", bytes(8 << 20)))
    with pytest.raises(HostileArchiveError, match="unpacks to more than it may"):
        extract_conda(path, tmp_path / "out", limits=Limits(ratio_floor=1 << 20, ratio=50))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("at", [100, 512, 1024, 1536, 4000])
def test_all_streams_of_a_package_are_unpacked(at: int, tmp_path: Path) -> None:
    raw = tb.index() + tb.file(b"lib/a", b"a" * 3000) + tb.file(b"lib/b", b"b" * 3000) + tb.END
    path = tmp_path / "demo-1.0-0.tar.bz2"
    path.write_bytes(bz2.compress(raw[:at]) + bz2.compress(raw[at:]))
    hashes = extract_conda(path, tmp_path / "out")
    assert (tmp_path / "out" / "lib" / "a").read_bytes() == b"a" * 3000
    assert (tmp_path / "out" / "lib" / "b").read_bytes() == b"b" * 3000
    data = path.read_bytes()
    assert hashes == {"md5": hashlib.md5(data).hexdigest(), "sha256": hashlib.sha256(data).hexdigest()}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo-1.0-0.tar.bz2", "out"]


@pytest.mark.parametrize("name", ["demo-1.0-0.tar.bz2", "demo-1.0-0.conda"])
def test_what_is_accepted_is_unpacked_as_it_was_read(name: str, tmp_path: Path) -> None:
    long = b"/".join([b"directory"] * 20) + b"/file"
    path = _pack(
        tmp_path / name,
        tb.pax({b"comment": b"abc"}, b"g"),
        tb.directory(b"empty/"),
        tb.file(b"bin/run", b"x", mode=0o755),
        tb.symlink(b"bin/link", b"run"),
        tb.hardlink(b"bin/hard", b"bin/run"),
        tb.gnu_long(long) + tb.file(long[:100], b"long"),
        tb.gnu_long(b"t" * 150, b"K") + tb.symlink(b"dangling", b"t" * 100),
        tb.pax({b"path": "é/☃".encode(), b"mtime": b"12.5", b"size": b"3"}) + tb.header(b"z") + tb.pad(b"abc"),
        tb.gnu_sparse(b"sparse", b"data", 100_000, extended=2),
        tb.header(b"old", b"\0", 2) + tb.pad(b"ol"),
    )
    check(path)
    extract_conda(path, tmp_path / "out")
    out = tmp_path / "out"
    assert (out / "bin/run").stat().st_mode & 0o111
    assert (out / "bin/hard").read_bytes() == b"x"
    assert str((out / "bin/link").readlink()) == "run"
    assert str((out / "dangling").readlink()) == "t" * 150
    assert (out / os.fsdecode(long)).read_bytes() == b"long"
    assert (out / "é/☃").read_bytes() == b"abc"
    assert (out / "old").read_bytes() == b"ol"
    assert (out / "sparse").read_bytes() == b"data" + bytes(99_996)


def test_a_conda_package_without_metadata_and_with_skippable_frames_is_unpacked(tmp_path: Path) -> None:
    content = tb.entries(tb.file(b"lib/a", b"A"))[1:]
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    path = tb.write_zip(tmp_path / "demo-1.0-0.conda", [(name, data + skippable) for name, data in content])
    extract_conda(path, tmp_path / "out")
    assert (tmp_path / "out" / "lib" / "a").read_bytes() == b"A"
