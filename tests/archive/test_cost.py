"""What a small hostile archive may cost is bounded in memory and in work, whatever it says of itself."""

from __future__ import annotations

import bz2
import tracemalloc
from pathlib import Path

import pytest

from asynccache.archive import Limits, check, tar_header, tar_scan, window
from asynccache.archive.root import refuse_links_outside
from asynccache.errors import HostileArchiveError
from tests.archive import tar_builder as tb


def peak(path: Path, limits: Limits | None = None) -> int:
    """Return the most bytes of Python objects while an archive was checked; what refuses it is no matter."""
    tracemalloc.start()
    try:
        check(path, limits=limits or Limits())
    except HostileArchiveError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return most


def test_global_records_are_not_copied_into_members(tmp_path: Path) -> None:
    records = {b"k%05d" % n: b"v" * 500 for n in range(900)}
    members = [tb.pax({b"VENDOR.x": b"1"}) + tb.header(b"m/%05d" % n) for n in range(3000)]
    assert peak(tb.tar_bz2(tmp_path, tb.pax(records, b"g"), *members)) < 30 << 20


def test_records_of_a_header_are_bounded(tmp_path: Path) -> None:
    many = {b"k%05d" % n: b"" for n in range(1001)}
    for kind in (b"g", b"x"):
        with pytest.raises(HostileArchiveError, match="too many records: expected at most 1000"):
            check(tb.tar_bz2(tmp_path, tb.pax(many, kind), tb.file(b"a")))
    many.popitem()
    check(tb.tar_bz2(tmp_path, tb.pax(many, b"g"), tb.pax(many), tb.file(b"a")))
    headers = [tb.pax({b"g%d" % n: b""}, b"g") for n in range(1001)]
    with pytest.raises(HostileArchiveError, match=r"global PAX"):
        check(tb.tar_bz2(tmp_path, *headers, tb.file(b"a")))
    large = tb.pax({b"comment": b"x" * 300_000}, b"g")
    check(tb.tar_bz2(tmp_path, large * 3, tb.file(b"a")))
    with pytest.raises(HostileArchiveError, match="large global PAX headers"):
        check(tb.tar_bz2(tmp_path, large * 4, tb.file(b"a")))


def test_records_of_an_archive_are_bounded_by_its_members(tmp_path: Path) -> None:
    def archive(members: int, records: int) -> Path:
        header = tb.pax({b"k%03d" % n: b"" for n in range(records)})
        return tb.tar_bz2(tmp_path, *(header + tb.file(b"%d" % n) for n in range(members)))

    check(archive(1000, 30))
    with pytest.raises(HostileArchiveError, match="too many PAX records for its members: expected at most"):
        check(archive(100, 100))
    check(archive(5, 1000))


@pytest.mark.parametrize(
    "member",
    [
        lambda n: tb.gnu_long(b"%d/" % n + b"a/" * 250 + b"f") + tb.header(b"x"),
        lambda n: tb.gnu_long(b"%d/" % n + b"a/" * 250) + tb.header(b"x", b"5"),
        lambda n: tb.gnu_long(b"%d/" % n + (b"b" * 250 + b"/") * 16 + b"f") + tb.header(b"x"),
        lambda n: tb.gnu_long(b"t" * 4000, b"K") + tb.symlink(b"%d" % n, b"x"),
    ],
    ids=["directories above members", "directories", "names", "targets"],
)
def test_what_is_remembered_of_paths_is_bounded(tmp_path: Path, member: object) -> None:
    path = tb.tar_bz2(tmp_path, *(member(n) for n in range(3000)))  # type: ignore[operator]
    limits = Limits(path_bytes=8 << 20)
    with pytest.raises(HostileArchiveError, match="paths are too many or too long"):
        check(path, limits=limits)
    assert peak(path, limits) < 24 << 20


