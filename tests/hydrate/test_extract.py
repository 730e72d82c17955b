"""Archives are unpacked to what they hold, or refused: every damaged byte is noticed."""

import bz2
import hashlib
import os
from pathlib import Path

import pytest

from asynccache.archive import Limits, check
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.hydrate.extract import extract_conda
from asynccache.model.digest import Digests
from tests.archive import tar_builder as tb

WAYS = pytest.mark.parametrize(
    ("name", "checked"),
    [("demo-1.0-0.tar.bz2", True), ("demo-1.0-0.conda", True), ("demo-1.0-0.conda", False)],
    ids=["tar.bz2", "conda", "conda that nobody has read"],
)


def _unpacked(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_what_is_no_conda_package_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad-1.0-0.conda"
    path.write_bytes(b"PK\x03\x04 nearly")
    with pytest.raises(ArchiveError, match=r"bad-1\.0-0\.conda is not a \.conda file"):
        extract_conda(path, tmp_path / "out")


def _pack(path: Path, *parts: bytes) -> Path:
    """Write a package of an index and more members in the format that a name says."""
    return tb.conda(path.parent, *parts) if path.suffix == ".conda" else tb.tar_bz2(path.parent, *parts)


@pytest.mark.parametrize("name", ["demo-1.0-0.tar.bz2", "demo-1.0-0.conda"])
@pytest.mark.parametrize("target", [b"/etc/passwd", b"../../up", b"other/../../.."])
def test_a_package_whose_links_lead_out_is_refused_unless_they_may(name: str, target: bytes, tmp_path: Path) -> None:
    path = _pack(tmp_path / name, tb.symlink(b"lib/link", target), tb.symlink(b"lib/inside", b"../lib/x"))
    with pytest.raises(HostileArchiveError, match=r"'lib/link' leads out of the root.*set links_outside"):
        extract_conda(path, tmp_path / "out")
    extract_conda(path, tmp_path / "allowed", limits=Limits(links_outside=True))
    assert os.fsencode((tmp_path / "allowed" / "lib" / "link").readlink()) == target


@WAYS
def test_a_package_that_unpacks_to_more_than_it_may_is_refused(name: str, checked: bool, tmp_path: Path) -> None:
    path = _pack(tmp_path / name, tb.file(b"zeros", bytes(8 << 20)))
    with pytest.raises(HostileArchiveError, match="unpacks to more than it may"):
        extract_conda(path, tmp_path / "out", limits=Limits(ratio_floor=1 << 20, ratio=50), checked=checked)
    assert sum(p.stat().st_size for p in (tmp_path / "out").rglob("*") if p.is_file()) <= 1 << 20


@pytest.mark.parametrize(
    "parts",
    [
        (tb.symlink(b"lib", b"/tmp"), tb.file(b"lib/x", b"x")),
        (tb.symlink(b"x", b"y"), tb.file(b"x", b"x")),
        (tb.file(b"x", b"1"), tb.file(b"x", b"2")),
        (tb.file(b"../x", b"x"),),
        (tb.hardlink(b"x", b"../outside"),),
    ],
    ids=["below a link", "through a link", "twice", "climbing", "a hard link that leads out"],
)
def test_what_nobody_has_read_is_refused_before_it_is_written(parts: tuple[bytes, ...], tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    for name in ("demo-1.0-0.tar.bz2", "demo-1.0-0.conda"):
        path = _pack(tmp_path / name, *parts)
        with pytest.raises(ArchiveError):
            extract_conda(path, tmp_path / "out" / name, checked=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo-1.0-0.conda", "demo-1.0-0.tar.bz2", "out", "outside"]
    assert (tmp_path / "outside").stat().st_nlink == 1
    assert not any(p.is_file() and p.read_bytes() == b"x" for p in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("at", [100, 512, 1024, 1536, 4000])
def test_all_streams_of_a_package_are_unpacked(at: int, tmp_path: Path) -> None:
    raw = tb.index() + tb.file(b"lib/a", b"a" * 3000) + tb.file(b"lib/b", b"b" * 3000) + tb.END
    path = tmp_path / "demo-1.0-0.tar.bz2"
    path.write_bytes(bz2.compress(raw[:at]) + bz2.compress(raw[at:]))
    digests = extract_conda(path, tmp_path / "out")
    assert (tmp_path / "out" / "lib" / "a").read_bytes() == b"a" * 3000
    assert (tmp_path / "out" / "lib" / "b").read_bytes() == b"b" * 3000
    data = path.read_bytes()
    assert digests == Digests(hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest(), len(data))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo-1.0-0.tar.bz2", "out"]


@WAYS
def test_what_is_accepted_is_unpacked_as_it_was_read(name: str, checked: bool, tmp_path: Path) -> None:
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
    extract_conda(path, tmp_path / "out", checked=checked)
    out = tmp_path / "out"
    assert (out / "bin/run").stat().st_mode & 0o777 == 0o755
    assert (out / "bin/run").stat().st_mtime == 1_700_000_000  # byte code names that of its source
    assert (out / "empty").is_dir()
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
