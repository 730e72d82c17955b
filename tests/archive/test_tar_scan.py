"""What a package's tar archive may not hold, one test for each attack and each kind of damage."""

from __future__ import annotations

import bz2
from pathlib import Path

import pytest

from asynccache.archive import Limits, check, transmute
from asynccache.archive.member import MemberType
from asynccache.errors import ArchiveError, HostileArchiveError
from tests.archive import tar_builder as tb
from tests.archive.members import members


def refuses(tmp_path: Path, *parts: bytes, match: str, error: type[Exception] = HostileArchiveError) -> None:
    """Both readers refuse the package, in both formats, and leave nothing behind."""
    source = tb.tar_bz2(tmp_path, *parts)
    with pytest.raises(error, match=match):
        check(source)
    with pytest.raises(error, match=match):
        transmute(source, source.with_name("demo-1.0-0.conda"))
    assert list(tmp_path.iterdir()) == [source]
    source.unlink()
    other = tb.conda(tmp_path, *parts)
    with pytest.raises(error, match=match):
        check(other)
    with pytest.raises(error, match=match):
        transmute(other, other.with_name("demo-1.0-0.tar.bz2"))
    assert list(tmp_path.iterdir()) == [other]


def test_absolute_path_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.file(b"/etc/passwd", b"x"), match="absolute path")


def test_absolute_path_in_a_pax_record_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.pax({b"path": b"/etc/passwd"}) + tb.file(b"harmless", b"x"), match="absolute path")


def test_absolute_path_in_a_gnu_long_name_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.gnu_long(b"/etc/passwd") + tb.file(b"harmless", b"x"), match="absolute path")


def test_absolute_path_in_a_ustar_prefix_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.file(b"passwd", b"x", prefix=b"/etc"), match="absolute path")


def test_absolute_path_hidden_behind_a_sparse_name_is_refused(tmp_path: Path) -> None:
    records = {b"path": b"/etc/passwd", b"GNU.sparse.name": b"harmless"}
    refuses(tmp_path, tb.pax(records) + tb.file(b"x", b"x"), match="a sparse file in a PAX enc", error=ArchiveError)


@pytest.mark.parametrize("name", [b"../x", b"lib/../../x", b"lib/..", b"./../x"])
def test_path_that_climbs_is_refused(tmp_path: Path, name: bytes) -> None:
    refuses(tmp_path, tb.file(name, b"x"), match=r"climbs with '\.\.'")


def test_name_with_nul_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.pax({b"path": b"a\0b"}) + tb.file(b"x"), match="NUL")


def test_name_longer_than_any_path_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.gnu_long(b"a/" * 3000 + b"b") + tb.file(b"x"), match="long path")


def test_name_longer_than_file_systems_take_is_refused(tmp_path: Path) -> None:
    check(tb.tar_bz2(tmp_path, tb.gnu_long(b"d/" + b"n" * 255) + tb.file(b"cut")))
    refuses(
        tmp_path, tb.gnu_long(b"d/" + b"n" * 256 + b"/f") + tb.file(b"cut"), match="has a long name: expected at mos"
    )


def test_symbolic_link_with_an_absolute_target_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.symlink(b"lib/x", b"/etc/passwd"), match="leads out of the root")


def test_symbolic_link_that_climbs_out_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.symlink(b"lib/x", b"../../etc/passwd"), match="leads out of the root")


def test_symbolic_links_that_only_together_climb_out_are_refused(tmp_path: Path) -> None:
    parts = tb.symlink(b"a/b/top", b"../.."), tb.symlink(b"a/b/out", b"top/../x")
    refuses(tmp_path, *parts, match="'a/b/out' leads out of the root")


def test_symbolic_link_through_a_later_link_is_refused(tmp_path: Path) -> None:
    parts = tb.symlink(b"a/b/out", b"top/../x"), tb.symlink(b"a/b/top", b"../..")
    refuses(tmp_path, *parts, match="'a/b/out' leads out of the root")


