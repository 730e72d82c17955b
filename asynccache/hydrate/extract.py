"""Unpacking archives into directories. Blocking: call these in threads."""
# a Path for each of thousands of files costs more than the file:
# ruff: noqa: PTH103, PTH118, PTH120

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from isal import igzip_lib, isal_zlib
from rattler.package_streaming import download_and_extract

from asynccache.archive.bound import check_unpacked, several_streams
from asynccache.archive.limits import DEFAULT_LIMITS, Allowance, Limits
from asynccache.archive.root import checked_path, refuse_links_outside
from asynccache.archive.transmute import transmute
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.hydrate.py_rattler import is_full, offline_client
from asynccache.model.digest import digest_file
from asynccache.model.package import Format

_BLOCK: Final = 1 << 20  # bytes
_WHOLE: Final = 64 << 20  # bytes of a member that is unpacked in memory
_LOCAL_HEADER: Final = 30  # bytes
_EXECUTABLE: Final = 0o111


def extract_conda(
    archive: Path, target: Path, *, limits: Limits = DEFAULT_LIMITS, stop: Callable[[], bool] | None = None
) -> dict[str, str]:
    """Unpack a conda package, in either form.

    Args:
        archive: Verified by the caller.
        target: Directory to make.
        limits: What it may ask of this machine.
        stop: Asked now and then whether to stop.

    Returns:
        md5 and sha256 of the archive.

    Raises:
        HostileArchiveError: It unpacks to more than it may, or to links that lead out of it.
        ArchiveError: It cannot be unpacked.
        concurrent.futures.CancelledError: `stop` said so.
    """
    check_unpacked(archive, limits, stop)
    target.mkdir(parents=True, exist_ok=True)
    hashes: dict[str, str] = {}
    with _readable(archive, target, limits, stop) as (readable, is_archive):
        try:
            # the library's blocking call would hold the interpreter's lock for the whole archive
            sha256, md5 = asyncio.run(download_and_extract(offline_client(), readable.as_uri(), target))
        except Exception as exc:  # the library has many kinds
            if is_full(exc):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from exc
            raise ArchiveError(f"{archive.name} cannot be unpacked ({exc})", hint="verify the package") from exc
        if is_archive:
            hashes = {"md5": md5.hex(), "sha256": sha256.hex()}
    if not (target / "info" / "index.json").is_file():
        raise ArchiveError(f"{archive.name} has no info/index.json", hint="it is not a conda package")
    _check_tree(os.fspath(target), limits)
    if not hashes:
        digests = digest_file(os.fspath(archive), "md5", "sha256")
        hashes = {"md5": digests.md5 or "", "sha256": digests.sha256 or ""}
    return hashes


@contextmanager
def _readable(
    archive: Path, target: Path, limits: Limits, stop: Callable[[], bool] | None
) -> Iterator[tuple[Path, bool]]:
    """Give an archive that the library reads to its end, and whether it is the one that was given.

    Of several bzip2 streams, as parallel compressors write them, the library reads the first only.
    """
    several = False
    if archive.name.endswith(Format.TAR_BZ2):
        with archive.open("rb") as file:
            several = several_streams(file)
    if not several:
        yield archive, True
        return
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        single = Path(scratch, archive.name.removesuffix(Format.TAR_BZ2) + Format.CONDA)
        transmute(archive, single, level=1, limits=limits, cancelled=stop)
        yield single, False


def _check_tree(root: str, limits: Limits) -> None:
    """Refuse what an archive left that nobody read before: too many files, links that lead out of it.

    Raises:
        HostileArchiveError: Which.
    """
    links: dict[bytes, bytes] = {}
    count = 0
    waiting = [os.fsencode(root)]
    start = len(waiting[0]) + 1
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_symlink():
                    links[entry.path[start:]] = os.readlink(entry.path)  # noqa: PTH115
                elif entry.is_dir():
                    waiting.append(entry.path)
    if count > 2 * limits.members:
        raise HostileArchiveError("the archive has too many members", expected=f"at most {limits.members}")
    if links and not limits.links_outside:
        refuse_links_outside(links)


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
