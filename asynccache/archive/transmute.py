"""Turn a `.tar.bz2` package into a `.conda` one and back, member by member.

The tar blocks of a member are passed on unchanged, headers and padding included, so a member cannot lose anything: name
bytes, type, mode, owner, times, link target, PAX records, GNU long names, sparse maps. What changes is the compression
around them and the split in two: everything under `info/` goes to the info archive (CEP 35), all else to the package
archive, each in the order of the source. The other way the info archive comes first. What follows the last member (zero
blocks) is written again.

Not supported: other formats, and packages that cannot be split or joined without change: hard links between the two
parts, and global PAX headers of the info archive that would change members of the other.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from asynccache.archive import bzip2_write, to_conda, to_tar_bz2
from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.archive.receipt import TOOL, Receipt
from asynccache.archive.second_opinion import Opinion
from asynccache.archive.work import Cancelled, Progress, Work
from asynccache.errors import DiskError, UsageError
from asynccache.model.digest import Digests, digest_file
from asynccache.model.package import CONDA_FORMATS, Format, split_filename

DEFAULT_LEVEL: Final = 3
_ALGORITHMS: Final = ("md5", "sha256")
_CANNOT_WRITE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def transmute(
    source: Path,
    target: Path,
    *,
    level: int = DEFAULT_LEVEL,
    verify: bool = True,
    threads: int = 1,
    limits: Limits = DEFAULT_LIMITS,
    expected: Digests | None = None,
    cancelled: Cancelled | None = None,
    progress: Progress | None = None,
    opinion: Opinion | None = None,
) -> Receipt:
    """Write the other format of a conda package. Blocking: call it in a thread, where it mostly runs without the GIL.

    Args:
        source: The package; its extension says its format.
        target: Where the other format goes; its extension says the format, and its stem names the parts of a `.conda`
            file, so it must be the package's. Replaced when it exists, once the new one is complete and verified.
        level: zstd level of a written `.conda`, 1 to 22. Levels above 19 need up to a gigabyte of memory.
        verify: Compare the result with the source, byte by byte of every member, while it is written.
        threads: How many cores to use: the threads that compress a `.tar.bz2`; from 2 on, a `.tar.bz2` is decoded while
            the rest goes on. The result does not depend on it.
        limits: What the source may ask of this machine.
        expected: What is known of the source's bytes; checked before anything is written.
        cancelled: Asked at every block whether to stop.
        progress: Called with the number of bytes of the source as they are read.
        opinion: Also compares the result with the source, before it takes the target's place.

    Returns:
        What was done.

    Raises:
        UsageError: The names do not end in two different conda formats.
        IntegrityError: The source is not what `expected` says, or the second opinion is that the two differ.
        HostileArchiveError: The source tries what no package may do.
        ArchiveError: The source is damaged, or no package.
        TransmuteError: The source cannot take the other format without loss, or the result did not verify.
        DiskError: The target cannot be written.
        concurrent.futures.CancelledError: `cancelled` said so.
        OSError: The source cannot be read.
    """
    stem, source_format, target_format = _formats(source, target)
    if not 1 <= level <= 22:
        raise UsageError("a zstd level is out of range", expected="1 to 22", found=level)
    work = Work(source, limits, cancelled, progress)
    digests = work.digest(*_ALGORITHMS)
    if expected is not None:
        expected.check(digests, source.name, hint="fetch it again")
    with _in_place(target) as (file, path):
        if target_format is Format.CONDA:
            backends = to_conda.transmute(work, file, stem, level, threads, verify=verify)
        else:
            backends = to_tar_bz2.transmute(work, file, threads, verify=verify)
            level = bzip2_write.LEVEL
        file.flush()
        derived = digest_file(str(path), *_ALGORITHMS)
        if opinion is not None:
            opinion(source, source.name, path, target.name)
        work.check_unchanged()
        work.check_cancelled()
    return Receipt(
        source=digests,
        source_format=source_format,
        derived=derived,
        derived_format=target_format,
        level=level,
        tool=TOOL,
        backends=backends,
        members=work.allowance.members,
        unpacked_bytes=work.allowance.declared,
        verified=verify,
    )


def _formats(source: Path, target: Path) -> tuple[str, Format, Format]:
    _, source_format = split_filename(source.name)
    stem, target_format = split_filename(target.name)
    if {source_format, target_format} != set(CONDA_FORMATS):
        raise UsageError(
            f"cannot transmute {source.name} to {target.name}", expected="one .tar.bz2 and one .conda file name"
        )
    return stem, source_format, target_format


@contextmanager
def _in_place(target: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """Give a new file that takes the target's place at the end of the block, or goes when the block fails."""
    path = target.with_name(f".{os.urandom(16).hex()}.tmp")
    try:
        file = path.open("xb+")
    except OSError as exc:
        raise DiskError(f"cannot write next to {target.name} ({exc.strerror})", hint="check the directory") from exc
    try:
        with file:
            yield file, path
        path.replace(target)
    except OSError as exc:
        path.unlink(missing_ok=True)
        if exc.errno in _CANNOT_WRITE or exc.filename == str(path):
            raise DiskError(f"cannot write {target.name} ({exc.strerror})", hint="free some space") from exc
        raise
    except BaseException:
        path.unlink(missing_ok=True)
        raise
