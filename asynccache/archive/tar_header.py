"""The blocks of a tar archive, read exactly: one 512-byte header, PAX records, GNU extension blocks.

Formats: POSIX.1-2017 `pax` (ustar headers, `x` and `g` records), GNU tar's manual, "Basic Tar Format" and
"Storing Sparse Files". What two readers could take for two different things is refused, not guessed at.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from asynccache.errors import ArchiveError

BLOCK: Final = 512  # bytes
ZERO_BLOCK: Final = bytes(BLOCK)
POSIX_MAGIC: Final = b"ustar\x00"
GNU_MAGIC: Final = b"ustar  \x00"  # magic and version together

# name, mode, uid, gid, size, mtime, checksum, type, link name, magic and version, user, group, device numbers, prefix
_FIELDS: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s16s155s12x")
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \x00]*")
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,9}) ")
_PAX_SIZE: Final = re.compile(rb"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class RawHeader:
    """The fields of one header block, before extensions are applied.

    Attributes:
        name: Prefix and name joined, as bytes.
        mode: Permission bits.
        uid: Owner's number.
        gid: Group's number.
        size: Value of the size field in bytes.
        mtime: Seconds since the epoch.
        type: Type flag, one byte.
        linkname: Link target as bytes.
    """

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: bytes
    linkname: bytes


def parse_header(buffer: bytes, offset: int) -> RawHeader:
    """Read the header block at `offset`.

    Raises:
        ArchiveError: The block is no tar header: wrong checksum, malformed number, ambiguous prefix.
    """
    # fmt: off
    (name, mode, uid, gid, size, mtime, checksum, kind, linkname,
     magic, _user, _group, _devices, prefix) = _FIELDS.unpack_from(buffer, offset)
    # fmt: on
    # the checksum counts its own eight bytes as blanks
    total = sum(buffer[offset : offset + 148]) + 256 + sum(buffer[offset + 156 : offset + BLOCK])
    if total != _octal(checksum, "checksum"):
        _check_signed(buffer[offset : offset + BLOCK], checksum)
    name = name.partition(b"\0")[0]
    if prefix[0] and kind != b"S":
        if not magic.startswith(POSIX_MAGIC):
            raise ArchiveError(
                f"the tar header of {_shown(name)} has a name prefix without being a POSIX header",
                hint="readers disagree on its name; repack the archive",
            )
        name = prefix.partition(b"\0")[0] + b"/" + name
    return RawHeader(
        name,
        _number(mode, "mode"),
        _number(uid, "uid"),
        _number(gid, "gid"),
        _number(size, "size"),
        _number(mtime, "mtime"),
        kind,
        linkname.partition(b"\0")[0],
    )


def _shown(name: bytes) -> str:
    return repr(name.decode("utf-8", "backslashreplace"))


def _octal(field: bytes, what: str) -> int:
    match = _OCTAL.fullmatch(field)
    if match is None:
        raise ArchiveError(f"a tar header has a malformed {what}", expected="an octal number", found=repr(field))
    return int(match[1] or b"0", 8)


def _number(field: bytes, what: str) -> int:
    # GNU tar's base-256: 0x80 leads a positive number, 0xff a negative one
    lead = field[0]
    if lead < 0x80:
        return _octal(field, what)
    if lead == 0x80:
        return int.from_bytes(field[1:], "big")
    if lead == 0xFF:
        return int.from_bytes(field, "big", signed=True)
    raise ArchiveError(f"a tar header has a malformed {what}", expected="octal or base-256", found=repr(field))


def _check_signed(block: bytes, checksum: bytes) -> None:
    # some old writers added the bytes up as signed characters
    counted = block[:148] + b" " * 8 + block[156:]
    if sum(byte - 256 if byte > 127 else byte for byte in counted) != _octal(checksum, "checksum"):
        raise ArchiveError(
            "a tar header has the wrong checksum, so the archive is damaged or no tar archive at all",
            found=repr(block[:60]),
        )


def parse_pax(data: bytes) -> dict[bytes, bytes]:
    """Read PAX records: `LENGTH KEY=VALUE` and a newline each; the last of equal keys counts.

    Raises:
        ArchiveError: The records do not add up.
    """
    records: dict[bytes, bytes] = {}
    position, end = 0, len(data)
    while position < end:
        match = _PAX_RECORD.match(data, position)
        stop = position + int(match[1]) if match else end + 1
        if match is None or stop > end or stop <= match.end() or data[stop - 1] != 0x0A:
            raise ArchiveError("a PAX header has a malformed record", found=repr(data[position : position + 60]))
        key, separator, value = data[match.end() : stop - 1].partition(b"=")
        if not separator or not key:
            raise ArchiveError("a PAX header has a record without a key", found=repr(data[position:stop][:60]))
        records[key] = value
        position = stop
    return records


def pax_size(value: bytes, what: str) -> int:
    """Read a size in a PAX record.

    Raises:
        ArchiveError: Not a decimal number.
    """
    if not _PAX_SIZE.fullmatch(value):
        raise ArchiveError(f"a PAX header has a malformed {what}", expected="a decimal number", found=repr(value[:60]))
    return int(value)


def gnu_real_size(buffer: bytes, offset: int) -> int:
    """Return the length of an old GNU sparse file with its holes, from its header block."""
    return _number(buffer[offset + 483 : offset + 495], "real size")


def padded(size: int) -> int:
    """Return how many bytes a content of `size` bytes takes up in the archive."""
    return -(-size // BLOCK) * BLOCK
