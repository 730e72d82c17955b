"""bzip2 read and written: damage, the fast decoder's doubts, and blocks that are put together bit by bit."""

from __future__ import annotations

import bz2
import contextlib
import io
import os
import random
import signal
import subprocess
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynccache.archive import bzip2_children, bzip2_read, bzip2_write, check, transmute
from asynccache.errors import ArchiveError
from tests.archive import tar_builder as tb

needs_fast = pytest.mark.skipif(bzip2_read.fast_decoder() is None, reason="indexed_bzip2 is not installed")


def large_tar(size: int = 3 << 19) -> bytes:
    return tb.index() + tb.file(b"lib/data.bin", random.Random(7).randbytes(size)) + tb.END


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def fast(path: Path, slots: int = 1) -> bytes:
    with path.open("rb") as file:
        return b"".join(bzip2_read.fast_decompressed(file, path.stat().st_size, slots))


def standard(data: bytes) -> bytes:
    return b"".join(bzip2_read.decompressed(io.BytesIO(data), "x"))


@needs_fast
@pytest.mark.parametrize("streams", [1, 3])
def test_fast_decoder_gives_the_same_bytes(tmp_path: Path, streams: int) -> None:
    raw = large_tar(1 << 20) + bytes(20 << 20)
    path = write(tmp_path / "x", bz2.compress(raw) * streams)
    assert standard(path.read_bytes()) == raw * streams
    for slots in (1, 2):
        assert fast(path, slots) == raw * streams


@needs_fast
@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d[:-1],
        lambda d: d[:-4],
        lambda d: d[:-9],
        lambda d: d[:-10],
        lambda d: d[:-14],
        lambda d: d[: len(d) // 2],
        lambda d: d + b"\0",
        lambda d: d + b"trailing data of some length",
        lambda d: d + b"BZh9",
        lambda d: d + d[-11:],
        lambda d: d[:-4] + bytes([d[-4] ^ 1]) + d[-3:],
        lambda d: d[:6] + bytes([d[6] ^ 1]) + d[7:],
        lambda d: d[: len(d) // 2] + bytes([d[len(d) // 2] ^ 8]) + d[len(d) // 2 + 1 :],
        lambda d: b"<html>" + d,
        lambda _: b"",
    ],
)
def test_fast_decoder_doubts_every_damage(tmp_path: Path, damage: object) -> None:
    data = damage(bz2.compress(large_tar(200_000), 1))  # type: ignore[operator]
    with pytest.raises(bzip2_read.DoubtError):
        fast(write(tmp_path / "x", data))
    with pytest.raises(ArchiveError):
        standard(data)


@needs_fast
@settings(max_examples=30, deadline=None)
@given(st.integers(min_value=0), st.integers(0, 7))
def test_fast_decoder_never_accepts_a_flipped_bit(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    raw = b"some text that compresses " * 400
    data = bytearray(bz2.compress(raw))
    data[at % len(data)] ^= 1 << bit
    try:
        expected: bytes | None = standard(bytes(data))
    except ArchiveError:
        expected = None
    try:
        found: bytes | None = fast(write(tmp_path_factory.mktemp("flip") / "x", bytes(data)))
    except bzip2_read.DoubtError:
        found = None
    assert found is None or found == expected == raw


@needs_fast
def test_a_large_archive_is_decoded_in_a_process_of_its_own(tmp_path: Path) -> None:
    source = write(tmp_path / "demo-1.0-0.tar.bz2", bz2.compress(large_tar()))
    receipt = transmute(source, tmp_path / "demo-1.0-0.conda")
    assert receipt.backends[0].startswith("indexed_bzip2 ")


def test_without_the_fast_decoder_the_result_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "demo-1.0-0.tar.bz2", bz2.compress(large_tar()))
    with_fast = transmute(source, tmp_path / "demo-1.0-0.conda")
    monkeypatch.setattr(bzip2_read, "fast_decoder", lambda: None)
    without = transmute(source, tmp_path / "demo-1.0-0.conda")
    assert without.backends[0] == bzip2_read.STANDARD
    assert without.derived == with_fast.derived