def test_writing_through_a_symbolic_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.symlink(b"lib64", b"lib"), tb.file(b"lib64/x", b"x"), match="through the symbolic link")


def test_writing_through_a_symbolic_link_of_the_same_name_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.symlink(b"bin/x", b"y"), tb.file(b"./bin//x", b"x"), match="through the symbolic link")


def test_hard_link_through_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    parts = tb.file(b"lib/x"), tb.symlink(b"l", b"lib"), tb.hardlink(b"y", b"l/x")
    refuses(tmp_path, *parts, match="through the symbolic link")


@pytest.mark.parametrize("target", [b"/etc/passwd", b"../x", b"lib/../../x"])
def test_hard_link_out_of_the_root_is_refused(tmp_path: Path, target: bytes) -> None:
    refuses(tmp_path, tb.hardlink(b"x", target), match="hard link 'x' leads out of the root")


def test_hard_link_to_what_is_not_there_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.hardlink(b"x", b"y"), tb.file(b"y"), match="no earlier file")


@pytest.mark.parametrize(("kind", "what"), [(b"3", "character device"), (b"4", "block device"), (b"6", "named pipe")])
def test_device_or_pipe_is_refused(tmp_path: Path, kind: bytes, what: str) -> None:
    refuses(tmp_path, tb.header(b"dev/x", kind), match=what)


def test_unknown_member_type_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.header(b"x", b"M"), match="unknown type", error=ArchiveError)


def test_two_members_at_one_path_are_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.file(b"x", b"1"), tb.file(b"./x", b"2"), match="twice")


def test_file_at_a_directory_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.directory(b"x/"), tb.file(b"x", b"2"), match="twice")


def test_file_whose_name_ends_like_a_directory_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.file(b"x/", b"1"), match="directory by its name", error=ArchiveError)


def test_link_with_a_size_is_refused(tmp_path: Path) -> None:
    part = tb.header(b"x", b"2", 512, linkname=b"y") + bytes(512)
    refuses(tmp_path, part, match="no file but has a size", error=ArchiveError)


def test_symbolic_link_without_a_target_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.symlink(b"x", b""), match="has no target", error=ArchiveError)


def test_prefix_that_readers_disagree_on_is_refused(tmp_path: Path) -> None:
    part = tb.file(b"x", magic=b"ustar  \0", prefix=b"../up")
    refuses(tmp_path, part, match="name prefix", error=ArchiveError)


def test_global_header_that_names_every_member_is_refused(tmp_path: Path) -> None:
    part = tb.pax({b"path": b"x"}, b"g") + tb.file(b"y")
    refuses(tmp_path, part, match="global PAX header", error=ArchiveError)


@pytest.mark.parametrize(
    "headers",
    [
        tb.pax({b"path": b"a"}) + tb.pax({b"path": b"b"}),
        tb.gnu_long(b"a") + tb.gnu_long(b"b"),
        tb.gnu_long(b"a") + tb.pax({b"path": b"b"}),
        tb.pax({b"path": b"b"}) + tb.gnu_long(b"a"),
    ],
)
def test_extended_headers_that_contradict_each_other_are_refused(tmp_path: Path, headers: bytes) -> None:
    refuses(tmp_path, headers + tb.file(b"c"), match="several extended headers", error=ArchiveError)


def test_extended_header_without_member_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.pax({b"path": b"b"}), match="without its member", error=ArchiveError)


@pytest.mark.parametrize(
    "data", [b"12 path=abc", b"x path=a\n", b"999999 path=a\n", b"5 abc\n", b"6 =ab\n", b"09 path=a\n"]
)
def test_malformed_pax_record_is_refused(tmp_path: Path, data: bytes) -> None:
    part = tb.header(b"p", b"x", len(data)) + tb.pad(data) + tb.file(b"c")
    refuses(tmp_path, part, match="PAX header", error=ArchiveError)