def test_links_are_followed_within_bounds() -> None:
    # each leads through the one before it: without memory of where that ended, work would grow with the square
    count = 20_000
    links = {b"l%d" % n: b"./d/../l%d" % (n - 1) for n in range(1, count)} | {b"l0": b"file"}
    refuse_links_outside(links)
    links[b"l0"] = b"../file"
    with pytest.raises(HostileArchiveError, match="leads out of the root"):
        refuse_links_outside(dict(reversed(links.items())))
    few = {b"l%d" % n: b"a/" * 1000 for n in range(60)}
    with pytest.raises(HostileArchiveError, match="too tangled"):
        refuse_links_outside(few)
    tangled = {b"l%d" % n: b"a/" * 2000 for n in range(1000)}
    with pytest.raises(HostileArchiveError, match="too tangled"):
        refuse_links_outside(tangled)


@pytest.mark.parametrize(
    ("links", "outside"),
    [
        ({b"a": b"b", b"b": b"a"}, False),
        ({b"a": b"a/x"}, False),
        ({b"a": b"a/../.."}, False),
        ({b"d/a": b"../b/../..", b"b": b"x/y"}, False),
        ({b"d/a": b"../b/../..", b"b": b"x"}, True),
        ({b"d/a": b"../b/..", b"b": b"c", b"c": b"d/e/f"}, False),
        ({b"d/a": b"../b/../../../..", b"b": b"c", b"c": b"d/e/f"}, True),
        ({b"a": b"b/x", b"b": b"/"}, True),
        ({b"a": b"./"}, False),
        ({b"a": b".."}, True),
        ({b"a/b": b"..", b"c": b"a/b/.."}, True),
    ],
)
def test_links_lead_where_the_kernel_would_follow_them(links: dict[bytes, bytes], outside: bool) -> None:
    for order in (links, dict(reversed(links.items()))):
        if not outside:
            refuse_links_outside(order)
            continue
        with pytest.raises(HostileArchiveError, match="leads out of the root"):
            refuse_links_outside(order)


def test_many_empty_streams_are_refused(tmp_path: Path) -> None:
    path = tb.tar_bz2(tmp_path, tb.file(b"x"))
    path.write_bytes(path.read_bytes() + bz2.compress(b"") * 1500)
    with pytest.raises(HostileArchiveError, match="too many streams: expected 1000, and one for each 4096 bytes"):
        check(path)
    empty = tb.zstd.compress(b"")
    content = tb.entries(tb.file(b"x"))
    content[1] = (content[1][0], content[1][1] + empty * 1500)
    with pytest.raises(HostileArchiveError, match="too many streams"):
        check(tb.write_zip(tmp_path / "demo-1.0-0.conda", content))


def test_streams_of_parallel_compressors_are_read_and_each_byte_is_handed_out_about_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = 0
    take = window.Window.take

    def counted(self: window.Window, most: int = 1 << 18) -> bytes:
        nonlocal taken
        data = take(self, most)
        taken += len(data)
        return data

    monkeypatch.setattr(window.Window, "take", counted)
    raw = tb.index() + b"".join(tb.file(b"%d" % n, b"%d" % n * 2000) for n in range(2000)) + tb.END
    path = tmp_path / "demo-1.0-0.tar.bz2"
    path.write_bytes(b"".join(bz2.compress(raw[at : at + 9000]) for at in range(0, len(raw), 9000)))
    assert check(path).members == 2001
    assert taken < 3 * path.stat().st_size + 1024 * (len(raw) // 9000 + 2)


def test_a_long_header_in_many_small_frames_is_looked_at_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = 0
    parse = tar_header.parse_header

    def counted(buffer: bytes, offset: int) -> object:
        nonlocal looked
        looked += 1
        return parse(buffer, offset)

    monkeypatch.setattr(tar_scan, "parse_header", counted)
    raw = tb.pax({b"comment": b"x" * 500_000}) + tb.file(b"c") + tb.END
    content = tb.entries()
    frames = b"".join(tb.zstd.compress(raw[at : at + 600]) for at in range(0, len(raw), 600))
    content[1] = (content[1][0], frames)
    assert check(tb.write_zip(tmp_path / "demo-1.0-0.conda", content)).members == 2
    assert looked < 50
