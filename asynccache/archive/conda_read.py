"""Open a `.conda` file: a ZIP container of three stored entries, read strictly.

Formats: CEP 35 (`metadata.json`, `pkg-STEM.tar.zst`, `info-STEM.tar.zst`, all stored), PKWARE's APPNOTE 6.3.10.
Refused: compressed or encrypted entries, unexpected or repeated ones, gaps, overlaps, trailing or leading data, and any
difference between the central directory and an entry's own header: whoever reads front to back and whoever reads back
to front must see the same package.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import IO, Final

from asynccache.archive.limits import too_much
from asynccache.archive.member import Component
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.model.dataclass import dataclass
from asynccache.node.json_text import read_json

METADATA: Final = "metadata.json"
FORMAT_VERSION: Final = 2
SUFFIX: Final = ".tar.zst"

_END: Final = struct.Struct("<4s4H2LH")  # end of central directory
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64: Final = struct.Struct("<4sLQL")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_MAX_DIRECTORY: Final = 1 << 16  # bytes; three entries take some 300
_MAX_METADATA: Final = 1 << 16  # bytes
_NEWEST: Final = 63  # of the versions "needed to extract" (APPNOTE, section 4.4.3)
_32: Final = 0xFFFFFFFF
_16: Final = 0xFFFF
_UTF8: Final = 0x800  # the only flag that changes nothing
_DESCRIPTOR: Final = 0x8  # sizes follow the data, too


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored entry.

    Attributes:
        name: As in the central directory.
        start: Offset of its data.
        size: Bytes of data.
        crc: CRC-32 of the data.
    """

    name: str
    start: int
    size: int
    crc: int


