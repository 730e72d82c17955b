"""Read conda packages of both formats: their tar archives, and what `info/index.json` says."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import IO, Final, TypeVar

from asynccache.archive import bzip2_read, zstd_stream
from asynccache.archive.conda_read import EntryReader, read_conda
from asynccache.archive.limits import too_much
from asynccache.archive.member import Component, Member
from asynccache.archive.tar_scan import Kind
from asynccache.archive.work import Work
from asynccache.errors import ArchiveError, TransmuteError
from asynccache.model.package import Format
from asynccache.node.json_text import read_json

T = TypeVar("T")
INDEX: Final = b"info/index.json"
_MAX_INDEX: Final = 16 << 20  # bytes; real ones have some thousand


def check_index(text: bytes, name: str) -> None:
    """Refuse an `info/index.json` that holds no record.

    Raises:
        ArchiveError: It is no JSON object.
    """
    try:
        record = read_json(text)
    except ValueError as exc:
        raise ArchiveError(f"info/index.json of {name} is not JSON ({exc})") from exc
    if not isinstance(record, dict):
        raise ArchiveError(f"info/index.json of {name} is not a JSON object")


def archives(
    work: Work, file: IO[bytes], *, slots: int = 0
) -> Iterator[tuple[Component | None, Generator[bytes, None, None]]]:
    """Yield the tar archives of a conda package, each as unpacked blocks within the limits.

    Args:
        work: The package.
        file: Open at its beginning.
        slots: Use the fast decoder for bzip2, with so many slots (see `bzip2_read.fast_decompressed`).

    Raises:
        ArchiveError: Damaged, or no package.
        DoubtError: The fast decoder is not sure: begin again without it.
    """
    if work.format is Format.TAR_BZ2:
        if slots:
            decoded = bzip2_read.fast_decompressed(file, work.size, slots)
        else:
            decoded = bzip2_read.decompressed(file, work.name)
        yield None, _reported(work, work.metered(decoded), partial(os.lseek, file.fileno(), 0, os.SEEK_CUR))
        return
    components = read_conda(file, work.name)
    done = 0
    for component in Component:
        entry = components[component]
        reader = EntryReader(file, entry, work.name)
        name = f"{entry.name} in {work.name}"
        blocks = work.metered(zstd_stream.decompressed(reader, work.limits.zstd_window_log, name))
        yield component, _reported(work, blocks, partial(_sum, done, reader))
        done += entry.size


def exactly(work: Work, read: Callable[[int], T], slots: int = 1) -> T:
    """Read a package with the fast decoder for bzip2 where that pays, and exactly.

    Args:
        work: The package.
        read: Called with what `archives` takes as its slots, a second time when the first one failed: whatever the fast
            decoder leads to, the exact one has the last word.
        slots: For the fast decoder.

    Raises:
        ArchiveError: What the exact decoder led to.
    """
    if work.format is Format.TAR_BZ2 and bzip2_read.choose(work.size) == bzip2_read.FAST:
        try:
            return read(max(1, slots))
        except TransmuteError:
            raise
        except (bzip2_read.DoubtError, ArchiveError):
            work.restart()
    return read(0)


def _sum(done: int, reader: EntryReader) -> int:
    return done + reader.tell()


def _reported(
    work: Work, blocks: Generator[bytes, None, None], position: Callable[[], int]
) -> Generator[bytes, None, None]:
    with closing(blocks):
        for block in blocks:
            work.report(position())
            yield block


def find_index(work: Work, blocks: Iterator[bytes]) -> bytes | None:
    """Read a tar archive to its end; return the content of `info/index.json`, None if it is not there.

    Raises:
        ArchiveError: The archive is damaged or hostile, or the index is large.
    """
    scanner = work.scanner()
    found: list[bytes] = []
    index: Member | None = None
    for block in blocks:
        buffer, pieces = scanner.feed(block)
        for piece in pieces:
            if piece.member is None:
                continue
            if piece.kind is Kind.HEADER and piece.member.path == INDEX:
                index = piece.member
                if index.size > _MAX_INDEX:
                    raise too_much(f"info/index.json of {work.name} is large", f"{_MAX_INDEX} bytes", index.size)
            elif piece.kind is Kind.CONTENT and piece.member is index:
                found.append(buffer[piece.start : piece.stop])
    scanner.close()
    return None if index is None else b"".join(found)[: index.size]
