"""The blocks of a tar archive, read exactly: one 512-byte header, PAX records, GNU extension blocks.

Formats: POSIX.1-2017 `pax` (ustar headers, `x` and `g` records), GNU tar's manual, "Basic Tar Format" and
"Storing Sparse Files". What two readers could take for two different things is refused, not guessed at.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from asynccache.archive.limits import too_much
from asynccache.archive.member import shown
from asynccache.errors import ArchiveError
from asynccache.model.dataclass import dataclass

BLOCK: Final = 512  # bytes
ZERO_BLOCK: Final = bytes(BLOCK)
_POSIX_MAGIC: Final = b"ustar\x0000"  # with the version, which some readers look at
_GNU_MAGIC: Final = b"ustar  \x00"

# name, mode, uid, gid, size, mtime, checksum, type, link name, magic and version, user, group, device numbers, prefix
_STRETCH: Final = 24  # bytes: offset and length of a stretch of a sparse file
_NO_DEVICES: Final = bytes(16)
_FIELDS: Final = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s16s155s12x")
_OCTAL: Final = re.compile(rb" *([0-7]*)[ \x00]*")
_MAX_MODE: Final = 0o7777777  # what seven octal digits can say
_MAX_TIME: Final = 10**18  # seconds: as long as those of PAX headers, and what system calls take
_PAX_RECORD: Final = re.compile(rb"([1-9][0-9]{0,9}) ")
_CHARSET: Final = re.compile(rb"[0-9] hdrcharset=([^\n]+)\n")
_CHARSETS: Final = frozenset({b"BINARY", b"ISO-IR 10646 2000 UTF-8"})  # those of POSIX
_PAX_TIME: Final = re.compile(rb"-?[0-9]{1,18}(\.[0-9]{0,18})?")
_PAX_NUMBERS: Final = (b"uid", b"gid", b"size")
_PAX_TIMES: Final = (b"mtime", b"atime", b"ctime")
_PAX_NAMES: Final = (b"path", b"linkpath")
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
     magic, _user, _group, devices, prefix) = _FIELDS.unpack_from(buffer, offset)
    # fmt: on
    if devices != _NO_DEVICES:
        # they mean nothing, but some readers take a header where they are malformed for the archive's end
        _number(devices[:8], "device number")
        _number(devices[8:], "device number")
    # the checksum counts its own eight bytes as blanks
    total = sum(buffer[offset : offset + 148]) + 256 + sum(buffer[offset + 156 : offset + BLOCK])
    if total != _octal(checksum, "checksum"):
        _check_signed(buffer[offset : offset + BLOCK], checksum)
    name = name.partition(b"\0")[0]
    if not size.strip(b"\0 "):
        raise ArchiveError(
            f"the size of {shown(name)} is malformed", expected="a number", found="an empty field",
            hint="some readers refuse it; repack the archive",
        )  # fmt: skip
    if kind == b"S":
        if magic != _GNU_MAGIC:
            raise ArchiveError(
                f"the tar header of the sparse file {shown(name)} is not GNU tar's",
                hint="readers disagree on it; repack the archive",
            )
    elif prefix[0]:
        if magic != _POSIX_MAGIC:
            raise ArchiveError(
                f"the tar header of {shown(name)} has a name prefix without being a POSIX header",
                hint="readers disagree on its name; repack the archive",
            )
        name = prefix.partition(b"\0")[0] + b"/" + name
    return RawHeader(
        name,
        _within(_number(mode, "mode"), "mode", 0, _MAX_MODE),
        _number(uid, "uid"),
        _number(gid, "gid"),
        _number(size, "size"),
        _within(_number(mtime, "mtime"), "mtime", -_MAX_TIME, _MAX_TIME),
        kind,
        linkname.partition(b"\0")[0],
    )


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


def _within(number: int, what: str, least: int, most: int) -> int:
    if not least <= number <= most:
        raise ArchiveError(
            f"a tar header has a {what} that no file can have", expected=f"{least} to {most}", found=f"{number:#x}"
        )
    return number


def _check_signed(block: bytes, checksum: bytes) -> None:
    # some old writers added the bytes up as signed characters
    counted = block[:148] + b" " * 8 + block[156:]
    if sum(byte - 256 if byte > 127 else byte for byte in counted) != _octal(checksum, "checksum"):
        raise ArchiveError(
            "a tar header has the wrong checksum, so the archive is damaged or no tar archive at all",
            found=repr(block[:60]),
        )


def parse_pax(data: bytes, most: int) -> dict[bytes, bytes]:
    """Read PAX records: `LENGTH KEY=VALUE` and a newline each.

    Args:
        data: All records of one header.
        most: How many there may be.

    Raises:
        ArchiveError: The records do not add up, or readers disagree on what they say.
        HostileArchiveError: There are too many.
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
        if key in records:
            raise ArchiveError(
                f"a PAX header has the record {shown(key[:60])} twice", hint="readers disagree on which one counts"
            )
        records[key] = value
        if len(records) > most:
            raise too_much("a PAX header has too many records", most)
        position = stop
    _check_records(records)
    _check_charset(records, data)
    return records