class EntryReader:
    """One entry's data as a file; checks its CRC-32 when the last byte was read.

    Raises:
        ArchiveError: From `read`, when the data is not what the entry says.
    """

    def __init__(self, file: IO[bytes], entry: Entry, name: str) -> None:
        self._file = file
        self._entry = entry
        self._name = name
        self._position = 0
        self._crc = 0

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes."""
        left = self._entry.size - self._position
        count = left if size < 0 else min(size, left)
        self._file.seek(self._entry.start + self._position)
        data = self._file.read(count)
        if len(data) < count:
            raise ArchiveError(f"{self._name} ends within {self._entry.name}", hint="fetch it again")
        self._crc = zlib.crc32(data, self._crc)
        self._position += count
        if count and self._position == self._entry.size and self._crc != self._entry.crc:
            raise ArchiveError(
                f"{self._entry.name} in {self._name} has the wrong CRC-32",
                expected=f"{self._entry.crc:08x}",
                found=f"{self._crc:08x}",
                hint="fetch it again",
            )
        return data


def read_conda(file: IO[bytes], name: str) -> dict[Component, Entry]:
    """Return the inner archives of a `.conda` file; all of its framing is checked.

    Args:
        file: Open for reading, seekable.
        name: What to call it in an error.

    Raises:
        ArchiveError: Not a `.conda` file, or a damaged one.
        HostileArchiveError: It looks different to different readers.
    """
    size = file.seek(0, io.SEEK_END)
    directory, count, directory_start = _central_directory(file, size, name)
    entries: list[Entry] = []
    extents: list[tuple[int, int]] = []
    position = 0
    for _ in range(count):
        entry, offset, position = _central_entry(directory, position, name)
        start, end = _local_entry(file, entry, offset, name)
        entries.append(Entry(entry.name, start, entry.size, entry.crc))
        extents.append((offset, end))
    if position != len(directory):
        raise ArchiveError(f"the central directory of {name} has the wrong length", expected=position)
    expected = 0
    for offset, end in sorted(extents):
        if offset != expected:
            raise HostileArchiveError(
                f"the entries of {name} overlap or leave a gap", expected=f"an entry at {expected}", found=offset
            )
        expected = end
    if expected != directory_start:
        raise HostileArchiveError(f"{name} hides data before its central directory", expected=expected)
    return _components(file, entries, name)


def _components(file: IO[bytes], entries: list[Entry], name: str) -> dict[Component, Entry]:
    components: dict[Component, Entry] = {}
    stems: set[str] = set()
    metadata: Entry | None = None
    for entry in entries:
        kind, separator, rest = entry.name.partition("-")
        if entry.name == METADATA and metadata is None:
            metadata = entry
        elif separator and rest.endswith(SUFFIX) and kind in {c.value for c in Component}:
            component = Component(kind)
            if component in components:
                raise HostileArchiveError(f"{name} has two {kind} archives", found=entry.name)
            components[component] = entry
            stems.add(rest[: -len(SUFFIX)])
        else:
            what = "twice" if any(e.name == entry.name for e in entries if e is not entry) else "unexpectedly"
            raise HostileArchiveError(
                f"{name} holds {entry.name[:200]!r} {what}", expected="metadata.json, pkg-*.tar.zst, info-*.tar.zst"
            )
    missing = [c.value for c in Component if c not in components]
    if missing:
        raise ArchiveError(
            f"{name} is not a .conda file: it lacks {', '.join(missing)}", found=f"{len(entries)} entries"
        )
    if len(stems) != 1:
        raise HostileArchiveError(f"the archives in {name} are of different packages", found=", ".join(sorted(stems)))
    if metadata is not None:
        _check_metadata(file, metadata, name)
    return components


def _check_metadata(file: IO[bytes], entry: Entry, name: str) -> None:
    if entry.size > _MAX_METADATA:
        raise too_much(f"{METADATA} in {name} is large", f"{_MAX_METADATA} bytes", entry.size)
    try:
        version = read_json(EntryReader(file, entry, name).read())["conda_pkg_format_version"]
    except (ValueError, KeyError, TypeError) as exc:
        raise ArchiveError(f"{METADATA} in {name} does not say the format's version") from exc
    if version != FORMAT_VERSION:
        raise ArchiveError(f"{name} is a .conda file of another version", expected=FORMAT_VERSION, found=version)


def _central_directory(file: IO[bytes], size: int, name: str) -> tuple[bytes, int, int]:
    """Return the central directory, its number of entries and its offset."""
    if size < _END.size:
        raise ArchiveError(f"{name} is not a .conda file", expected=f"at least {_END.size} bytes", found=size)
    file.seek(size - _END.size)
    signature, disk, first_disk, here, count, length, start, comment = _END.unpack(file.read(_END.size))
    if signature != b"PK\5\6" or comment:
        raise ArchiveError(
            f"{name} does not end as a .conda file does",
            expected="a ZIP end record without a comment",
            found=repr(signature),
            hint="it is truncated, or something follows it; fetch it again",
        )
    end = size - _END.size
    locator_at = end - _LOCATOR64.size
    locator = b""
    if locator_at >= 0:
        file.seek(locator_at)
        locator = file.read(_LOCATOR64.size)
    if locator.startswith(b"PK\6\7"):
        _, end_disk, end64, _disks = _LOCATOR64.unpack(locator)
        if end64 != locator_at - _END64.size or end_disk:
            raise HostileArchiveError(f"{name} has its ZIP64 end record elsewhere", found=end64)
        file.seek(end64)
        found = _END64.unpack(file.read(_END64.size))
        wide = (found[6], found[7], found[8], found[9])
        for narrow, value, full in zip((here, count, length, start), wide, (_16, _16, _32, _32), strict=True):
            if narrow not in {value, full}:
                raise HostileArchiveError(f"the two ZIP end records of {name} disagree", expected=value, found=narrow)
        if found[0] != b"PK\6\6" or found[1] != _END64.size - 12 or found[4] or found[5]:
            raise ArchiveError(f"{name} has a malformed ZIP64 end record")
        here, count, length, start = wide
        end = end64
    if disk or first_disk or here != count:
        raise ArchiveError(f"{name} is a part of a ZIP file on several disks")
    if length > _MAX_DIRECTORY or start + length != end:
        raise ArchiveError(
            f"the central directory of {name} is not where it belongs",
            expected=f"{length} bytes up to {end}",
            found=start,
        )
    file.seek(start)
    return file.read(length), count, start


def _central_entry(directory: bytes, position: int, name: str) -> tuple[Entry, int, int]:
    """Return an entry of the central directory, the offset of its local header, and where the next entry is."""
    try:
        fields = _CENTRAL.unpack_from(directory, position)
    except struct.error as exc:
        raise ArchiveError(f"the central directory of {name} is truncated") from exc
    (signature, _made, needed, flags, method, _time, _date, crc, packed, unpacked) = fields[:10]
    (name_length, extra_length, comment_length, disk, _internal, _external, offset) = fields[10:]
    text_at = position + _CENTRAL.size
    extra_at = text_at + name_length
    end = extra_at + extra_length + comment_length
    if signature != b"PK\1\2" or end > len(directory) or disk not in {0, _16}:
        raise ArchiveError(f"the central directory of {name} is malformed")
    text = directory[text_at:extra_at]
    unpacked, packed, offset = _zip64(
        directory[extra_at : extra_at + extra_length], (unpacked, packed, offset), f"{text!r} in {name}"
    )
    if method != 0 or flags & ~(_UTF8 | _DESCRIPTOR) or packed != unpacked:
        raise HostileArchiveError(
            f"the entry {text[:200]!r} in {name} is compressed or encrypted",
            expected="a stored entry",
            found=f"method {method}, flags {flags:#x}",
        )
    _check_version(needed, name)
    return Entry(text.decode("utf-8", "backslashreplace"), 0, packed, crc), offset, end


def _check_version(needed: int, name: str) -> None:
    if needed & 0xFF > _NEWEST:
        raise ArchiveError(
            f"{name} needs a later version of ZIP than there is",
            expected=f"at most {_NEWEST // 10}.{_NEWEST % 10}",
            found=f"{(needed & 0xFF) // 10}.{needed % 10}",
        )


def _zip64(extra: bytes, values: tuple[int, int, int], what: str) -> tuple[int, int, int]:
    """Replace the values that are too large for 32 bits by those of the ZIP64 extra field."""
    wanted = [i for i, value in enumerate(values) if value == _32]
    result = list(values)
    position = 0
    found = False
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        field = extra[position + 4 : position + 4 + length]
        position += 4 + length
        if kind == 1:
            if found or len(field) != length or len(field) < 8 * len(wanted):
                raise ArchiveError(f"the entry {what} has a malformed ZIP64 field")
            found = True
            for i, index in enumerate(wanted):
                result[index] = int(struct.unpack_from("<Q", field, 8 * i)[0])
    if position != len(extra) or (wanted and not found):
        raise ArchiveError(f"the entry {what} has a malformed extra field")
    return result[0], result[1], result[2]


def _local_entry(file: IO[bytes], entry: Entry, offset: int, name: str) -> tuple[int, int]:
    """Check an entry's own header against the central directory; return where its data starts and the entry ends."""
    file.seek(offset)
    try:
        fields = _LOCAL.unpack(file.read(_LOCAL.size))
    except struct.error as exc:
        raise ArchiveError(f"{name} has no entry at {offset}, where its central directory says") from exc
    (signature, needed, flags, method, _time, _date, crc, packed, unpacked, name_length, extra_length) = fields
    _check_version(needed, name)
    text = file.read(name_length).decode("utf-8", "backslashreplace")
    if signature != b"PK\3\4":
        raise ArchiveError(f"{name} has no entry at {offset}, where its central directory says")
    unpacked, packed, _ = _zip64(file.read(extra_length), (unpacked, packed, 0), f"{text!r} in {name}")
    start = offset + _LOCAL.size + name_length + extra_length
    end = start + entry.size
    sizes = (entry.crc, entry.size, entry.size)
    if flags & _DESCRIPTOR:
        end += _descriptor(file, end, sizes, name)
        if (crc, packed, unpacked) == (0, 0, 0):
            crc, packed, unpacked = sizes
    if (text, method, crc, packed, unpacked) != (entry.name, 0, *sizes):
        raise HostileArchiveError(
            f"the two headers of {entry.name[:200]!r} in {name} disagree",
            expected=f"{entry.name[:200]!r}, {entry.size} bytes, CRC-32 {entry.crc:08x}",
            found=f"{text[:200]!r}, {packed} bytes, CRC-32 {crc:08x}, method {method}",
        )
    return start, end


def _descriptor(file: IO[bytes], offset: int, sizes: tuple[int, int, int], name: str) -> int:
    """Return the length of the data descriptor behind an entry, in any of the four formats that writers use."""
    file.seek(offset)
    data = file.read(24)
    for form in ("<4sLQQ", "<4sLLL", "<LQQ", "<LLL"):
        layout = struct.Struct(form)
        if len(data) >= layout.size and (fields := layout.unpack_from(data))[-3:] == sizes:
            if len(fields) == 4 and fields[0] != b"PK\7\x08":
                continue
            return layout.size
    raise HostileArchiveError(f"an entry of {name} is not followed by its sizes", expected=sizes)
