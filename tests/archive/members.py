"""The members of a package as the scanner finds them, to compare packages by."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from asynccache.archive import Limits
from asynccache.archive.limits import DEFAULT_LIMITS
from asynccache.archive.member import Component, Member
from asynccache.archive.read import archives
from asynccache.archive.tar_scan import Kind
from asynccache.archive.work import Work


@dataclass(frozen=True)
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


def members(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[MemberRecord]:
    """Yield the members of a `.tar.bz2` or `.conda` package in order, `info` first, reading all of it."""
    work = Work(path, limits)
    with path.open("rb") as file:
        for archive, blocks in archives(work, file):
            with closing(blocks):
                yield from _read_tar(work, archive, blocks)
    work.root.close()


def _read_tar(work: Work, archive: Component | None, blocks: Iterator[bytes]) -> Iterator[MemberRecord]:
    scanner = work.scanner()
    member: Member | None = None
    header = b""
    content = hashlib.sha256()
    left = 0
    for block in blocks:
        buffer, pieces = scanner.feed(block)
        for piece in pieces:
            data = buffer[piece.start : piece.stop]
            if piece.kind is Kind.CONTENT:
                content.update(data[:left])  # what is beyond is padding
                left = max(0, left - len(data))
                continue
            if member is not None:
                yield MemberRecord(member, archive, content.hexdigest(), hashlib.sha256(header).hexdigest())
            member, header, content = piece.member, data, hashlib.sha256()
            left = member.size if member is not None else 0
    scanner.close()
