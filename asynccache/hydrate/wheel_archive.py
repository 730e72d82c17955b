"""A wheel's archive, unpacked in independent parts, which can be processed in parallel. Blocking.

A part is one large member, or many small ones. Members are found through the central directory, so that no part waits
for another; all of them are checked before the first byte is written.
"""
# a Path for each of thousands of files costs more than the file:
# ruff: noqa: PTH103, PTH118, PTH120

from __future__ import annotations

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from isal.igzip_lib import DECOMP_DEFLATE, IgzipDecompressor, IsalError
from isal.isal_zlib import crc32

from asynccache.archive.limits import DEFAULT_LIMITS, Allowance, Limits
from asynccache.archive.root import checked_path
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.model.dataclass import dataclass

_BLOCK: Final = 1 << 20  # bytes of a large member that are read, and at most unpacked, at a time
_LARGE: Final = 8 << 20  # bytes from which a member is unpacked in blocks, as a part of its own
_PART: Final = 16 << 20  # bytes of small members that form a part
_FILE: Final = 16 << 10  # bytes that could be unpacked in the time it takes to create a file
_LOCAL_HEADER: Final = 30  # bytes (APPNOTE, section 4.3.7)
_EXECUTABLE: Final = 0o111
_INFLATED: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


@dataclass(frozen=True, slots=True)
class WheelMember:
    """A file of a wheel.

    Attributes:
        info: Its entry in the archive's directory.
        path: The file to create.
    """

    info: zipfile.ZipInfo
    path: str

    @property
    def bytes(self) -> int:
        """What unpacking it costs, as bytes."""
        return self.info.file_size + _FILE


def wheel_parts(archive: Path, target: Path, *, limits: Limits = DEFAULT_LIMITS) -> list[list[WheelMember]]:
    """Check the content of a wheel, create the directories of its files, and return its parts, the largest first.

    Raises:
        HostileArchiveError: A member would be outside, or it is beyond the limits.
        ArchiveError: It cannot be unpacked.
    """
    with _refused(archive), zipfile.ZipFile(archive) as opened:
        members = list(_members(opened, archive, target, limits))
    target.mkdir(parents=True, exist_ok=True)
    for directory in {os.path.dirname(member.path) for member in members}:
        os.makedirs(directory, exist_ok=True)
    parts: list[list[WheelMember]] = []
    room = 0
    for member in members:
        if member.info.file_size > _LARGE:
            parts.insert(0, [member])
        elif room < member.bytes:
            parts.append([member])
            room = _PART - member.bytes
        else:
            parts[-1].append(member)
            room -= member.bytes
    parts.sort(key=lambda part: -sum(member.bytes for member in part))
    return parts


def write_part(archive: Path, part: Sequence[WheelMember], stop: Callable[[], bool]) -> None:
    """Write the files of a part.

    Raises:
        ArchiveError: One cannot be unpacked.
        concurrent.futures.CancelledError: `stop` returned True.
    """
    with _refused(archive), archive.open("rb") as file:
        for member in part:
            if stop():
                raise CancelledError
            executable = member.info.external_attr >> 16 & _EXECUTABLE
            mode = 0o777 if executable else 0o666
            descriptor = os.open(member.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            try:
                for block in _blocks(archive, file, member.info, stop):
                    _write_all(descriptor, block)
            finally:
                os.close(descriptor)


def _members(opened: zipfile.ZipFile, archive: Path, target: Path, limits: Limits) -> Iterator[WheelMember]:
    allowance = Allowance(limits, archive.stat().st_size, archive.name)
    seen: set[bytes] = set()
    root = os.fspath(target)
    for info in opened.infolist():
        path = checked_path(info.filename.encode("utf-8", "surrogateescape"))
        if info.is_dir() or not path:
            continue
        if path in seen or (info.create_system == 3 and stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}):
            raise HostileArchiveError(f"{archive.name} holds {info.filename!r} twice or as something other than a file")
        seen.add(path)
        allowance.member(info.file_size)
        yield WheelMember(info, os.path.join(root, os.fsdecode(path)))


@contextmanager
def _refused(archive: Path) -> Iterator[None]:
    """Add the name of the archive to errors in it."""
    try:
        yield
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as exc:
        raise ArchiveError(f"{archive.name} cannot be unpacked ({exc})", hint="verify the package") from exc


def _blocks(archive: Path, file: IO[bytes], info: zipfile.ZipInfo, stop: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the unpacked content of a member.

    Raises:
        zipfile.BadZipFile: Its local header or its checksum is wrong.
    """
    if info.compress_type not in _INFLATED:
        with zipfile.ZipFile(archive) as opened, opened.open(info) as stream:
            while block := stream.read(_BLOCK):
                yield block
        return
    begin = _data_offset(file, info)
    size = checksum = 0
    large = info.file_size > _LARGE or info.compress_size > _LARGE
    for block in _unpacked(file, begin, info, stop) if large else _whole(file, begin, info):
        size += len(block)
        checksum = crc32(block, checksum)
        if size > info.file_size:
            break
        yield block
    if size != info.file_size or checksum != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename} has a wrong checksum")


def _data_offset(file: IO[bytes], info: zipfile.ZipInfo) -> int:
    header = os.pread(file.fileno(), _LOCAL_HEADER, info.header_offset)
    if len(header) != _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"{info.filename} has no local header")
    if info.flag_bits & 1:
        raise zipfile.BadZipFile(f"{info.filename} is encrypted")
    # lengths of the name and of the extra field, which may differ from those in the directory (APPNOTE, section 4.3.7)
    lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    return info.header_offset + _LOCAL_HEADER + lengths


def _packed(file: IO[bytes], begin: int, info: zipfile.ZipInfo, count: int) -> bytes:
    packed = os.pread(file.fileno(), count, begin)
    if len(packed) != count:
        raise zipfile.BadZipFile(f"{info.filename} is cut short")
    return packed


def _whole(file: IO[bytes], begin: int, info: zipfile.ZipInfo) -> Iterator[bytes]:
    packed = _packed(file, begin, info, info.compress_size)
    if info.compress_type == zipfile.ZIP_STORED:
        yield packed
        return
    try:
        # one byte more than announced is enough to notice that it is wrong
        yield IgzipDecompressor(flag=DECOMP_DEFLATE).decompress(packed, info.file_size + 1)
    except IsalError as exc:  # type: ignore[misc]  # its stub does not say what it derives from
        raise zipfile.BadZipFile(f"{info.filename}: {exc}") from exc


def _unpacked(file: IO[bytes], begin: int, info: zipfile.ZipInfo, stop: Callable[[], bool]) -> Iterator[bytes]:
    """Yield a large member in blocks, using the faster decoder, which the standard library's zipfile cannot use."""
    decoder = IgzipDecompressor(flag=DECOMP_DEFLATE)
    for offset in range(0, info.compress_size, _BLOCK):
        if stop():
            raise CancelledError
        packed = _packed(file, begin + offset, info, min(_BLOCK, info.compress_size - offset))
        if info.compress_type == zipfile.ZIP_STORED:
            yield packed
            continue
        try:
            while not decoder.eof and (packed or not decoder.needs_input):
                yield decoder.decompress(packed, _BLOCK)
                packed = b""
        except IsalError as exc:  # type: ignore[misc]  # see above
            raise zipfile.BadZipFile(f"{info.filename}: {exc}") from exc


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
