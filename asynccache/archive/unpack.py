"""Unpack a conda package in the same reading that checks it: each byte of the archive is read and decoded once.

What a package may not hold is refused before it is written: names that climb, members below a link, what is there
twice. Files are created, and never opened through a link.
"""
# a Path for each of thousands of files costs more than the file:
# ruff: noqa: PTH102, PTH103, PTH118, PTH211

from __future__ import annotations

import os
import shutil
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from asynccache.archive.limits import DEFAULT_LIMITS, Limits
from asynccache.archive.member import Member, MemberType
from asynccache.archive.read import INDEX, archives, check_index, exactly
from asynccache.archive.root import checked_path
from asynccache.archive.tar_scan import Kind
from asynccache.archive.work import Cancelled, Work
from asynccache.errors import ArchiveError, HostileArchiveError
from asynccache.model.digest import Digests

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE: Final = 0o777  # no set-user-id, as other programs leave it out


def unpack(
    path: Path,
    target: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    slots: int = 1,
    digests: Digests | None = None,
    cancelled: Cancelled | None = None,
) -> Digests:
    """Write the files of a conda package, read as `check` reads it. Blocking: call it in a thread.

    Args:
        path: The package, in either format; its extension says which.
        target: Directory to make, of which nothing is there; it holds a part of the package if this fails.
        limits: What it may ask of this machine.
        slots: With 2, bzip2 is decoded while files are written.
        digests: Its md5 and sha256, if nothing else can have changed it since; None to compute them.
        cancelled: Asked at every block whether to stop.

    Returns:
        Its md5 and sha256.

    Raises:
        HostileArchiveError: It tries what no package may do.
        ArchiveError: Damaged, or no package.
        IntegrityError: It changed meanwhile.
        concurrent.futures.CancelledError: `cancelled` said so.
        OSError: It cannot be read, or `target` not be written.
    """
    work = Work(path, limits, cancelled)

    def attempt(fast: int) -> None:
        shutil.rmtree(target, ignore_errors=True)  # what an earlier attempt wrote is worth nothing
        tree = _Tree(os.fsencode(target))
        try:
            with work.path.open("rb") as file:
                for _, blocks in archives(work, file, slots=fast):
                    with closing(blocks):
                        scanner = work.scanner()
                        for block in blocks:
                            buffer, pieces = scanner.feed(block)
                            view = memoryview(buffer)
                            for piece in pieces:
                                if piece.kind is Kind.CONTENT:
                                    tree.content(view[piece.start : piece.stop])
                                elif piece.kind is Kind.HEADER and piece.member is not None:
                                    tree.begin(piece.member)
                        scanner.close()
                        tree.end()
            work.root.close()
        finally:
            tree.end()

    exactly(work, attempt, slots)
    found = work.digest("md5", "sha256") if digests is None else digests
    work.check_unchanged()
    try:
        index = Path(os.fsdecode(os.path.join(os.fsencode(target), INDEX))).read_bytes()
    except OSError as exc:
        raise ArchiveError(f"{work.name} has no info/index.json", hint="it is not a conda package") from exc
    check_index(index, work.name)
    return found


class _Tree:
    """The files of a package as they are written, one after the other.

    Args:
        root: Path of the directory, which is made.
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._made = {b""}
        self._file = -1
        self._stretches: list[tuple[int, int]] = []  # (offset, bytes) of what is still to be written, the last first
        os.makedirs(root)

    def begin(self, member: Member) -> None:
        """Take the next member.

        Raises:
            HostileArchiveError: It is below what is not a directory on this file system.
            OSError: It cannot be written.
        """
        self.end()
        if member.type is MemberType.DIRECTORY:
            self._make(member.path)
            return
        self._make(member.path.rpartition(b"/")[0])
        path = os.path.join(self._root, member.path)
        match member.type:
            case MemberType.SYMBOLIC_LINK:
                os.symlink(member.linkname, path)
            case MemberType.HARD_LINK:
                os.link(os.path.join(self._root, checked_path(member.linkname)), path, follow_symlinks=False)
            case _:
                self._file = os.open(path, _NEW, 0o600)
                self._stretches = list(reversed(member.stretches)) or [(0, member.size)]
                os.fchmod(self._file, member.mode & _MODE)
                if member.type is MemberType.SPARSE_FILE:
                    os.ftruncate(self._file, member.real_size)
                self._time = int(member.mtime * 1e9)

    def content(self, data: memoryview) -> None:
        """Write the next bytes of the member; what pads them is left out."""
        while data and self._stretches:
            offset, length = self._stretches.pop()
            count = os.pwrite(self._file, data[:length], offset) if length else 0
            if count < length:
                self._stretches.append((offset + count, length - count))
            data = data[count:]

    def end(self) -> None:
        """Close the member that was written last."""
        if self._file >= 0:
            with suppress(OSError, OverflowError):  # a time that the file system does not know
                os.utime(self._file, ns=(self._time, self._time))  # byte code names that of its source
            os.close(self._file)
            self._file = -1
            self._stretches = []

    def _make(self, directory: bytes) -> None:
        """Make a directory and those above it; what is there already is one, and no link that was taken for one."""
        if directory in self._made:
            return
        self._make(directory.rpartition(b"/")[0])
        path = os.path.join(self._root, directory)
        try:
            os.mkdir(path)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise HostileArchiveError(
                    f"two members differ by the case of {directory.decode('utf-8', 'replace')!r} alone",
                    hint="this file system takes them for one; use one that does not",
                ) from None
        self._made.add(directory)
