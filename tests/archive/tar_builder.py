"""Write tar archives and packages block by block, so that tests can write what no tar program would."""

from __future__ import annotations

import bz2
import json
import sys
import zipfile
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd as zstd  # noqa: PLC0414 - for the tests, too
else:
    from backports import zstd as zstd  # noqa: PLC0414 - for the tests, too

END = bytes(1024)
INDEX = {"name": "demo", "version": "1.0", "build": "0", "build_number": 0, "depends": [], "subdir": "noarch"}


def header(
    name: bytes,
    kind: bytes = b"0",
    size: int = 0,
    *,
    linkname: bytes = b"",
    mode: int = 0o644,
    mtime: int = 1_700_000_000,
    magic: bytes = b"ustar\x0000",
    prefix: bytes = b"",
    size_field: bytes | None = None,
) -> bytes:
    """Return one header block with a right checksum."""
    block = bytearray(512)
    block[0:100] = name[:100].ljust(100, b"\0")
    block[100:108] = b"%07o\0" % mode
    block[108:116] = block[116:124] = b"0001750\0"
    block[124:136] = size_field if size_field is not None else b"%011o\0" % size
    block[136:148] = b"%011o\0" % mtime
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157:257] = linkname[:100].ljust(100, b"\0")
    block[257:265] = magic
    block[345 : 345 + len(prefix)] = prefix
    return seal(block)


def seal(block: bytes | bytearray) -> bytes:
    """Put the right checksum into a header block."""
    copy = bytearray(block)
    copy[148:156] = b" " * 8
    copy[148:156] = b"%06o\0 " % sum(copy)
    return bytes(copy)


def pad(data: bytes) -> bytes:
    """Fill up to whole blocks."""
    return data + bytes(-len(data) % 512)


def file(name: bytes, data: bytes = b"", **fields: object) -> bytes:
    """Return a regular file's blocks."""
    return header(name, b"0", len(data), **fields) + pad(data)  # type: ignore[arg-type]


def symlink(name: bytes, target: bytes) -> bytes:
    """Return a symbolic link's block."""
    return header(name, b"2", linkname=target, mode=0o777)


def hardlink(name: bytes, target: bytes) -> bytes:
    """Return a hard link's block."""
    return header(name, b"1", linkname=target)


def directory(name: bytes) -> bytes:
    """Return a directory's block."""
    return header(name, b"5", mode=0o755)


def pax_data(records: dict[bytes, bytes]) -> bytes:
    """Return PAX records."""
    result = b""
    for key, value in records.items():
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while length != len(str(length)) + len(rest):
            length = len(str(length)) + len(rest)
        result += str(length).encode() + rest
    return result


def pax(records: dict[bytes, bytes], kind: bytes = b"x") -> bytes:
    """Return an extended header of a member (`x`) or of all that follow (`g`)."""
    data = pax_data(records)
    return header(b"PaxHeaders/x", kind, len(data)) + pad(data)


def gnu_long(text: bytes, kind: bytes = b"L") -> bytes:
    """Return a GNU long name (`L`) or long link target (`K`)."""
    data = text + b"\0"
    return header(b"././@LongLink", kind, len(data), magic=b"ustar  \0") + pad(data)


def gnu_sparse(name: bytes, stored: bytes, real_size: int, *, extended: int = 0) -> bytes:
    """Return an old GNU sparse file with one stretch of data and `extended` further map blocks."""
    block = bytearray(header(name, b"S", len(stored), magic=b"ustar  \0"))
    block[386:398] = b"%011o\0" % 0
    block[398:410] = b"%011o\0" % len(stored)
    block[482] = 1 if extended else 0
    block[483:495] = b"%011o\0" % real_size
    # as GNU tar does, an empty stretch at the end says how long the file is
    last = b"%011o\0" % real_size + b"%011o\0" % 0
    if not extended:
        block[410:434] = last
    maps = b"".join(
        (bytes(504) if i < extended - 1 else last + bytes(480)) + bytes([1 if i < extended - 1 else 0]) + bytes(7)
        for i in range(extended)
    )
    return seal(block) + maps + pad(stored)


def index(**changes: object) -> bytes:
    """Return `info/index.json` as a member."""
    return file(b"info/index.json", json.dumps({**INDEX, **changes}).encode())


def tar_bz2(directory_path: Path, *parts: bytes, end: bytes = END, name: str = "demo-1.0-0.tar.bz2") -> Path:
    """Write a `.tar.bz2` package of an index and more members."""
    path = directory_path / name
    path.write_bytes(bz2.compress(index() + b"".join(parts) + end))
    return path


def entries(
    *pkg: bytes, info: bytes | None = None, end: bytes = END, stem: str = "demo-1.0-0"
) -> list[tuple[str, bytes]]:
    """Return the three entries of a `.conda` file."""
    return [
        ("metadata.json", b'{"conda_pkg_format_version": 2}'),
        (f"pkg-{stem}.tar.zst", zstd.compress(b"".join(pkg) + end)),
        (f"info-{stem}.tar.zst", zstd.compress((index() if info is None else info) + END)),
    ]


def write_zip(path: Path, content: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> Path:
    """Write entries with Python's zipfile."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in content:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return path


def conda(directory_path: Path, *pkg: bytes, info: bytes | None = None, end: bytes = END) -> Path:
    """Write a `.conda` package."""
    return write_zip(directory_path / "demo-1.0-0.conda", entries(*pkg, info=info, end=end))
