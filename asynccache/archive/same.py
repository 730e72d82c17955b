"""Whether two formats of a conda package hold the same, member by member.

Who made an archive need not be this software: the Metaflow extension and conda's own tools write other owners, times
and orders, and leave directories out. What is compared is what an environment gets: every file and link with its path,
content, target, and the bits of its mode that say what may be run or written. Hard links count as the file that they
name. Not compared: directories by themselves, owners, times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.archive.member import Member, MemberType, shown
from asynccache.archive.read import archives, exactly
from asynccache.archive.receipt import TOOL, Receipt
from asynccache.archive.root import checked_path
from asynccache.archive.tar_scan import Kind
from asynccache.archive.work import Cancelled, Work
from asynccache.errors import IntegrityError, TransmuteError

_RUNS: Final = 0o7111  # of a mode: for whom it can be run, and as whom
_WRITES: Final = 0o022  # of a mode: whether others can write it; unpacking with a umask may have taken that away


class _File(NamedTuple):
    content: bytes
    size: int
    mode: int


_Contents = dict[bytes, "_File | bytes"]  # path -> file, or target of a symbolic link


def compare_archives(
    published: Path, derived: Path, *, limits: Limits = DEFAULT_LIMITS, cancelled: Cancelled | None = None
) -> Receipt:
    """Read both formats of a package and compare them. Blocking: call it in a thread.

    Args:
        published: The one that the source URL names, verified by the caller.
        derived: The other one.
        limits: What each may ask of this machine.
        cancelled: Asked at every block whether to stop.

    Returns:
        What `transmute` would say, with a level of 0.

    Raises:
        IntegrityError: The derived archive holds something else: says what.
        TransmuteError: It cannot be compared.
        ArchiveError: One is damaged, or no package.
        concurrent.futures.CancelledError: `cancelled` said so.
        OSError: A file cannot be read.
    """
    ours, theirs = (Work(path, limits, cancelled) for path in (published, derived))
    digests = [work.digest("md5", "sha256") for work in (ours, theirs)]
    expected, found = (exactly(work, partial(_contents, work)) for work in (ours, theirs))
    different = sorted(
        path for path in expected.keys() | found.keys() if not _same(expected.get(path), found.get(path))
    )
    if different:
        raise IntegrityError(
            f"{derived.name} does not hold what {published.name} holds",
            expected=f"{len(expected)} equal files and links",
            found=f"{len(different)} that differ, among them {shown(different[0])}",
        )
    for work in (ours, theirs):
        work.check_unchanged()
    return Receipt(
        source=digests[0],
        source_format=ours.format,
        derived=digests[1],
        derived_format=theirs.format,
        level=0,
        tool=TOOL,
        backends=(),
        members=theirs.allowance.members,
        unpacked_bytes=theirs.allowance.declared,
        verified=True,
    )


def _same(expected: _File | bytes | None, found: _File | bytes | None) -> bool:
    if not isinstance(expected, _File) or not isinstance(found, _File):
        return expected == found
    runs = (expected.mode ^ found.mode) & _RUNS == 0
    return expected[:2] == found[:2] and runs and not found.mode & ~expected.mode & _WRITES


def _contents(work: Work, slots: int) -> _Contents:
    found: _Contents = {}
    names: list[tuple[bytes, bytes]] = []  # of hard links: path and that of its file
    with work.path.open("rb") as file:
        for _, blocks in archives(work, file, slots=slots):
            with closing(blocks):
                for member, content in _members(work, blocks):
                    if member.type is MemberType.SYMBOLIC_LINK:
                        found[member.path] = member.linkname
                    elif member.type is MemberType.HARD_LINK:
                        names.append((member.path, checked_path(member.linkname)))
                    elif member.type is MemberType.FILE:
                        found[member.path] = _File(content, member.size, member.mode)
    work.root.close()
    for path, target in names:  # each names a member before it
        found[path] = found[target]
    return found


def _members(work: Work, blocks: Iterator[bytes]) -> Iterator[tuple[Member, bytes]]:
    """Yield each member with the sha256 of its content."""
    scanner = work.scanner()
    member: Member | None = None
    left = 0
    hasher = hashlib.sha256()
    for block in blocks:
        buffer, pieces = scanner.feed(block)
        view = memoryview(buffer)
        for piece in pieces:
            if piece.kind is Kind.HEADER:
                if member is not None:
                    yield member, hasher.digest()
                member, hasher = piece.member, hashlib.sha256()
                left = member.size if member is not None else 0
                if member is not None and member.type is MemberType.SPARSE_FILE:
                    raise TransmuteError(f"{member.shown} of {work.name} is a sparse file, which is not compared")
            elif piece.kind is Kind.CONTENT and left:
                count = min(left, piece.stop - piece.start)
                hasher.update(view[piece.start : piece.start + count])
                left -= count
    scanner.close()
    if member is not None:
        yield member, hasher.digest()