def _check_charset(records: dict[bytes, bytes], data: bytes) -> None:
    # Python's tarfile looks for the record anywhere in the header, and fails at one that is not text
    found = _CHARSET.findall(data)
    if found or b"hdrcharset" in records:
        said = {*found, records.get(b"hdrcharset", b"BINARY")}
        if said - _CHARSETS:
            raise ArchiveError(
                "a PAX header has a malformed hdrcharset",
                expected=" or ".join(sorted(name.decode() for name in _CHARSETS)),
                found=repr(b" ".join(sorted(said - _CHARSETS))[:60]),
            )


def _check_records(records: dict[bytes, bytes]) -> None:
    for key in _PAX_NUMBERS:
        if key in records:
            pax_size(records[key], key.decode())
    for key in _PAX_TIMES:
        if key in records and not _PAX_TIME.fullmatch(records[key]):
            raise ArchiveError(
                f"a PAX header has a malformed {key.decode()}", expected="seconds", found=repr(records[key][:60])
            )
    for key in _PAX_NAMES:
        if key in records and not records[key]:
            raise ArchiveError(f"a PAX header has an empty {key.decode()}", hint="readers disagree on it")
    if any(key.startswith(b"GNU.sparse.") for key in records):
        raise ArchiveError(
            "a member is a sparse file in a PAX encoding, which most readers install with its map as content",
            hint="repack the archive without --sparse",
        )


def pax_size(value: bytes, what: str) -> int:
    """Read a number in a PAX record.

    Raises:
        ArchiveError: Not a decimal number.
    """
    if not _PAX_SIZE.fullmatch(value):
        raise ArchiveError(f"a PAX header has a malformed {what}", expected="a decimal number", found=repr(value[:60]))
    return int(value)


def gnu_name(data: bytes, padding: bytes) -> bytes:
    """Read a GNU long name or link target.

    Args:
        data: As long as its header says.
        padding: What follows up to the end of the block, which some readers read as well.

    Raises:
        ArchiveError: It is empty, has a NUL within, or would go on in the padding.
    """
    name = data.removesuffix(b"\0")
    if name == data and padding[:1].strip(b"\0"):
        raise ArchiveError(
            "a GNU long name continues past its end", found=repr(padding[:60]), hint="readers disagree on it; repack it"
        )
    if not name or b"\0" in name:
        raise ArchiveError(
            f"a GNU long name is {'empty' if not name else 'cut by a NUL'}",
            found=repr(data[:60]),
            hint="readers disagree on it; repack the archive",
        )
    return name


def gnu_real_size(buffer: bytes, offset: int) -> int:
    """Return the length of an old GNU sparse file with its holes, from its header block."""
    return _number(buffer[offset + 483 : offset + 495], "real size")


def sparse_map(buffer: bytes, header: int, stop: int, size: int, real_size: int) -> tuple[tuple[int, int], ...]:
    """Return where the content of an old GNU sparse file belongs: (offset in the file, bytes) of each stretch.

    Args:
        buffer: Holds the header block and the further blocks of the map.
        header: Offset of the header block.
        stop: Offset behind the map.
        size: Bytes of content as stored.
        real_size: Bytes with the holes.

    Raises:
        ArchiveError: Stretches overlap, or do not add up to both sizes.
    """
    starts = [*range(header + 386, header + 482, _STRETCH)]
    for block in range(header + BLOCK, stop, BLOCK):
        starts += range(block, block + 504, _STRETCH)
    end = stored = 0
    stretches = []
    for at in starts:
        # also of what is not used: some readers take a malformed number for the archive's end
        offset, length = _number(buffer[at : at + 12], "sparse map"), _number(buffer[at + 12 : at + 24], "sparse map")
        if not buffer[at] or not buffer[at + 12]:
            if offset or length:
                raise ArchiveError("the map of a sparse file has an unused stretch that is not empty")
            continue
        if offset < end or length < 0 or (length and stored % BLOCK):
            raise ArchiveError("the map of a sparse file has stretches that overlap or are no whole blocks")
        end = offset + length
        stored += length
        stretches.append((offset, length))
    if (end, stored) != (real_size, size):
        raise ArchiveError(
            "the map of a sparse file does not add up",
            expected=f"{size} bytes of content, {real_size} with holes",
            found=f"{stored} and {end}",
        )
    return tuple(stretches)


def padded(size: int) -> int:
    """Return how many bytes a content of `size` bytes takes up in the archive."""
    return -(-size // BLOCK) * BLOCK
