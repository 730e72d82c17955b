"""ZIP containers that two readers could see differently, and damaged ones."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path

import pytest

from asynccache.archive import Limits, Receipt, check, transmute
from asynccache.errors import ArchiveError, HostileArchiveError
from tests.archive import tar_builder as tb
from tests.archive.members import members
from tests.archive.tar_builder import zstd
from tests.support.channel_index import read_index_json


def refuses(path: Path, match: str, error: type[Exception] = HostileArchiveError) -> None:
    with pytest.raises(error, match=match):
        check(path)
    before = sorted(path.parent.iterdir())
    with pytest.raises(error, match=match):
        transmute(path, path.with_name("demo-1.0-0.tar.bz2"))
    assert sorted(path.parent.iterdir()) == before


def changed(path: Path, old: bytes, new: bytes, *, last: bool = False) -> Path:
    """Replace bytes, the first or the last time they occur."""
    data = path.read_bytes()
    at = data.rindex(old) if last else data.index(old)
    path.write_bytes(data[:at] + new + data[at + len(old) :])
    return path


def test_package_reads_as_written(tmp_path: Path) -> None:
    path = tb.conda(tmp_path, tb.file(b"x", b"y"))
    assert [(r.member.name, r.archive and r.archive.value) for r in members(path)] == [
        (b"info/index.json", "info"),
        (b"x", "pkg"),
    ]
    assert read_index_json(path) == tb.INDEX


def test_duplicate_entry_is_refused(tmp_path: Path) -> None:
    content = tb.entries(tb.file(b"x"))
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = tb.write_zip(tmp_path / "demo-1.0-0.conda", [*content, content[1]])
    refuses(path, "two pkg archives")


def test_duplicate_metadata_is_refused(tmp_path: Path) -> None:
    content = tb.entries()
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = tb.write_zip(tmp_path / "demo-1.0-0.conda", [*content, content[0]])
    refuses(path, "'metadata.json' twice")


def test_unexpected_entry_is_refused(tmp_path: Path) -> None:
    path = tb.write_zip(tmp_path / "demo-1.0-0.conda", [*tb.entries(), ("../../evil", b"x")])
    refuses(path, "unexpectedly")


def test_compressed_entry_is_refused(tmp_path: Path) -> None:
    path = tb.write_zip(tmp_path / "demo-1.0-0.conda", tb.entries(tb.file(b"x", bytes(5000))), zipfile.ZIP_DEFLATED)
    refuses(path, "compressed or encrypted")


def test_encrypted_entry_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(mark) + offset] |= 1
    path.write_bytes(data)
    refuses(path, "compressed or encrypted")


@pytest.mark.parametrize("missing", [1, 2])
def test_missing_entry_is_refused(tmp_path: Path, missing: int) -> None:
    content = tb.entries()
    del content[missing]
    refuses(tb.write_zip(tmp_path / "demo-1.0-0.conda", content), "it lacks", ArchiveError)


def test_components_of_two_packages_are_refused(tmp_path: Path) -> None:
    content = [*tb.entries()[:2], tb.entries(stem="other-1.0-0")[2]]
    refuses(tb.write_zip(tmp_path / "demo-1.0-0.conda", content), "different packages")


@pytest.mark.parametrize("text", [b'{"conda_pkg_format_version": 3}', b"{}", b"[]", b"not json", b"\xff"])
def test_other_format_version_is_refused(tmp_path: Path, text: bytes) -> None:
    content = tb.entries()
    content[0] = ("metadata.json", text)
    refuses(tb.write_zip(tmp_path / "demo-1.0-0.conda", content), "version", ArchiveError)


def test_local_name_that_differs_is_refused(tmp_path: Path) -> None:
    path = changed(tb.conda(tmp_path), b"pkg-demo", b"pkg-evil")
    refuses(path, "two headers .* disagree")


def test_local_size_that_differs_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(b"pkg-demo") - 30 + 18
    data[at : at + 8] = struct.pack("<2L", 5, 5)
    path.write_bytes(data)
    refuses(path, "two headers .* disagree")


def test_local_method_that_differs_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"pkg-demo") - 30 + 8] = 8
    path.write_bytes(data)
    refuses(path, "two headers .* disagree")


def test_wrong_crc_of_the_data_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    wrong = struct.pack("<L", 12345)
    right = struct.pack("<L", zlib.crc32(dict(tb.entries())["pkg-demo-1.0-0.tar.zst"]))
    path.write_bytes(path.read_bytes().replace(right, wrong))
    refuses(path, "wrong CRC-32: expected 00003039", ArchiveError)


@pytest.mark.parametrize("count", [1, 10, 30, 200])
def test_truncated_file_is_refused(tmp_path: Path, count: int) -> None:
    path = tb.conda(tmp_path, tb.file(b"x"))
    path.write_bytes(path.read_bytes()[:-count])
    refuses(path, "does not end as", ArchiveError)


def test_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-0.conda"
    path.write_bytes(b"")
    refuses(path, "not a .conda file", ArchiveError)


def test_trailing_data_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    path.write_bytes(path.read_bytes() + b"trailing")
    refuses(path, "does not end as", ArchiveError)


def test_trailing_data_in_a_comment_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"hidden"
    refuses(path, "does not end as", ArchiveError)


def test_comment_that_is_announced_but_not_there_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    path.write_bytes(path.read_bytes()[:-2] + b"\5\0")
    refuses(path, "does not end as", ArchiveError)


def test_leading_data_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    path.write_bytes(b"#!/bin/sh\n" + path.read_bytes())
    refuses(path, "central directory", ArchiveError)


def test_gap_between_entries_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    data = path.read_bytes()
    pkg = data.index(b"pkg-demo") - 30
    central = data.index(b"PK\1\2")
    directory = bytearray(data[central:])
    # every offset behind the gap moves: of pkg and info in the directory, and of the directory itself
    for match in re.finditer(b"PK\x01\x02", bytes(directory)):
        at = match.start() + 42
        offset = int(struct.unpack_from("<L", directory, at)[0])
        if offset >= pkg:
            struct.pack_into("<L", directory, at, offset + 7)
    struct.pack_into("<L", directory, len(directory) - 6, central + 7)
    path.write_bytes(data[:pkg] + b"hidden!" + data[pkg:central] + directory)
    refuses(path, "overlap or leave a gap")


def test_entries_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    data = bytearray(path.read_bytes())
    directories = [m.start() for m in re.finditer(b"PK\x01\x02", bytes(data))]
    first = int(struct.unpack_from("<L", data, directories[1] + 42)[0])
    struct.pack_into("<L", data, directories[2] + 42, first)
    path.write_bytes(data)
    refuses(path, "disagree|overlap")


def test_data_before_the_central_directory_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    data = path.read_bytes()
    central = data.index(b"PK\1\2")
    tail = bytearray(data[central:])
    struct.pack_into("<L", tail, len(tail) - 6, central + 6)
    path.write_bytes(data[:central] + b"hidden" + tail)
    refuses(path, "hides data")


def test_central_directory_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path)
    data = bytearray(path.read_bytes())
    struct.pack_into("<2H", data, len(data) - 14, 2, 2)
    path.write_bytes(data)
    refuses(path, "wrong length", ArchiveError)


def test_entries_with_sizes_behind_the_data_are_read(tmp_path: Path) -> None:
    path = tmp_path / "demo-1.0-0.conda"

    class Unseekable:
        def __init__(self) -> None:
            self.data = bytearray()

        def write(self, data: bytes) -> int:
            self.data += data
            return len(data)

        def flush(self) -> None: ...

    sink = Unseekable()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for name, data in tb.entries(tb.file(b"x", b"y")):
            archive.writestr(name, data)
    path.write_bytes(sink.data)
    assert check(path).members == 2


def test_order_of_entries_does_not_matter(tmp_path: Path) -> None:
    content = tb.entries(tb.file(b"x", b"y"))
    straight = list(members(tb.write_zip(tmp_path / "demo-1.0-0.conda", content)))
    assert list(members(tb.write_zip(tmp_path / "demo-1.0-0.conda", content[::-1]))) == straight


def with_pkg(tmp_path: Path, data: bytes) -> Path:
    content = tb.entries()
    content[1] = (content[1][0], data)
    return tb.write_zip(tmp_path / "demo-1.0-0.conda", content)


def test_truncated_zstd_frame_is_refused(tmp_path: Path) -> None:
    data = tb.entries(tb.file(b"x", b"y" * 5000))[1][1]
    refuses(with_pkg(tmp_path, data[:-3]), "ends within a zstd frame", ArchiveError)


def test_damaged_zstd_checksum_is_refused(tmp_path: Path) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    data = bytearray(zstd.compress(tb.file(b"x", b"y" * 5000) + tb.END, options=options))
    data[-1] ^= 1
    refuses(with_pkg(tmp_path, bytes(data)), "is damaged", ArchiveError)


@pytest.mark.parametrize("extra", [b"x", b"trailing data", b"\x60\x2a\x4d\x18\x04\0\0\0abcd"])
def test_data_after_a_zstd_frame_is_refused(tmp_path: Path, extra: bytes) -> None:
    data = tb.entries(tb.file(b"x"))[1][1]
    refuses(with_pkg(tmp_path, data + extra), "followed by other data", ArchiveError)


def test_skippable_zstd_frames_are_passed_over(tmp_path: Path) -> None:
    data = tb.entries(tb.file(b"x", b"content"))[1][1]
    skipped = b"\x5f\x2a\x4d\x18" + (300_000).to_bytes(4, "little") + bytes(300_000)
    path = with_pkg(tmp_path, skipped + data + b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + skipped)
    assert check(path).members == 2
    assert transmute(path, path.with_name("demo-1.0-0.tar.bz2")).members == 2


@pytest.mark.parametrize("cut", [1, 4, 6, 9])
def test_skippable_zstd_frame_that_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    data = tb.entries(tb.file(b"x"))[1][1]
    frame = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    refuses(with_pkg(tmp_path, data + frame[:cut]), r"followed by other data|ends within a skippable", ArchiveError)


def test_package_without_metadata_is_read(tmp_path: Path) -> None:
    path = tb.write_zip(tmp_path / "demo-1.0-0.conda", tb.entries(tb.file(b"x"))[1:])
    assert check(path).members == 2


def test_deep_json_is_refused_by_name(tmp_path: Path) -> None:
    deep = b"[" * 60_000
    content = tb.entries(tb.file(b"x"))
    path = tb.write_zip(tmp_path / "demo-1.0-0.conda", [("metadata.json", deep), *content[1:]])
    refuses(path, r"metadata\.json in demo-1\.0-0\.conda does not say", ArchiveError)
    path.unlink()
    path = tb.conda(tmp_path, info=tb.file(b"info/index.json", deep))
    with pytest.raises(ArchiveError, match=r"info/index\.json of demo-1\.0-0\.conda is not JSON"):
        check(path)
    with pytest.raises(ArchiveError, match="a receipt is not JSON"):
        Receipt.from_json(deep)


@pytest.mark.parametrize("mark", [b"PK\1\2", b"PK\3\4"])
def test_zip_version_that_does_not_exist_is_refused(tmp_path: Path, mark: bytes) -> None:
    path = tb.conda(tmp_path, tb.file(b"x"))
    data = bytearray(path.read_bytes())
    at = data.find(mark) + (6 if mark == b"PK\1\2" else 4)
    data[at] = 128
    path.write_bytes(data)
    refuses(path, r"needs a later version of ZIP than there is: expected at most 6\.3, found 12\.8", ArchiveError)


def test_component_that_is_not_zstd_is_refused(tmp_path: Path) -> None:
    refuses(with_pkg(tmp_path, b"BZh91AY"), "not zstd", ArchiveError)
    refuses(with_pkg(tmp_path, b""), "not zstd", ArchiveError)


def test_several_zstd_frames_are_read(tmp_path: Path) -> None:
    raw = tb.file(b"x", b"y" * 5000) + tb.END
    path = with_pkg(tmp_path, zstd.compress(raw[:700]) + zstd.compress(raw[700:]))
    assert check(path).members == 2


def test_zstd_window_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    frame = bytearray(zstd.compress(tb.END, options={zstd.CompressionParameter.content_size_flag: 0}))
    frame[5] = (28 - 10) << 3  # window descriptor: 256 MiB
    refuses(with_pkg(tmp_path, bytes(frame)), "large zstd window")


def test_limit_on_the_zstd_window_is_kept(tmp_path: Path) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 22, zstd.CompressionParameter.content_size_flag: 0}
    compressor = zstd.ZstdCompressor(options=options)
    raw = tb.file(b"x", bytes(5 << 20)) + tb.END
    path = with_pkg(tmp_path, compressor.compress(raw) + compressor.flush())
    assert check(path, limits=Limits(zstd_window_log=22)).members == 2
    with pytest.raises(HostileArchiveError, match="large zstd window"):
        check(path, limits=Limits(zstd_window_log=21))


def test_zeros_without_end_are_refused(tmp_path: Path) -> None:
    size = 300 << 20
    compressor = zstd.ZstdCompressor()
    data = [compressor.compress(tb.header(b"x", b"0", size))]
    data += [compressor.compress(bytes(1 << 20)) for _ in range(300)]
    path = with_pkg(tmp_path, b"".join([*data, compressor.compress(tb.END), compressor.flush()]))
    assert path.stat().st_size < 100_000
    refuses(path, "unpacks to more than it may")


def test_end_blocks_without_end_are_refused(tmp_path: Path) -> None:
    compressor = zstd.ZstdCompressor()
    data = [compressor.compress(bytes(1 << 20)) for _ in range(300)]
    refuses(with_pkg(tmp_path, b"".join([*data, compressor.flush()])), "unpacks to more than it may")


def test_missing_index_is_refused(tmp_path: Path) -> None:
    path = tb.conda(tmp_path, info=tb.file(b"info/other"))
    with pytest.raises(ArchiveError, match=r"no info/index\.json"):
        check(path)


@pytest.mark.parametrize("text", [b"not json", b"[]", b"\xff\xfe"])
def test_index_that_is_no_json_object_is_refused(tmp_path: Path, text: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"info/index\.json"):
        check(tb.conda(tmp_path, info=tb.file(b"info/index.json", text)))
