"""Every limit holds to the byte: what is as large as it may be is accepted, one more is refused by name."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from asynccache.archive import Limits, check, read
from asynccache.archive.limits import DEFAULT_LIMITS, Allowance
from asynccache.archive.root import checked_path
from asynccache.errors import HostileArchiveError
from tests.archive import tar_builder as tb
from tests.support.wheels import extract_wheel, write_wheel

LONGEST = 4096  # bytes of a path
SPARSE_BYTES = 1 << 30


def content(size: int) -> bytes:
    return b"".join([tb.index(), tb.file(b"data", bytes(size)), tb.END])


def tar_bz2(directory: Path) -> tuple[Path, int]:
    raw = content(70_000)
    path = directory / "demo-1.0-0.tar.bz2"
    path.write_bytes(bz2.compress(raw))
    return path, len(raw)


def conda(directory: Path) -> tuple[Path, int]:
    path = tb.conda(directory, tb.file(b"data", bytes(70_000)))
    return path, len(tb.file(b"data", bytes(70_000))) + len(tb.index()) + 2 * len(tb.END)


def sdist(directory: Path) -> tuple[Path, int]:
    raw = content(70_000)
    path = directory / "demo-1.0.tar.gz"
    path.write_bytes(gzip.compress(raw))
    return path, len(raw)


def wheel(directory: Path) -> tuple[Path, int]:
    path = write_wheel(directory, "demo", files={"demo/data": bytes(70_000)})
    return path, check(path).unpacked_bytes


def sparse(directory: Path) -> tuple[Path, int]:
    # its holes are never streamed: only what its header says counts
    path = tb.tar_bz2(directory, tb.gnu_sparse(b"holes", b"abc", SPARSE_BYTES))
    return path, SPARSE_BYTES + len(json.dumps(tb.INDEX))


@pytest.mark.parametrize("packed", [tar_bz2, conda, sdist, wheel, sparse])
def test_the_last_unpacked_byte_decides(packed: Callable[[Path], tuple[Path, int]], tmp_path: Path) -> None:
    path, size = packed(tmp_path)
    check(path, limits=Limits(unpacked_bytes=size, ratio=1e9))
    with pytest.raises(HostileArchiveError, match=f"unpacks to more than it may.*at most {size - 1} bytes"):
        check(path, limits=Limits(unpacked_bytes=size - 1, ratio=1e9))


def test_the_last_byte_of_a_wheel_that_is_unpacked_decides(tmp_path: Path) -> None:
    path, size = wheel(tmp_path)
    extract_wheel(path, tmp_path / "whole", lambda: False, limits=Limits(unpacked_bytes=size))
    with pytest.raises(HostileArchiveError, match=f"unpacks to more than it may.*at most {size - 1} bytes"):
        extract_wheel(path, tmp_path / "refused", lambda: False, limits=Limits(unpacked_bytes=size - 1))


def test_the_last_file_of_a_wheel_that_is_unpacked_decides(tmp_path: Path) -> None:
    path, _ = wheel(tmp_path)
    files = check(path).members
    extract_wheel(path, tmp_path / "whole", lambda: False, limits=Limits(members=files))
    with pytest.raises(HostileArchiveError, match=f"too many members.*at most {files - 1}"):
        extract_wheel(path, tmp_path / "refused", lambda: False, limits=Limits(members=files - 1))


def test_what_is_streamed_and_what_is_announced_are_counted_apart() -> None:
    for count in (Allowance.stream, Allowance.member):
        allowance = Allowance(Limits(unpacked_bytes=100), 10, "demo")
        count(allowance, 60)
        count(allowance, 40)
        with pytest.raises(HostileArchiveError, match="at most 100 bytes"):
            count(allowance, 1)


def test_the_smallest_limit_counts_but_for_small_archives() -> None:
    limits = Limits(unpacked_bytes=1000, ratio=2.5, ratio_floor=50)
    assert [limits.allowance(size) for size in (0, 19, 20, 21, 22, 399, 400, 401, 10_000)] == [
        50, 50, 50, 52, 55, 997, 1000, 1000, 1000,
    ]  # fmt: skip
    assert DEFAULT_LIMITS.allowance(1) == 256 << 20
    assert DEFAULT_LIMITS.allowance(1 << 20) == 1000 << 20
    assert DEFAULT_LIMITS.allowance(1 << 40) == 64 << 30


def test_a_path_is_at_most_as_long_as_the_system_can_open(tmp_path: Path) -> None:
    longest = b"/".join([b"d" * 240] * 17)
    assert len(longest) == LONGEST
    assert checked_path(longest) == longest
    check(tb.tar_bz2(tmp_path, tb.gnu_long(longest), tb.file(b"cut")))
    for path in (longest + b"z", b"./" + longest[:-1]):
        with pytest.raises(
            HostileArchiveError, match=f"long path: expected at most {LONGEST} bytes, found {LONGEST + 1}"
        ):
            checked_path(path)
        with pytest.raises(HostileArchiveError, match="long path"):
            check(tb.tar_bz2(tmp_path, tb.gnu_long(path), tb.file(b"cut")))


def test_a_path_has_at_most_256_directories(tmp_path: Path) -> None:
    deepest = b"/".join([b"d"] * 256)
    assert checked_path(b"./" + deepest) == deepest
    with pytest.raises(HostileArchiveError, match="is nested too deeply: expected at most 256, found 257"):
        check(tb.tar_bz2(tmp_path, tb.gnu_long(deepest + b"/d"), tb.file(b"cut")))


def test_a_link_leads_at_most_as_far_as_the_system_can_store(tmp_path: Path) -> None:
    longest = b"a" * LONGEST
    check(tb.tar_bz2(tmp_path, tb.gnu_long(longest, b"K"), tb.symlink(b"link", b"cut")))
    with pytest.raises(
        HostileArchiveError, match=f"long target: expected at most {LONGEST} bytes, found {LONGEST + 1}"
    ):
        check(tb.tar_bz2(tmp_path, tb.gnu_long(longest + b"a", b"K"), tb.symlink(b"link", b"cut")))


def test_an_extended_header_may_be_as_large_as_the_limit(tmp_path: Path) -> None:
    header = tb.pax({b"comment": b"x" * 5000})
    size = len(tb.pax_data({b"comment": b"x" * 5000}))
    path = tb.tar_bz2(tmp_path, header, tb.file(b"c"))
    check(path, limits=Limits(header_bytes=size))
    with pytest.raises(HostileArchiveError, match=f"large extended header.*at most {size - 1} bytes, found {size}"):
        check(path, limits=Limits(header_bytes=size - 1))


def test_an_index_may_be_as_large_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(json.dumps(tb.INDEX))
    path = tb.tar_bz2(tmp_path)
    monkeypatch.setattr(read, "_MAX_INDEX", size)
    check(path)
    monkeypatch.setattr(read, "_MAX_INDEX", size - 1)
    with pytest.raises(HostileArchiveError, match=f"large: expected at most {size - 1} bytes, found {size}"):
        check(path)


def test_the_largest_ratios_of_published_packages_are_far_within_the_defaults() -> None:
    for size in (100, 1 << 20, 100 << 20, 1 << 30):
        assert Limits().allowance(size) >= 10 * 35 * min(size, 100 << 20)