@needs_fast
def test_a_fast_decoder_that_dies_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "demo-1.0-0.tar.bz2", bz2.compress(large_tar()))
    bzip2_children.end_idle()
    child = write(tmp_path / "child.py", b"import os, sys\nos.write(int(sys.argv[2]), b'wrong' * 1000)\nos.abort()\n")
    monkeypatch.setattr(bzip2_children, "_SCRIPT", child)
    receipt = transmute(source, tmp_path / "demo-1.0-0.conda")
    assert receipt.backends[0] == bzip2_read.STANDARD
    assert receipt.members == 2


def children() -> list[int]:
    listed = subprocess.run(
        ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False
    ).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "_bzip2_child" in line]


@needs_fast
def test_one_process_decodes_file_after_file_and_ends_when_asked(tmp_path: Path) -> None:
    bzip2_children.end_idle()
    raws = [large_tar(size) for size in (3 << 20, 1 << 16, 2 << 20)]
    paths = [write(tmp_path / str(number), bz2.compress(raw)) for number, raw in enumerate(raws)]
    pids = set()
    for path, raw in zip(paths * 2, raws * 2, strict=True):
        for slots in (1, 2):
            assert fast(path, slots) == raw
            pids.update(children())
    assert len(pids) == 1
    bzip2_children.end_idle()
    assert children() == []


@needs_fast
def test_a_process_that_met_damage_is_not_used_again(tmp_path: Path) -> None:
    bzip2_children.end_idle()
    good = bz2.compress(large_tar(1 << 20))
    assert fast(write(tmp_path / "good", good)) == large_tar(1 << 20)
    before = children()
    with pytest.raises(bzip2_read.DoubtError):
        fast(write(tmp_path / "bad", good[:500_000] + bytes([good[500_000] ^ 8]) + good[500_001:]))
    assert fast(tmp_path / "good") == large_tar(1 << 20)
    with (
        (tmp_path / "good").open("rb") as file,
        contextlib.closing(bzip2_read.fast_decompressed(file, len(good))) as blocks,
    ):
        next(blocks)
        given_up = children()
    assert not set(before) & set(given_up)
    assert not set(given_up) & set(children())


@needs_fast
def test_the_process_of_a_file_that_was_given_up_has_ended_although_the_error_is_kept(tmp_path: Path) -> None:
    bzip2_children.end_idle()
    source = write(tmp_path / "demo-1.0-0.tar.bz2", bz2.compress(large_tar(4 << 20)))
    seen: set[int] = set()

    def cancelled() -> bool:
        seen.update(children())
        return bool(seen)

    with pytest.raises(CancelledError) as given_up:
        transmute(source, tmp_path / "demo-1.0-0.conda", cancelled=cancelled)
    assert seen
    assert children() == []
    del given_up


@needs_fast
def test_an_idle_process_that_was_killed_costs_a_doubt_and_no_more(tmp_path: Path) -> None:
    bzip2_children.end_idle()
    source = write(tmp_path / "demo-1.0-0.tar.bz2", bz2.compress(large_tar()))
    first = transmute(source, tmp_path / "demo-1.0-0.conda")
    for pid in children():
        os.kill(pid, signal.SIGKILL)
    again = transmute(source, tmp_path / "demo-1.0-0.conda")
    assert again.derived == first.derived
    assert transmute(source, tmp_path / "demo-1.0-0.conda").backends == first.backends


@needs_fast
def test_many_small_archives_get_a_process_where_one_does_not(tmp_path: Path) -> None:
    bzip2_children.end_idle()
    bzip2_read._decoded_small = 0
    size = 300_000
    decoders = [bzip2_read.choose(size) for _ in range(6)]
    assert decoders == [bzip2_read.STANDARD] * 4 + [bzip2_read.FAST] * 2
    assert bzip2_read.choose(1000) == bzip2_read.STANDARD


