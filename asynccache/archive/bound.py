"""Refuse an archive that unpacks to more than it may, before another program unpacks it, mostly without decoding it.

A zstd frame says of each of its blocks how long it is, and none gives more than 128 KiB (RFC 8878, section 3.1.1.2). A
bzip2 block begins with 48 bits that stand nowhere else but by accident, and gives at most 52 times the 900 kB that it
sorts. What these bounds do not clear is decoded and counted.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import IO, Final

from asynccache.archive.conda_read import Entry, read_conda
from asynccache.archive.limits import Limits
from asynccache.archive.read import archives
from asynccache.archive.work import Cancelled, Work
from asynccache.errors import ArchiveError
from asynccache.model.package import Format

_ZSTD_BLOCK: Final = 128 << 10  # bytes that a block gives at most
_BZIP2_BLOCK: Final = 900_000 * 259 // 5  # bytes: a run of 259 equal ones is written as five before it is sorted
_BLOCK_MARK: Final = 0x314159265359  # 48 bits
_READ: Final = 1 << 20  # bytes


def check_unpacked(path: Path, limits: Limits, cancelled: Cancelled | None = None) -> None:
    """Refuse a conda package that unpacks to more than it may. Blocking.

    Args:
        path: Its extension says the format.
        limits: What it may unpack to.
        cancelled: Asked at every block whether to stop.

    Raises:
        HostileArchiveError: It unpacks to more.
        ArchiveError: It is damaged.
        concurrent.futures.CancelledError: `cancelled` said so.
        OSError: It cannot be read.
    """
    work = Work(path, limits, cancelled)
    with path.open("rb") as file:
        if work.format is Format.TAR_BZ2:
            most = bzip2_blocks(file) * _BZIP2_BLOCK
        else:
            most = sum(most_of_zstd(file, entry, work.name) for entry in read_conda(file, work.name).values())
        if most > limits.allowance(work.size):
            file.seek(0)
            for _, blocks in archives(work, file):
                with closing(blocks):
                    for _ in blocks:
                        pass


def most_of_zstd(file: IO[bytes], entry: Entry, name: str) -> int:
    """Return how many bytes the zstd frames of an entry give at most, from the heads of their blocks.

    Raises:
        ArchiveError: They are cut short, or no zstd frames.
    """
    position, end = entry.start, entry.start + entry.size
    most = 0

    def read(count: int) -> bytes:
        nonlocal position
        file.seek(position)
        data = file.read(count) if position + count <= end else b""
        if len(data) < count:
            raise ArchiveError(f"{entry.name} in {name} ends within a zstd frame", hint="fetch it again")
        position += count
        return data

    while position < end:
        magic = int.from_bytes(read(4), "little")
        if magic >> 4 == 0x184D2A5:
            length = int.from_bytes(read(4), "little")
            position += length
            continue
        if magic != 0xFD2FB528:
            raise ArchiveError(f"{entry.name} in {name} is not zstd data", expected="a zstd frame")
        descriptor = read(1)[0]
        single = descriptor >> 5 & 1
        position += (not single) + (0, 1, 2, 4)[descriptor & 3]
        position += (single, 2, 4, 8)[descriptor >> 6]
        last = 0
        while not last:
            head = int.from_bytes(read(3), "little")
            last, kind, size = head & 1, head >> 1 & 3, head >> 3
            most += min(size, _ZSTD_BLOCK) if kind < 2 else _ZSTD_BLOCK
            position += 1 if kind == 1 else size
        position += 4 * (descriptor >> 2 & 1)
    return most


def bzip2_blocks(file: IO[bytes]) -> int:
    """Return how many blocks a bzip2 file has at most: how often the mark of one stands in it, at any bit."""
    # of a mark that begins within a byte, five bytes are whole; they are looked for in each of the eight positions
    marks = {(_BLOCK_MARK >> shift & ((1 << 40) - 1)).to_bytes(5, "big") for shift in range(1, 8)}
    marks.add((_BLOCK_MARK >> 8).to_bytes(5, "big"))
    found = 0
    kept = b""
    while data := file.read(_READ):
        kept += data
        found += sum(kept.count(mark) for mark in marks)
        kept = kept[-4:]
    return found


def several_streams(file: IO[bytes]) -> bool:
    """Whether a bzip2 file seems to consist of several streams, which some programs read the first of only."""
    file.seek(1)
    kept = b""
    while data := file.read(_READ):
        kept += data
        position = kept.find(b"BZh")
        while position >= 0:
            if kept[position + 4 : position + 10] in {b"1AY&SY", b"\x17rE8P\x90"}:
                return True
            position = kept.find(b"BZh", position + 1)
        kept = kept[-9:]
    return False
