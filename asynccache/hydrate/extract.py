"""Unpacking archives into directories. Blocking: call these in threads."""
# a Path for each of thousands of files costs more than the file:
# ruff: noqa: PTH103, PTH118, PTH120

from __future__ import annotations

import asyncio
import errno
import functools
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from concurrent.futures import CancelledError
from pathlib import Path
from typing import IO, Final

from isal import igzip_lib, isal_zlib
from rattler.networking import Client
from rattler.package_streaming import download_and_extract

from asynccache.archive.limits import DEFAULT_LIMITS, Allowance, Limits
from asynccache.archive.root import checked_path
from asynccache.errors import ArchiveError, HostileArchiveError

_BLOCK: Final = 1 << 20  # bytes
_WHOLE: Final = 64 << 20  # bytes of a member that is unpacked in memory
_LOCAL_HEADER: Final = 30  # bytes
_EXECUTABLE: Final = 0o111


@functools.cache
def offline_client() -> Client:
    """Return a client that knows no credentials; no request is made with it."""
    return Client()


def extract_conda(archive: Path, target: Path) -> dict[str, str]:
    """Unpack a conda package, in either form.

    Args:
        archive: Verified by the caller.
        target: Directory to make.

    Returns:
        md5 and sha256 of the archive.

    Raises:
        ArchiveError: It cannot be unpacked.
    """
    target.mkdir(parents=True, exist_ok=True)
    try:
        # the library's blocking call would hold the interpreter's lock for the whole archive
        sha256, md5 = asyncio.run(download_and_extract(offline_client(), archive.as_uri(), target))
    except Exception as exc:  # the library has many kinds
        if is_full(exc):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
        raise ArchiveError(f"{archive.name} cannot be unpacked ({exc})", hint="verify the package") from exc
    if not (target / "info" / "index.json").is_file():
        raise ArchiveError(f"{archive.name} has no info/index.json", hint="it is not a conda package")
    return {"md5": md5.hex(), "sha256": sha256.hex()}


def is_full(error: Exception) -> bool:
    """Tell whether a failure of the library means a full disk, which it says in words only."""
    return "No space left on device" in str(error) or "Disk quota exceeded" in str(error)


def extract_wheel(archive: Path, target: Path, stop: Callable[[], bool], *, limits: Limits = DEFAULT_LIMITS) -> None:
    """Unpack a wheel as it is.

    Args:
        archive: Verified by the caller.
        target: Directory to make.
        stop: Asked at every file whether to stop.
        limits: What it may ask of this machine.

    Raises:
        HostileArchiveError: A member would lie outside, or it is beyond the limits.
        ArchiveError: It cannot be unpacked.
        concurrent.futures.CancelledError: `stop` said so.
    """
    target.mkdir(parents=True, exist_ok=True)
    allowance = Allowance(limits, archive.stat().st_size, archive.name)
    made: set[str] = set()
    seen: set[bytes] = set()
    try:
        with archive.open("rb") as file, zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if stop():
                    raise CancelledError
                path = checked_path(info.filename.encode("utf-8", "surrogateescape"))
                if info.is_dir() or not path:
                    continue
                mode = info.external_attr >> 16
                if path in seen or (info.create_system == 3 and stat.S_IFMT(mode) not in {0, stat.S_IFREG}):
                    raise HostileArchiveError(
                        f"{archive.name} holds {info.filename!r} twice or as something other than a file"
                    )
                seen.add(path)
                allowance.member(info.file_size)
                _write(
                    opened,
                    file,
                    info,
                    os.path.join(target, os.fsdecode(path)),
                    made,
                    executable=bool(mode & _EXECUTABLE),
                )
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as exc:
        raise ArchiveError(f"{archive.name} cannot be unpacked ({exc})", hint="verify the package") from exc


def _write(
    opened: zipfile.ZipFile, file: IO[bytes], info: zipfile.ZipInfo, path: str, made: set[str], *, executable: bool
) -> None:
    directory = os.path.dirname(path)
    if directory not in made:
        os.makedirs(directory, exist_ok=True)
        made.add(directory)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o777 if executable else 0o666)
    with os.fdopen(descriptor, "wb", buffering=0) as writer:
        if info.file_size <= _WHOLE and info.compress_type in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            writer.write(_content(file, info))
            return
        with opened.open(info) as stream:
            shutil.copyfileobj(stream, writer, _BLOCK)


def _content(file: IO[bytes], info: zipfile.ZipInfo) -> bytes:
    """Read a member at once, with the faster of the decoders: zipfile itself can only use the standard library's.

    Raises:
        zipfile.BadZipFile: Its local header or its checksum is wrong.
    """
    file.seek(info.header_offset)
    header = file.read(_LOCAL_HEADER)
    if len(header) != _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"{info.filename} has no local header")
    # lengths of the name and of the extra field, which may differ from those in the directory (APPNOTE, section 4.3.7)
    file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), os.SEEK_CUR)
    packed = file.read(info.compress_size)
    if len(packed) != info.compress_size or info.flag_bits & 1:
        raise zipfile.BadZipFile(f"{info.filename} is cut short or encrypted")
    data = packed
    if info.compress_type == zipfile.ZIP_DEFLATED:
        try:
            # one byte more than announced is enough to notice that it is wrong
            data = isal_zlib.decompressobj(-15).decompress(packed, info.file_size + 1)
        except igzip_lib.IsalError as exc:  # type: ignore[misc]  # its stub does not say what it derives from
            raise zipfile.BadZipFile(f"{info.filename}: {exc}") from exc
    if len(data) != info.file_size or isal_zlib.crc32(data) != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename} has a wrong checksum")
    return data