def test_large_extended_header_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.pax({b"comment": b"x" * (2 << 20)}) + tb.file(b"c"), match="large extended header")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (398, b"%011o\0" % 5),
        (398, b"%011o\0" % 3),
        (410, b"%011o\0" % 2),
        (483, b"%011o\0" % 99_999),
        (398, b"garbage\0\0\0\0\0"),
        (434, b"\0unused\0\0\0\0\0"),
        (446, b"stale\0\0\0\0\0\0\0"),
    ],
)
def test_sparse_map_that_does_not_add_up_is_refused(tmp_path: Path, at: int, text: bytes) -> None:
    sparse = tb.gnu_sparse(b"x", b"data", 100_000)
    block = bytearray(sparse[:512])
    block[at : at + 12] = text
    refuses(tmp_path, tb.seal(block) + sparse[512:], match=r"sparse (file|map)", error=ArchiveError)


@pytest.mark.parametrize("blank", [bytes(12), b" " * 12, b" \0" * 6])
def test_an_empty_size_which_others_refuse_is_refused(tmp_path: Path, blank: bytes) -> None:
    block = bytearray(tb.header(b"d", b"5"))
    block[124:136] = blank
    refuses(tmp_path, tb.seal(block), match="the size of 'd' is malformed", error=ArchiveError)


@pytest.mark.parametrize("kind", [b"L", b"K"])
def test_a_long_name_that_some_readers_read_on_behind_its_end_is_refused(tmp_path: Path, kind: bytes) -> None:
    block = bytearray(tb.gnu_long(b"missing/x", kind) + tb.file(b"x", b"x"))
    block[124:136] = b"%011o\0" % 8
    refuses(tmp_path, tb.seal(block[:512]) + bytes(block[512:]), match="continues past its end", error=ArchiveError)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_extended_header_of_a_negative_size_is_refused(tmp_path: Path, kind: bytes) -> None:
    block = bytearray(tb.gnu_long(b"name", kind))
    block[124:136] = b"\xff\xfe" + bytes(10)
    hostile = tb.seal(block[:512]) + bytes(block[512:]) + tb.file(b"x", b"x")
    refuses(tmp_path, hostile, match="extended header of a negative size", error=ArchiveError)


def test_an_unused_stretch_of_a_sparse_map_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    sparse = tb.gnu_sparse(b"x", b"data", 100_000)
    block = bytearray(sparse[:512])
    block[446:458] = b"\x80" + bytes(9) + b"\x04\0"
    refuses(tmp_path, tb.seal(block) + sparse[512:], match="unused stretch that is not empty", error=ArchiveError)


def test_a_sparse_file_whose_size_a_pax_record_says_again_is_refused(tmp_path: Path) -> None:
    sparse = tb.pax({b"size": b"512"}) + tb.gnu_sparse(b"x", b"d" * 512, 1024)
    refuses(tmp_path, sparse, match="sparse file 'x' has a PAX record of its size", error=ArchiveError)


def test_a_prefix_beside_another_version_is_refused(tmp_path: Path) -> None:
    part = tb.file(b"x", magic=b"ustar\x00\0\0", prefix=b"up")
    refuses(tmp_path, part, match="a name prefix without being a POSIX header", error=ArchiveError)


def test_a_sparse_file_that_is_not_of_gnu_tar_is_refused(tmp_path: Path) -> None:
    sparse = tb.gnu_sparse(b"x", b"data", 100_000)
    block = sparse[:257] + b"ustar\x0000" + sparse[265:512]
    refuses(tmp_path, tb.seal(block) + sparse[512:], match="is not GNU tar's", error=ArchiveError)


@pytest.mark.parametrize(
    ("at", "field", "what"),
    [
        (100, b"\xff" * 8, "a mode that no file can have"),
        (100, b"\x80" + b"\1" * 7, "a mode that no file can have"),
        (136, b"\x80" + b"\1" * 11, "a mtime that no file can have"),
        (136, b"\xff\0" + b"\xff" * 10, "a mtime that no file can have"),
    ],
)
def test_numbers_that_other_readers_fail_at_are_refused(tmp_path: Path, at: int, field: bytes, what: str) -> None:
    block = bytearray(tb.header(b"x"))
    block[at : at + len(field)] = field
    refuses(tmp_path, tb.seal(block), match=what, error=ArchiveError)


