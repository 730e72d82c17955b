"""Packages for the reader to be tried with: each follows from a seed and its number.

A package is made as a writer would, and changed on the way: members and headers of its tar archives (checksums made
right again), PAX records, compressed streams and frames, the ZIP container's records (lengths and CRCs made right
again), and at last bytes of the whole file.
"""

from __future__ import annotations

import bz2
import struct
import zlib
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.archive.tar_builder import zstd
from tests.fuzz import tars

STEM: Final = "demo-1.0-0"
_BOMB: Final = 20 << 20  # bytes of zeros: more than the limits that the runs set
_SKIPPABLE: Final = b"\x50\x2a\x4d\x18"


@dataclass(frozen=True, slots=True)
class Input:
    """A package.

    Attributes:
        name: File name; its extension says the format.
        data: Content.
    """

    name: str
    data: bytes


def make_input(seed: int, number: int) -> Input:
    """Return the package of a seed with this number, from 0 on."""
    source = Random(seed << 40 | number)
    bomb = number % 5000 == 4999
    if number % 4000 == 2500:
        parts = [tars.index(source, True), *tars.costly(source)]
        return Input(f"{STEM}.tar.bz2", bz2.compress(b"".join(parts) + bytes(1024), source.choice((1, 9))))
    # those that are changed once at most are the ones that a reader accepts, and that readers can differ on
    calm = source.random() < 0.6
    made = _tar_bz2(source, calm, bomb) if source.random() < 0.5 else _conda(source, calm, bomb)
    data = made.data
    if not calm and source.random() < 0.25:
        data = source.choice((tars.flipped, tars.cut))(source, data)
    return Input(made.name, data)


def _tar_bz2(source: Random, calm: bool, bomb: bool) -> Input:
    parts = [tars.index(source, calm), *tars.members(source, calm)]
    raw = tars.joined(source, parts, calm)
    data = _bzip2(source, bytes(_BOMB) if bomb else raw, calm)
    return Input(f"{STEM}.tar.bz2", data)


def _bzip2(source: Random, raw: bytes, calm: bool) -> bytes:
    level = 9 if source.random() < 0.03 else 1
    chance = source.random()
    if chance < 0.85:
        return bz2.compress(raw, level)
    if chance < 0.93 or calm:
        at = source.randrange(len(raw) + 1)
        middle = source.choice((b"", bz2.compress(b"", 1))) if calm else source.choice((b"", bytes(1), b"BZh"))
        return bz2.compress(raw[:at], level) + middle + bz2.compress(raw[at:], 1)
    return bz2.compress(raw, level) + source.choice(
        (b"", b"\0", b"BZ", b"BZh9", b"trailing", bytes(512), bz2.compress(b"", 9))
    )


def _zstd(source: Random, raw: bytes, calm: bool) -> bytes:
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {
        parameter.compression_level: source.choice((1, 1, 1, 3)),
        parameter.checksum_flag: source.randrange(2),
        parameter.content_size_flag: source.randrange(2),
    }
    chance = source.random()
    if chance < 0.8:
        return zstd.compress(raw, options=options)
    at = source.randrange(len(raw) + 1)
    first, second = zstd.compress(raw[:at], options=options), zstd.compress(raw[at:], options=options)
    if chance < 0.9 or calm:
        skip = _SKIPPABLE + struct.pack("<L", 5) + b"hello"
        return source.choice((b"", skip)) + first + source.choice((b"", skip, zstd.compress(b""))) + second
    whole = bytearray(first + second)
    if chance < 0.95:
        whole[source.randrange(4, min(len(whole), 14))] = source.randrange(256)  # of the frame's header: window, sizes
        return bytes(whole)
    return bytes(whole) + source.choice(
        (b"\0", _SKIPPABLE, _SKIPPABLE + b"\xff\xff\xff\xff", b"(\xb5/\xfd", b"x" * 100)
    )


@dataclass(slots=True)
class _Entry:
    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    needed: int = 20
    extra: bytes = b""
    local_extra: bytes = b""
    local_name: bytes | None = None
    comment: bytes = b""
    descriptor: bytes = b""


def _conda(source: Random, calm: bool, bomb: bool) -> Input:
    info, pkg = [tars.index(source, calm)], list[bytes]()
    for part in tars.members(source, calm):
        (info if part.startswith(b"info") or source.random() < 0.03 else pkg).append(part)
    metadata = b'{"conda_pkg_format_version": 2}'
    if not calm and source.random() < 0.1:
        metadata = source.choice(
            (
                b"",
                b"[]",
                b"{}",
                b'{"conda_pkg_format_version": 3}',
                b"[" * 3000,
                b'{"conda_pkg_format_version": 2.0}',
                b"\xff",
            )
        )
    entries = [
        _Entry(b"metadata.json", metadata),
        _Entry(
            f"pkg-{STEM}.tar.zst".encode(),
            _zstd(source, bytes(_BOMB) if bomb else tars.joined(source, pkg, calm), calm),
        ),
        _Entry(f"info-{STEM}.tar.zst".encode(), _zstd(source, tars.joined(source, info, calm), calm)),
    ]
    if calm and source.random() < 0.2:
        source.choice((_reorder, _harmless_flag, _harmless_extra))(source, entries)
    for _ in range(0 if calm else source.choice((0, 0, 1, 1, 2))):
        _change_entry(source, entries)
    return Input(f"{STEM}.conda", _zip(source, entries, calm))


