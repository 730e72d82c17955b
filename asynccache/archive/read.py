"""Read conda packages of both formats: their members with digests, and what `info/index.json` says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

from asynccache.archive import bzip2_read, zstd_stream
from asynccache.archive.conda_read import EntryReader, read_conda
from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.archive.member import Component, Member
from asynccache.archive.tar_scan import Kind
from asynccache.archive.work import Cancelled, Progress, Work
from asynccache.errors import ArchiveError, HostileArchiveError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.package import CONDA_FORMATS, Format, split_filename
from asynccache.node.json_text import read_json

INDEX: Final = b"info/index.json"
_MAX_INDEX: Final = 16 << 20  # bytes; real ones have some thousand


@dataclass(frozen=True, slots=True)
class MemberRecord:
    """A member as it was read to its last byte.

    Attributes:
        member: What its headers say.
        archive: The inner archive that it was found in; None in a `.tar.bz2`, which has none.
        sha256: Of the content as stored, without padding; of nothing for links and directories.
        header_sha256: Of all its header blocks, extended headers included.
    """

    member: Member
    archive: Component | None
    sha256: str
    header_sha256: str


def members(
    path: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    cancelled: Cancelled | None = None,
    progress: Progress | None = None,
) -> Iterator[MemberRecord]:
    """Yield the members of a `.tar.bz2` or `.conda` package in order, `info` first, reading all of it.

    Only when the iterator is exhausted is the archive known to be whole and harmless.

    Raises:
        UsageError: The name has neither extension.
        HostileArchiveError: A member must not be there.
        ArchiveError: Damaged, or no package.
        concurrent.futures.CancelledError: `cancelled` said so.
        OSError: The file cannot be read.
    """
    work = Work(path, limits, cancelled, progress)
    with path.open("rb") as file:
        for archive, blocks in archives(work, file):
            with closing(blocks):
                yield from _read_tar(work, archive, blocks)
    work.root.close()
    work.report(work.size)


def index_json(path: Path, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Return the package's record, `info/index.json`, reading no more of the archive than it takes to get there.

    Raises:
        ArchiveError: There is none, or the archive is damaged or hostile up to there.
        UsageError: The name has no conda extension.
        OSError: The file cannot be read.
    """
    work = Work(path, limits)
    with path.open("rb") as file:
        for _, blocks in archives(work, file):
            with closing(blocks):
                text = find_index(work, blocks)
            if text is not None:
                return parse_index(text, path.name)
    raise ArchiveError(f"{path.name} has no info/index.json", hint="it is not a conda package")


def parse_index(text: bytes, name: str) -> dict[str, Any]:
    """Return the record that an `info/index.json` holds.

    Raises:
        ArchiveError: It is no JSON object.
    """
    try:
        document = read_json(text)
    except ValueError as exc:
        raise ArchiveError(f"info/index.json of {name} is not JSON ({exc})") from exc
    if not isinstance(document, dict):
        raise ArchiveError(f"info/index.json of {name} is not a JSON object")
    return document


def conda_format(path: Path) -> Format:
    """Return which of the two formats a file name says.

    Raises:
        UsageError: Neither.
    """
    _, fmt = split_filename(path.name)
    if fmt not in CONDA_FORMATS:
        raise UsageError(f"{path.name} is not a conda package", expected=".conda or .tar.bz2", found=fmt)
    return fmt


def archives(
    work: Work, file: IO[bytes], *, fast: bool = False
) -> Iterator[tuple[Component | None, Generator[bytes, None, None]]]:
    """Yield the tar archives of a conda package, each as unpacked blocks within the limits.

    Args:
        work: The package.
        file: Open at its beginning.
        fast: Use the fast decoder for bzip2.

    Raises:
        ArchiveError: Damaged, or no package.
        DoubtError: The fast decoder is not sure: begin again without it.
    """
    if conda_format(work.path) is Format.TAR_BZ2:
        decoded = bzip2_read.fast_decompressed(file, work.size) if fast else bzip2_read.decompressed(file, work.name)
        yield None, _reported(work, work.metered(decoded), partial(os.lseek, file.fileno(), 0, os.SEEK_CUR))
        return
    conda = read_conda(file, work.name)
    done = 0
    for component in Component:
        entry = conda.components[component]
        reader = EntryReader(file, entry, work.name)
        name = f"{entry.name} in {work.name}"
        blocks = work.metered(zstd_stream.decompressed(reader, work.limits.zstd_window_log, name))
        yield component, _reported(work, blocks, partial(_sum, done, reader))
        done += entry.size


def _sum(done: int, reader: EntryReader) -> int:
    return done + reader.tell()


def _reported(
    work: Work, blocks: Generator[bytes, None, None], position: Callable[[], int]
) -> Generator[bytes, None, None]:
    with closing(blocks):
        for block in blocks:
            work.report(position())
            yield block


def _read_tar(work: Work, archive: Component | None, blocks: Iterator[bytes]) -> Iterator[MemberRecord]:
    scanner = work.scanner()
    member: Member | None = None
    header = ""
    left = 0
    content = hashlib.sha256()
    for block in blocks:
        buffer, pieces = scanner.feed(block)
        view = memoryview(buffer)
        for piece in pieces:
            if piece.kind is Kind.CONTENT:
                count = min(left, piece.stop - piece.start)  # what is beyond is padding
                content.update(view[piece.start : piece.start + count])
                left -= count
                continue
            if member is not None:
                yield MemberRecord(member, archive, content.hexdigest(), header)
            member = piece.member
            if member is not None:
                header = hashlib.sha256(view[piece.start : piece.stop]).hexdigest()
                content = hashlib.sha256()
                left = member.size
    scanner.close()


def find_index(work: Work, blocks: Iterator[bytes], *, whole: bool = False) -> bytes | None:
    """Return the content of `info/index.json` in a tar archive; None when it is not there.

    Args:
        work: The package.
        blocks: The archive.
        whole: Read on to the archive's end.

    Raises:
        ArchiveError: The archive is damaged or hostile as far as it was read, or the index is large.
    """
    scanner = work.scanner()
    found: list[bytes] = []
    index: Member | None = None
    for block in blocks:
        buffer, pieces = scanner.feed(block)
        for piece in pieces:
            if piece.kind is Kind.CONTENT:
                if index is not None and piece.member is index:
                    found.append(buffer[piece.start : piece.stop])
            elif index is not None and not whole:
                return b"".join(found)[: index.size]
            elif piece.member is not None and piece.member.path == INDEX:
                index = piece.member
                if index.size > _MAX_INDEX:
                    raise HostileArchiveError(
                        f"info/index.json of {work.name} is large",
                        expected=f"at most {_MAX_INDEX} bytes",
                        found=index.size,
                    )
    scanner.close()
    return None if index is None else b"".join(found)[: index.size]
