"""Refuse a `.conda` that unpacks to more than it may, before another program unpacks it, mostly without decoding it.

A zstd frame says of each of its blocks how long it is, and none gives more than 128 KiB (RFC 8878, section 3.1.1.2).
What this bound does not clear is decoded and counted.
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

_ZSTD_BLOCK: Final = 128 << 10  # bytes that a block gives at most


def check_unpacked(path: Path, limits: Limits, cancelled: Cancelled | None = None) -> None:
    """Refuse a `.conda` that unpacks to more than it may. Blocking.

    Args:
        path: Which.
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