@needs_fast
def test_decoding_in_many_threads_gives_each_its_own_bytes(tmp_path: Path) -> None:
    raws = [random.Random(number).randbytes(100_000 + number) * 3 for number in range(18)]
    paths = [write(tmp_path / str(number), bz2.compress(raw, 1)) for number, raw in enumerate(raws)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(lambda path: fast(path, 2), paths)) == raws
    bzip2_children.end_idle()
    assert children() == []


@needs_fast
def test_a_fast_decoder_that_cannot_start_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "demo-1.0-0.tar.bz2", bz2.compress(large_tar()))
    bzip2_children.end_idle()
    monkeypatch.setattr("sys.executable", str(tmp_path / "missing"))
    assert transmute(source, tmp_path / "demo-1.0-0.conda").backends[0] == bzip2_read.STANDARD


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: d[:-5], "ends within a bzip2 stream"),
        (lambda d: d[: len(d) // 2], "ends within a bzip2 stream"),
        (lambda d: d + b"garbage", "followed by other data"),
        (lambda d: d + b"BZ", "ends within a bzip2 stream"),
        (lambda d: d[:50] + bytes([d[50] ^ 1]) + d[51:], "is damaged"),
        (lambda d: d[:-5] + bytes([d[-5] ^ 1]) + d[-4:], "is damaged"),
        (lambda _: b"<!DOCTYPE html>", "is not a bzip2 file"),
        (lambda _: b"", "is not a bzip2 file"),
    ],
)
@pytest.mark.parametrize("size", [100, 5 << 18])
def test_damage_is_named_and_leaves_nothing(tmp_path: Path, damage: object, message: str, size: int) -> None:
    source = write(tmp_path / "demo-1.0-0.tar.bz2", damage(bz2.compress(large_tar(size))))  # type: ignore[operator]
    with pytest.raises(ArchiveError, match=message):
        transmute(source, tmp_path / "demo-1.0-0.conda")
    with pytest.raises(ArchiveError, match=message):
        check(source)
    assert list(tmp_path.iterdir()) == [source]


def test_several_streams_are_one_archive(tmp_path: Path) -> None:
    raw = large_tar(5000)
    source = write(tmp_path / "demo-1.0-0.tar.bz2", bz2.compress(raw[:700]) + bz2.compress(raw[700:]))
    assert check(source).members == 2


def compressed(data: bytes, threads: int, pieces: random.Random | None = None) -> bytes:
    with bzip2_write.writer(threads) as stream:
        result = []
        position = 0
        while position < len(data):
            count = pieces.randrange(1, 400_000) if pieces else len(data)
            result.append(stream.write(memoryview(data)[position : position + count]))
            position += count
        return b"".join([*result, stream.finish()])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        bytes(4_000_000),
        b"aaaab" * 400_000,
        random.Random(3).randbytes(2_000_000),
        random.Random(3).randbytes(2 * bzip2_write.CHUNK),
        b"".join(b"%d\n" % i for i in range(200_000)),
    ],
    ids=["empty", "one byte", "zeros", "runs of four", "random", "whole chunks", "text"],
)
def test_blocks_make_one_stream_whatever_the_threads(data: bytes) -> None:
    one = compressed(data, 1)
    decoder = bz2.BZ2Decompressor()
    assert decoder.decompress(one) == data
    assert decoder.eof
    assert not decoder.unused_data
    assert compressed(data, 3, random.Random(1)) == one


def test_content_that_outgrows_a_block_is_halved() -> None:
    chunk = b"".join(bytes([i % 251]) * 4 for i in range(bzip2_write.CHUNK // 4))
    assert len(bzip2_write.compress_chunk(chunk)) == 2
    assert bz2.decompress(compressed(chunk, 1)) == chunk


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=2000), st.integers(1, 3))
def test_any_content_survives(data: bytes, threads: int) -> None:
    assert bz2.decompress(compressed(data, threads)) == data


@given(st.binary(max_size=300))
def test_end_mark_is_found_at_every_bit(data: bytes) -> None:
    stream = bz2.compress(data)
    end = bzip2_read.end_of_stream(stream[-11:])
    assert end is not None
    assert 80 <= end < 88
    assert bzip2_read.end_of_stream(stream[-12:-1]) is None or stream[-1:] == b"\0"