def test_endless_sparse_map_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.gnu_sparse(b"x", b"", 1, extended=5000), match="large sparse map")


def test_sparse_file_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.gnu_sparse(b"x", b"abc", 1 << 32), match="unpacks to more than it may")


def test_pax_sparse_file_that_claims_to_be_huge_is_refused(tmp_path: Path) -> None:
    records = {b"GNU.sparse.major": b"1", b"GNU.sparse.minor": b"0", b"GNU.sparse.realsize": b"99999999999999"}
    refuses(tmp_path, tb.pax(records) + tb.file(b"x", b"0\n"), match="a sparse file in a PAX enc", error=ArchiveError)


def test_size_beyond_the_limit_is_refused_before_its_content_is_read(tmp_path: Path) -> None:
    part = tb.header(b"x", size_field=b"\x80" + (1 << 60).to_bytes(11, "big"))
    refuses(tmp_path, part, match="unpacks to more than it may")


def test_negative_size_is_refused(tmp_path: Path) -> None:
    part = tb.header(b"x", size_field=b"\xff" * 12)
    refuses(tmp_path, part, match="negative size", error=ArchiveError)


def test_malformed_number_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.header(b"x", size_field=b"0000000009x\0"), match="malformed size", error=ArchiveError)


def test_wrong_header_checksum_is_refused(tmp_path: Path) -> None:
    block = bytearray(tb.header(b"x"))
    block[0] ^= 1
    refuses(tmp_path, bytes(block), match="wrong checksum", error=ArchiveError)


def test_data_after_the_end_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.END, tb.file(b"hidden", b"x"), match="continues past its end", error=ArchiveError)


def test_data_after_a_single_zero_block_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, bytes(512), tb.file(b"hidden", b"x"), match="continues past its end", error=ArchiveError)


@pytest.mark.parametrize("cut", [100, 512, 600, 1024])
def test_archive_that_ends_within_a_member_is_refused(tmp_path: Path, cut: int) -> None:
    raw = tb.index() + tb.file(b"x", b"y" * 1000)
    source = tmp_path / "demo-1.0-0.tar.bz2"
    source.write_bytes(bz2.compress(raw[:-cut]))
    with pytest.raises(ArchiveError, match="ends too early"):
        check(source)


def test_archive_without_end_blocks_is_refused(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, tb.file(b"x", b"y"), end=b"")
    with pytest.raises(ArchiveError, match=r"ends too early.*two zero blocks"):
        check(source)


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, *(tb.file(b"%d" % i) for i in range(10)))
    assert check(source, limits=Limits(members=11)).members == 11
    with pytest.raises(HostileArchiveError, match="too many members"):
        check(source, limits=Limits(members=10))


def test_links_of_real_packages_are_accepted(tmp_path: Path) -> None:
    source = tb.tar_bz2(
        tmp_path,
        tb.file(b"lib/libx.so.1", b"x"),
        tb.symlink(b"lib/libx.so", b"libx.so.1"),
        tb.symlink(b"share/up", b"../lib/./libx.so"),
        tb.symlink(b"share/dangling", b"not-there"),
        tb.symlink(b"loop/a", b"b"),
        tb.symlink(b"loop/b", b"a"),
        tb.symlink(b"top", b"."),
        tb.hardlink(b"bin/x", b"./lib/libx.so.1"),
        tb.hardlink(b"bin/link-to-link", b"lib/libx.so"),
    )
    assert check(source).members == 10


def test_links_out_of_the_root_are_accepted_on_demand(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, tb.symlink(b"etc/localtime", b"/etc/localtime"))
    limits = Limits(links_outside=True)
    assert check(source, limits=limits).members == 2
    assert transmute(source, tmp_path / "demo-1.0-0.conda", limits=limits).verified


