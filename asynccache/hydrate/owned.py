"""Whose an extracted package is: a directory that somebody else can write is no package of this user's.

A cache directory may be shared by a group. Archives in it are digested before they are used; what was extracted of them
is not, so it is used only where nobody but this user and root can have written it. What is extracted is therefore made
in a directory that others cannot enter, and closed to their writing before it gets its name. Blocking: call these in
threads.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from asynccache.errors import IntegrityError
from asynccache.node.user import others_can_write

_WRITES: Final = stat.S_IWGRP | stat.S_IWOTH


def close_to_others(tree: Path) -> None:
    """Take from everybody else what they could write in a new tree: modes that an archive gives its files, and a umask
    that a shared directory wants.

    Raises:
        IntegrityError: Somebody else has put something there.
        OSError: It cannot be changed.
    """
    ours = os.lstat(tree).st_uid  # not always this process's number: servers of files map it
    for path, status in _walked(tree):
        if status.st_uid != ours:
            raise IntegrityError(f"another user put {path} there while the package was unpacked", hint="run again")
        if status.st_mode & _WRITES and not stat.S_ISLNK(status.st_mode) and others_can_write(status, ours):
            with suppress(OSError):  # of a file system without modes
                os.chmod(path, stat.S_IMODE(status.st_mode) & ~_WRITES)  # noqa: PTH101 - thousands of them


def is_only_ours(file: Path, top: Path) -> bool:
    """Return whether nobody but this user and root can have changed a file, or have put another one in its place, as
    far up as `top`; False where it is elsewhere.
    """
    if top not in file.parents:
        return False
    between = [file, *file.parents[: file.parents.index(top) + 1]]
    return not any(others_can_write(os.lstat(path), None) for path in between)


def owner_in(directory: Path) -> tuple[int, bool] | None:
    """Return the number that new files of this user have in a directory, and whether the file system keeps modes.

    None where nothing can be made.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".asynccache-owner-") as file:
            status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_uid, not status.st_mode & _WRITES


def is_closed(directory: Path, record: Path, owner: int | None, *, said: bool) -> bool:
    """Return whether nobody else can have written an extracted package.

    Args:
        directory: The package's.
        record: The file in it that says what it is.
        owner: Number of a further user whose packages are used.
        said: Whether the record says that the whole tree was closed when it was made; else all of it is looked at.
    """
    try:
        if any(others_can_write(os.lstat(path), owner) for path in {directory, record.parent, record}):
            return False
        return said or not any(others_can_write(status, owner) for _path, status in _walked(directory))
    except OSError:
        return False


def _walked(tree: Path) -> Iterator[tuple[str, os.stat_result]]:
    pending = [os.fspath(tree)]
    yield pending[0], os.lstat(tree)
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                yield entry.path, entry.stat(follow_symlinks=False)
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
