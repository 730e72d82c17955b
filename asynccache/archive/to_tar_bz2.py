"""`.conda` to `.tar.bz2`: the members of the info archive, then those of the package archive, in one bzip2 stream."""

from __future__ import annotations

import bz2
from collections.abc import Iterator
from contextlib import closing
from typing import IO

from asynccache.archive import bzip2_write
from asynccache.archive.bzip2_read import STANDARD
from asynccache.archive.compare import Comparison
from asynccache.archive.member import Component
from asynccache.archive.read import archives
from asynccache.archive.tar_scan import Kind, Piece, TarScanner
from asynccache.archive.tar_write import TarWriter
from asynccache.archive.work import Work
from asynccache.archive.zstd_stream import BACKEND
from asynccache.errors import TransmuteError


def transmute(work: Work, file: IO[bytes], threads: int, *, verify: bool) -> tuple[str, ...]:
    """Write the `.tar.bz2` format of the archive of `work` to an empty file.

    Args:
        work: The source.
        file: Open for writing.
        threads: How many threads compress.
        verify: Compare what is written with its source.

    Returns:
        The libraries that took part.

    Raises:
        ArchiveError: The source is not a package archive, or a damaged or hostile one.
        TransmuteError: What was written is not what was read.
    """
    with work.path.open("rb") as source, bzip2_write.writer(threads) as bzip2:
        comparison = Comparison(bz2.BZ2Decompressor() if verify else None, "the tar archive")
        target = TarWriter(bzip2, comparison, file.write)
        globals_of_info: dict[bytes, bytes] = {}
        for component, blocks in archives(work, source):
            scanner = work.scanner()
            with closing(blocks):
                for buffer, start, stop in _members(work, scanner, blocks, globals_of_info):
                    target.write(buffer, start, stop)
            if component is Component.INFO:
                globals_of_info = dict(scanner.globals)
        work.root.close()
        target.finish()
        work.report(work.size)
    return (BACKEND, STANDARD)


def _members(
    work: Work, scanner: TarScanner, blocks: Iterator[bytes], inherited: dict[bytes, bytes]
) -> Iterator[tuple[bytes, int, int]]:
    """Yield the stretches of bytes that are not the archive's end."""
    for block in blocks:
        buffer, pieces = scanner.feed(block)
        start = stop = 0
        for piece in pieces:
            if piece.kind is Kind.END:
                break
            _check_inherited(work, scanner, piece, inherited)
            stop = piece.stop
        if stop > start:
            yield buffer, start, stop
    scanner.close()


def _check_inherited(work: Work, scanner: TarScanner, piece: Piece, inherited: dict[bytes, bytes]) -> None:
    # a comment says nothing about the members
    if not inherited or piece.kind is not Kind.HEADER:
        return
    leaking = {key for key in inherited if key not in scanner.globals and key != b"comment"}
    if leaking:
        raise TransmuteError(
            f"global PAX headers in the info archive of {work.name} would change the members of the other",
            found=", ".join(sorted(key.decode("utf-8", "backslashreplace") for key in leaking)),
            hint="this package can be kept in .conda format only",
        )