def test_writing_through_a_link_is_refused_even_where_links_may_lead_out(tmp_path: Path) -> None:
    source = tb.tar_bz2(tmp_path, tb.symlink(b"out", b"/tmp"), tb.file(b"out/x"))
    with pytest.raises(HostileArchiveError, match="through the symbolic link"):
        check(source, limits=Limits(links_outside=True))


def test_tangled_links_cost_bounded_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asynccache.archive.root._MAX_FOLLOWED", 50_000)
    links = [tb.symlink(b"l%d" % i, b"x/" * 45) for i in range(50)]
    with pytest.raises(HostileArchiveError, match="too tangled"):
        check(tb.tar_bz2(tmp_path, *links))


def test_names_types_and_times_are_read_exactly(tmp_path: Path) -> None:
    long = b"/".join([b"directory-\xff\xfe"] * 12) + b"/file"
    source = tb.tar_bz2(
        tmp_path,
        tb.directory(b"d/"),
        tb.file(b"f\xe9", b"abc", mode=0o4755, mtime=7),
        tb.file(b"name", b"", prefix=b"p/r"),
        tb.gnu_long(long) + tb.file(long[:100], b"long"),
        tb.gnu_long(b"t" * 150, b"K") + tb.symlink(b"s", b"t" * 100),
        tb.pax({b"path": "é/☃".encode(), b"mtime": b"12.5", b"size": b"3"}) + tb.header(b"z") + tb.pad(b"abc"),
        tb.gnu_sparse(b"sparse", b"data", 100_000, extended=2),
        tb.header(b"old", b"\0", 2) + tb.pad(b"ol"),
        tb.header(b"wide", size_field=b"\x80" + (3).to_bytes(11, "big")) + tb.pad(b"abc"),
    )
    found = [(r.member.name, r.member.type, r.member.size, r.member.real_size) for r in members(source)][1:]
    assert found == [
        (b"d/", MemberType.DIRECTORY, 0, 0),
        (b"f\xe9", MemberType.FILE, 3, 3),
        (b"p/r/name", MemberType.FILE, 0, 0),
        (long, MemberType.FILE, 4, 4),
        (b"s", MemberType.SYMBOLIC_LINK, 0, 0),
        ("é/☃".encode(), MemberType.FILE, 3, 3),
        (b"sparse", MemberType.SPARSE_FILE, 4, 100_000),
        (b"old", MemberType.FILE, 2, 2),
        (b"wide", MemberType.FILE, 3, 3),
    ]
    by_name = {r.member.name: r.member for r in members(source)}
    assert by_name[b"f\xe9"].mode == 0o4755
    assert by_name[b"f\xe9"].mtime == 7
    assert by_name[b"s"].linkname == b"t" * 150
    assert by_name["é/☃".encode()].mtime == 12.5


