"""Who owns an extracted package: a directory that another user can write to is not trusted.

A cache directory may be shared by a group. Archives in it are digested before they are used; extracted packages are
not, so they are used only if no user but this one and root can have written them. Packages are therefore extracted in a
directory that others cannot enter, and made unwritable for others before they get their name. Blocking: call these in
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
    """Remove write access of others in a new tree, which modes in the archive or the umask of a shared directory may
    give.

    Raises:
        IntegrityError: Another user has put something there.
        OSError: It cannot be changed.
    """
    ours = os.lstat(tree).st_uid  # not always this process's user id: file servers map it
    for path, status in _walked(tree):
        if status.st_uid != ours:
            raise IntegrityError(f"another user put {path} there while the package was unpacked", hint="run again")
        if status.st_mode & _WRITES and not stat.S_ISLNK(status.st_mode) and others_can_write(status, ours):
            with suppress(OSError):  # on a file system without modes
                os.chmod(path, stat.S_IMODE(status.st_mode) & ~_WRITES)  # noqa: PTH101 - thousands of them


def is_only_ours(file: Path, top: Path) -> bool:
    """Return whether no user but this one and root can have changed or replaced a file, checking directories up to
    `top`; False if it is elsewhere.
    """
    if top not in file.parents:
        return False
    between = [file, *file.parents[: file.parents.index(top) + 1]]
    return not any(others_can_write(os.lstat(path), None) for path in between)


def owner_in(directory: Path) -> tuple[int, bool] | None:
    """Return the user id of new files in a directory, and whether the file system keeps modes. None if no file can be
    created.
    """
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".asynccache-owner-") as file:
            status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_uid, not status.st_mode & _WRITES


def is_closed(directory: Path, record: Path, owner: int | None, *, said: bool) -> bool:
    """Return whether no other user can have written an extracted package.

    Args:
        directory: The package's directory.
        record: Its record file.
        owner: Id of a further user whose packages are used.
        said: Whether the record says that the whole tree was protected when it was created; otherwise all of it is
            checked.
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