def _reorder(source: Random, entries: list[_Entry]) -> None:
    source.shuffle(entries)


def _harmless_flag(source: Random, entries: list[_Entry]) -> None:
    source.choice(entries).flags = source.choice((8, 0x800))


def _harmless_extra(source: Random, entries: list[_Entry]) -> None:
    entry = source.choice(entries)
    entry.extra, entry.local_extra, entry.needed = b"\x99\x99\4\0abcd", b"\x98\x99\1\0a", source.choice((10, 45, 63))


def _change_entry(source: Random, entries: list[_Entry]) -> None:
    chance = source.randrange(11)
    entry = source.choice(entries) if entries else _Entry(b"x", b"")
    if chance == 0:
        source.shuffle(entries)
    elif chance == 1 and entries:
        entries.remove(entry)
    elif chance == 2:
        entries.append(_Entry(source.choice((b"x", entry.name, b"pkg-other-1-0.tar.zst", b"info/x")), entry.data))
    elif chance == 3:
        entry.name = source.choice(
            (b"METADATA.JSON", b"pkg-a.tar.zst", b"info-.tar.zst", b"\xff", b"pkg-a\0.tar.zst", entry.name * 2)
        )
    elif chance == 4:
        entry.method = source.choice((8, 8, 93, 12, 99))
    elif chance == 5:
        entry.flags = source.choice((0x800, 8, 1, 0x2000, 0x20))
    elif chance == 6:
        entry.needed = source.choice((10, 45, 63, 64, 128, 0x0314, 0xFFFF))
    elif chance == 7:
        entry.extra = source.choice((b"\1\0\0\0", b"\1\0\x10\0" + bytes(16), b"\x99\x99\4\0abcd", b"\1", b"up\3\0\1ab"))
    elif chance == 8:
        entry.local_extra = source.choice(
            (b"\1\0\0\0", b"\1\0\x10\0" + bytes(16), b"\x99\x99\4\0abcd", b"\1", b"up\x09\0\1aaaaevil")
        )
    elif chance == 9:
        entry.local_name = source.choice((b"other", b"", entry.name + b"x"))
    else:
        entry.comment = source.choice((b"c", b"PK\5\6" + bytes(18)))


def _zip(source: Random, entries: list[_Entry], calm: bool) -> bytes:
    body, directory = bytearray(), bytearray()
    if not calm and source.random() < 0.05:
        body += source.choice((b"#!/bin/sh\n", bytes(4)))
    for entry in entries:
        data = zlib.compress(entry.data, wbits=-15) if entry.method == 8 else entry.data
        crc, offset = zlib.crc32(entry.data), len(body)
        local = entry.name if entry.local_name is None else entry.local_name
        late = bool(entry.flags & 8) and source.random() < 0.5
        head = (0, 0, 0) if late else (crc, len(data), len(entry.data))
        body += struct.pack(
            "<4s5H3L2H", b"PK\3\4", entry.needed & 0xFF, entry.flags, entry.method, 0, 33, *head,
            len(local), len(entry.local_extra),
        )  # fmt: skip
        body += local + entry.local_extra + data
        if entry.flags & 8:
            sizes = (crc, len(data), len(entry.data))
            body += source.choice((b"PK\7\x08", b"", b"PK\7\x08")) + struct.pack(source.choice(("<3L", "<L2Q")), *sizes)
        if not calm and source.random() < 0.02:
            body += b"gap"
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\1\2", 0x314, entry.needed, entry.flags, entry.method, 0, 33,
            crc, len(data), len(entry.data),
            len(entry.name), len(entry.extra), len(entry.comment), 0, 0, 0, offset,
        )  # fmt: skip
        directory += entry.name + entry.extra + entry.comment
    if not calm and source.random() < 0.1 and directory:
        directory[source.randrange(len(directory))] ^= 1 << source.randrange(8)
    start, count = len(body), len(entries)
    comment = source.choice((b"comment", b"PK\5\6")) if not calm and source.random() < 0.04 else b""
    numbers = [0, 0, count, count, len(directory), start]
    wide = b""
    if source.random() < 0.05:
        fields = [44, 45, 45, 0, 0, count, count, len(directory), start]
        if not calm and source.random() < 0.5:
            at = source.randrange(9)
            fields[at] = max(0, fields[at] + source.choice((1, -1)))
        wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", *fields)
        wide += struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1)
        if source.random() < 0.5:
            numbers = [0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF]
    if not calm and source.random() < 0.06:
        at = source.randrange(6)
        numbers[at] = (numbers[at] + source.choice((1, -1))) & (0xFFFF if at < 4 else 0xFFFFFFFF)
    end = struct.pack("<4s4H2LH", b"PK\5\6", *numbers, len(comment)) + comment
    return bytes(body + directory) + wide + end
