"""Failures of the local disk, as errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from typing import Any, Iterator

from asynccache.errors import AsyncCacheError, DiskError, ObjectNotFoundError, UsageError

FULL = frozenset((errno.ENOSPC, errno.EDQUOT))


def disk_error(path: str | os.PathLike[str] | None, error: OSError) -> DiskError:
    """Return the error of an operation on a local file that failed.

    Args:
        path: The file or directory; None if unknown.
        error: Why.
    """
    what = "the file system" if path is None else os.fspath(path)
    if error.errno not in FULL:
        return DiskError(f"{what} cannot be written ({error.strerror or error})", hint="check its owner and mode")
    free = "no space"
    if path is not None:
        with contextlib.suppress(OSError):
            at = what if os.path.exists(what) else os.path.dirname(what)
            free = f"{shutil.disk_usage(at).free} bytes free"
    return DiskError(
        f"the disk of {what} is full", found=free, hint="free some space or set cache_dir to a larger disk"
    )


def input_error(what: object, error: OSError) -> AsyncCacheError:
    """Return the error for a user's file that cannot be read, with a class of its own if it does not exist."""
    kind = ObjectNotFoundError if isinstance(error, FileNotFoundError) else UsageError
    return kind(f"{what} cannot be read ({error.strerror or error})", hint="check the path")


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError of a local file operation into a `DiskError` that says what to do."""
    try:
        yield
    except OSError as exc:
        raise disk_error(path, exc) from exc


def remove(path: Any) -> None:
    """Remove a file, a link, or a directory with its content, as far as possible."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)


def remove_below(root: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Remove an entry with a name of ours in a directory of ours, as far as possible.

    Raises:
        DiskError: It is elsewhere, whatever its path looks like: nothing is removed.
    """
    directory, name = os.path.split(os.path.abspath(path))
    top = os.path.realpath(root)
    if not name or os.path.commonpath((top, os.path.realpath(directory))) != top:
        raise DiskError(f"{os.fspath(path)} is not removed: it is not below {os.fspath(root)}")
    remove(path)


def current_umask() -> int:
    """Return this process's umask, if possible without changing it for a moment, which other threads would see."""
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/self/status", encoding="ascii") as lines:
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