@pytest.mark.parametrize(
    "parts",
    [
        (tb.file(b"lib/q", b"x"), tb.file(b"lib/q/r", b"y")),
        (tb.file(b"lib/q/r", b"y"), tb.file(b"lib/q", b"x")),
        (tb.file(b"lib/q", b"x"), tb.directory(b"lib/q/r/")),
        (tb.file(b"lib/q", b"x"), tb.symlink(b"lib/q/r/s", b"x")),
        (tb.file(b"lib/q", b"x"), tb.hardlink(b"lib/q/r", b"lib/q")),
        (tb.directory(b"lib/q/"), tb.hardlink(b"lib/q", b"info/index.json")),
    ],
)
def test_what_no_file_system_can_hold_is_refused(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    refuses(tmp_path, *parts, match=r"'lib/q.*(is a file|twice)")


@pytest.mark.parametrize(
    "parts",
    [
        (tb.file(b"lib/q/r", b"y"), tb.symlink(b"lib/q", b"x")),
        (tb.symlink(b"lib/q", b"x"), tb.file(b"lib/q/r", b"y")),
        (tb.file(b"lib/q/r/s", b"y"), tb.symlink(b"lib/q", b"x")),
        (tb.symlink(b"lib/q", b"x"), tb.directory(b"lib/q/")),
    ],
)
def test_symbolic_link_at_a_directory_that_members_imply_is_refused(tmp_path: Path, parts: tuple[bytes, ...]) -> None:
    refuses(tmp_path, *parts, match=r"'lib/q.*(twice|through the symbolic link)")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        (tb.pax_data({b"path": b"a"}) + tb.pax_data({b"path": b"b"}), "the record 'path' twice"),
        (tb.pax_data({b"mtime": b"1"}) * 2, "the record 'mtime' twice"),
        (tb.pax_data({b"VENDOR.x": b"1"}) + tb.pax_data({b"VENDOR.x": b"2"}), "the record 'VENDOR.x' twice"),
        (tb.pax_data({b"path": b""}), "an empty path"),
        (tb.pax_data({b"linkpath": b""}), "an empty linkpath"),
        *(
            (tb.pax_data({b"mtime": text}), "a malformed mtime")
            for text in (b"nan", b"inf", b"1e9", b"1_0", b" 1", b"")
        ),
        *((tb.pax_data({key: b"x"}), f"a malformed {key.decode()}") for key in (b"atime", b"ctime", b"uid", b"gid")),
        (tb.pax_data({b"size": b"-1"}), "a malformed size"),
        (tb.pax_data({b"hdrcharset": b"\xff"}), "a malformed hdrcharset"),
        (tb.pax_data({b"hdrcharset": b""}), "a malformed hdrcharset"),
        (tb.pax_data({b"comment": b"1 hdrcharset=\xff"}), "a malformed hdrcharset"),
        (tb.pax_data({b"GNU.sparse.map": b"0,1"}), "a sparse file in a PAX encoding"),
    ],
)
@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_records_that_readers_disagree_on_are_refused(
    tmp_path: Path, records: bytes, message: str, kind: bytes
) -> None:
    part = tb.header(b"p", kind, len(records)) + tb.pad(records) + tb.file(b"c")
    refuses(tmp_path, part, match=message, error=ArchiveError)


@pytest.mark.parametrize("name", [b"a\0b", b"a\0", b""])
@pytest.mark.parametrize("kind", [b"L", b"K"])
def test_long_name_that_is_cut_or_empty_is_refused(tmp_path: Path, name: bytes, kind: bytes) -> None:
    part = tb.gnu_long(name, kind) + tb.symlink(b"s", b"t")
    refuses(tmp_path, part, match=r"a GNU long name is (empty|cut by a NUL)", error=ArchiveError)


def test_link_target_with_nul_is_refused(tmp_path: Path) -> None:
    refuses(tmp_path, tb.pax({b"linkpath": b"a\0b"}) + tb.symlink(b"s", b"t"), match="a NUL in its target")


@pytest.mark.parametrize("at", [329, 337])
def test_malformed_device_number_is_refused_where_it_means_nothing(tmp_path: Path, at: int) -> None:
    block = bytearray(tb.header(b"lib/b", b"0", 1))
    block[at : at + 8] = b"000 000\0"
    refuses(tmp_path, tb.seal(block) + tb.pad(b"B"), match="malformed device number", error=ArchiveError)


def test_global_header_without_member_behind_it_is_refused(tmp_path: Path) -> None:
    part = tb.file(b"x") + tb.pax({b"comment": b"abc"}, b"g")
    refuses(tmp_path, part, match="ends in an extended header without its member", error=ArchiveError)


def test_old_signed_checksum_is_accepted(tmp_path: Path) -> None:
    block = bytearray(tb.header(b"\xe9\xe9\xe9"))
    block[148:156] = b" " * 8
    total = sum(byte - 256 if byte > 127 else byte for byte in block)
    block[148:156] = b"%06o\0 " % total
    assert [r.member.name for r in members(tb.tar_bz2(tmp_path, bytes(block)))][1] == b"\xe9\xe9\xe9"
