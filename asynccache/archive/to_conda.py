"""`.tar.bz2` to `.conda`: route the tar blocks of each member to one of two zstd streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import IO, Final

from asynccache.archive import bzip2_read
from asynccache.archive.compare import Comparison
from asynccache.archive.conda_write import ZIP64_LIMIT, CondaWriter, TooLargeError
from asynccache.archive.member import Component, Member, MemberType, component_of, shown
from asynccache.archive.read import archives, exactly
from asynccache.archive.root import checked_path
from asynccache.archive.tar_scan import Kind
from asynccache.archive.tar_write import TarWriter
from asynccache.archive.work import Work
from asynccache.archive.zstd_stream import BACKEND, ZstdWriter, new_decompressor
from asynccache.errors import TransmuteError

_OWN_WINDOW_LOG: Final = 31  # what this process has just written needs no cap
_PROBABLY_LARGE: Final = ZIP64_LIMIT // 2


def transmute(work: Work, file: IO[bytes], stem: str, level: int, threads: int, *, verify: bool) -> tuple[str, ...]:
    """Write the `.conda` format of the archive of `work` to an empty file.

    Args:
        work: The source.
        file: Open for writing and reading.
        stem: The package's file name without extension.
        level: zstd level.
        threads: With 2 or more, decoding runs ahead of the rest.
        verify: Compare what is written with its source.

    Returns:
        The libraries that took part.

    Raises:
        ArchiveError: The source is not a package archive, or a damaged or hostile one.
        TransmuteError: What was written is not what was read.
    """
    large = work.size > _PROBABLY_LARGE

    def attempt(slots: int) -> tuple[str, ...]:
        file.seek(0)
        file.truncate()
        with work.path.open("rb") as source:
            for _, blocks in archives(work, source, slots=slots):
                with closing(blocks):
                    _route(work, blocks, CondaWriter(file, stem, large=large), level, verify=verify)
        return (bzip2_read.fast_backend() if slots else bzip2_read.STANDARD, BACKEND)

    try:
        return exactly(work, attempt, min(threads, 2))
    except TooLargeError:
        large = True
        work.restart()
        return exactly(work, attempt, min(threads, 2))


class _Component(TarWriter):
    """One inner archive."""

    def __init__(self, component: Component, writer: CondaWriter, level: int, *, verify: bool) -> None:
        decoder = new_decompressor(_OWN_WINDOW_LOG) if verify else None
        comparison = Comparison(decoder, f"the {component.value} archive")
        super().__init__(ZstdWriter(level), comparison, partial(writer.write, component))
        self._globals: list[bytes] = []

    def defer(self, header: bytes) -> None:
        """Take a global header, to be written before the next member: some readers refuse one that ends an archive."""
        self._globals.append(header)

    def begin(self) -> int:
        """Write the global headers that apply to the member that comes; return how many bytes."""
        size = self.size
        for header in self._globals:
            self.write(header, 0, len(header))
        self._globals.clear()
        return self.size - size


def _check_hard_link(member: Member, name: str) -> None:
    if member.type is MemberType.HARD_LINK and component_of(checked_path(member.linkname)) is not member.component:
        raise TransmuteError(
            f"the hard link {member.shown} of {name} would be in a different archive from its file",
            found=shown(member.linkname),
            hint="this package can be kept in .tar.bz2 format only",
        )


def _route(work: Work, blocks: Iterator[bytes], writer: CondaWriter, level: int, *, verify: bool) -> None:
    scanner = work.scanner()
    sinks = {component: _Component(component, writer, level, verify=verify) for component in Component}
    shared = 0  # bytes of global headers as they were written before bytes of the source; they go to both, or to one
    end = 0
    try:
        for block in blocks:
            buffer, pieces = scanner.feed(block)
            # stretches of one component are written together
            current: _Component | None = None
            start = stop = 0
            for piece in pieces:
                sink = sinks[piece.member.component] if piece.member is not None else None
                if sink is not current:
                    if current is not None:
                        current.write(buffer, start, stop)
                    current, start = sink, piece.start
                stop = piece.stop
                if piece.kind is Kind.HEADER and piece.member is not None and sink is not None:
                    _check_hard_link(piece.member, work.name)
                    if piece.start == start:
                        shared += sink.begin()
                if piece.kind is Kind.GLOBAL:
                    shared -= stop - piece.start
                    for each in sinks.values():
                        each.defer(buffer[piece.start : stop])
                elif piece.kind is Kind.END:
                    end += stop - piece.start
            if current is not None:
                current.write(buffer, start, stop)
        scanner.close()
        work.root.close()
        routed = sum(sink.size for sink in sinks.values())
        if routed - shared + end != work.allowance.streamed:
            raise TransmuteError(
                f"the parts of {work.name} do not add up", expected=work.allowance.streamed, found=routed - shared + end
            )
        for sink in sinks.values():
            work.check_cancelled()
            sink.finish()
        writer.finish()
        work.report(work.size)
    finally:
        writer.close()
