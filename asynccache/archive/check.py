"""Read a whole archive of any format that a cache holds, and refuse it by name if anything is wrong."""

from __future__ import annotations

import gzip
import stat
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Final

from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.archive.read import archives, check_index, exactly, find_index
from asynccache.archive.root import checked_path
from asynccache.archive.work import Cancelled, Progress, Work
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.model.dataclass import dataclass
from asynccache.model.package import CONDA_FORMATS, Format

_BLOCK: Final = 1 << 20  # bytes
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what wheels and sdists use
_ENCRYPTED: Final = 0x1


@dataclass(frozen=True, slots=True)
class Summary:
    """What `check` read.

    Attributes:
        format: The archive's format.
        members: How many members it has.
        unpacked_bytes: Bytes of their contents.
    """

    format: Format
    members: int
    unpacked_bytes: int


def check(
    path: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    cancelled: Cancelled | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Read an archive to its end. Blocking: call it in a thread.

    Conda packages are read as `transmute` reads them. Wheels and sdists get a lighter check: every checksum, every
    path, and the same limits.

    Args:
        path: Its extension says the format.
        limits: What it may ask of this machine.
        cancelled: Asked at every block whether to stop.
        progress: Called with the number of bytes of the archive as they are read.

    Raises:
        UsageError: The extension is none of the known ones.
        HostileArchiveError: It tries what no package may do.
        ArchiveError: Damaged, or not what its name says.
        concurrent.futures.CancelledError: `cancelled` said so.
        OSError: The file cannot be read.
    """
    work = Work(path, limits, cancelled, progress)
    if work.format in CONDA_FORMATS:
        _check_conda(work)
    else:
        with path.open("rb") as file:
            (_check_tar_gz if work.format is Format.TAR_GZ else _check_zip)(work, file)
    work.report(work.size)
    return Summary(work.format, work.allowance.members, work.allowance.declared)


def _check_conda(work: Work) -> None:
    index = exactly(work, partial(_scan, work))
    if index is None:
        raise ArchiveError(f"{work.name} has no info/index.json", hint="it is not a conda package")
    check_index(index, work.name)


def _scan(work: Work, slots: int) -> bytes | None:
    """Look at every header of a conda package; return the content of its index."""
    index = None
    with work.path.open("rb") as file:
        for _, blocks in archives(work, file, slots=slots):
            with closing(blocks):
                found = find_index(work, blocks)
                index = found if index is None else index
    work.root.close()
    return index


def _check_tar_gz(work: Work, file: IO[bytes]) -> None:
    scanner = work.scanner()
    with closing(work.metered(_gunzipped(file, work.name))) as blocks:
        for block in blocks:
            scanner.feed(block)
            work.report(file.tell())
    scanner.close()
    work.root.close()


def _gunzipped(file: IO[bytes], name: str) -> Generator[bytes, None, None]:
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as stream:
            while block := stream.read(_BLOCK):
                yield block
    except (OSError, EOFError, zlib.error) as exc:
        raise ArchiveError(f"{name} is not a whole gzip file ({exc})", hint="fetch it again") from exc


def _check_zip(work: Work, file: IO[bytes]) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            names: set[str] = set()
            for info in archive.infolist():
                work.allowance.member(info.file_size)
                _check_entry(info, names, work)
                _read_entry(archive, info, work)
                work.report(info.header_offset + info.compress_size)
    except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as exc:
        raise ArchiveError(f"{work.name} is not a whole ZIP file ({exc})", hint="fetch it again") from exc


def _check_entry(info: zipfile.ZipInfo, names: set[str], work: Work) -> None:
    path = checked_path(info.filename.encode("utf-8", "surrogateescape"))
    name = path.decode("utf-8", "surrogateescape")
    if name in names:
        raise HostileArchiveError(f"{work.name} holds {info.filename!r} twice", expected="one entry of one name")
    names.add(name)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.create_system == 3 and kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise HostileArchiveError(
            f"{info.filename!r} in {work.name} is neither a file nor a directory", found=stat.filemode(kind)
        )
    if info.compress_type not in _METHODS or info.flag_bits & _ENCRYPTED:
        raise HostileArchiveError(
            f"{info.filename!r} in {work.name} is packed in an unusual way",
            expected="stored or deflated",
            found=f"method {info.compress_type}, flags {info.flag_bits:#x}",
        )


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, work: Work) -> None:
    with archive.open(info) as stream:
        for _ in work.metered(_read(stream)):
            pass


def _read(stream: IO[bytes]) -> Generator[bytes, None, None]:
    while block := stream.read(_BLOCK):
        yield block
