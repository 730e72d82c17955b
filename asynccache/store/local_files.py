"""Publishing files whole or not at all, and copying them without sharing an inode. Blocking."""

from __future__ import annotations

import errno
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from asynccache.errors import DiskError, StoreError, StoreRefusedError
from asynccache.runtime.threads import Progress

BLOCK: Final = 8 << 20  # bytes copied between two checks for cancellation
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})
_NOT_COPIED_BY_KERNEL: Final = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EPERM, errno.ETXTBSY}
)
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
_FICLONE: Final = 0x40049409  # ioctl of linux/fs.h: share the blocks of a whole file until one side is written
_ABANDONED_SECONDS: Final = 3600.0  # seconds after which an empty directory is abandoned
_PRUNED_MEANWHILE: Final = 16  # times that a directory may disappear between creation and use


@contextmanager
def store_errors(address: str, key: str, root: Path, needed: int | None = None) -> Iterator[None]:
    """Turn an OSError into the error that says what to do.

    Args:
        address: The store.
        key: The object.
        root: The store's root, to find the free space.
        needed: Bytes that were to be written, if known.

    Raises:
        DiskError: The disk is full or read-only.
        StoreError: Anything else.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise DiskError(
                f"the disk of the store {address} is full, {key} was not written",
                expected=None if needed is None else f"{needed} bytes of free space",
                found=_free(root),
                hint="free some space or choose another store",
            ) from exc
        if exc.errno == errno.EROFS:
            raise DiskError(
                f"the store {address} is on a read-only file system, {key} was not written",
                hint="choose another store or mount it writable",
            ) from exc
        if exc.errno in _FORBIDDEN:
            raise StoreRefusedError(
                f"the store {address} does not permit access to {key}", hint="check owner and mode of its directories"
            ) from exc
        if exc.errno == errno.ENAMETOOLONG:
            raise StoreRefusedError(
                f"a part of the key {key} is too long for the file system of {address}", hint="use an object store"
            ) from exc
        if exc.errno in {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}:
            raise StoreRefusedError(
                f"{key} cannot be an object of {address}: a part of the key is an object already, or it is a directory"
            ) from exc
        raise StoreError(f"{key} in {address} cannot be accessed ({exc.strerror or exc})") from exc


def read_error(path: Path, exc: OSError) -> DiskError:
    """Return the error of a local file that could not be read."""
    return DiskError(f"{path} cannot be read ({exc.strerror or exc})", hint="check that it exists, its owner and mode")


def write_error(path: Path, needed: int, exc: OSError) -> DiskError:
    """Return the error of a local file that could not be written, with the bytes that did not fit."""
    if exc.errno in _FULL:
        return DiskError(
            f"the disk of {path} is full",
            expected=f"{needed} bytes of free space",
            found=_free(path.parent),
            hint="free some space or choose another directory",
        )
    return DiskError(f"{path} cannot be written ({exc.strerror or exc})", hint="check its owner and mode")


def _free(root: Path) -> str:
    import shutil  # noqa: PLC0415 - imports all decoders of archives

    for path in (root, *root.parents):
        with suppress(OSError):
            return f"{shutil.disk_usage(path).free} bytes"
    return "none"


def copy_file(source: Path, target: Path, progress: Progress) -> int:
    """Copy a file's bytes into a new or truncated file; the two share no inode. Return the size in bytes.

    Blocks are shared copy-on-write if the file system supports it, or copied by the kernel if that does.

    Raises:
        OSError: Reading or writing failed.
        StoppedError: The caller was cancelled.
    """
    with source.open("rb", buffering=0) as reader, target.open("wb", buffering=0) as writer:
        size = os.fstat(reader.fileno()).st_size
        if _clone(reader.fileno(), writer.fileno()):
            progress.advance(size)
            return size
        copied = _copy_in_kernel(reader.fileno(), writer.fileno(), progress)
        reader.seek(copied)
        writer.seek(copied)
        while block := reader.read(1 << 20):
            view = memoryview(block)
            while view:
                view = view[writer.write(view) or 0 :]
            copied += len(block)
            progress.advance(len(block))
        return copied


def _clone(source: int, target: int) -> bool:
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as exc:
        if exc.errno in _FULL:
            raise
        return False
    return True


def _copy_in_kernel(source: int, target: int, progress: Progress) -> int:
    """Copy as much as the kernel can copy by itself; return the bytes copied."""
    copied = 0
    if sys.platform != "linux":
        return copied
    while True:
        try:
            count = os.copy_file_range(source, target, BLOCK, copied, copied)
        except OSError as exc:
            if exc.errno in _NOT_COPIED_BY_KERNEL:
                return copied
            raise
        if not count:
            return copied
        copied += count
        progress.advance(count)


def flush(path: Path) -> None:
    """Flush a file or directory to disk.

    Raises:
        OSError: The disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        if exc.errno != errno.EINVAL:  # some network file systems cannot flush a directory
            raise
    finally:
        os.close(descriptor)


def freshen(path: Path) -> None:
    """Give a file a unique modification time, finer than the kernel's tick: it is part of the etag."""
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def make_parents(path: Path, root: Path) -> list[Path]:
    """Create the parent directories of a file, from the root down.

    Returns:
        The directories to flush so that the new entries, the file's own included, survive a crash.

    Raises:
        FileNotFoundError: Another writer removed one of them, empty, in between: try again.
        NotADirectoryError: One of them is a file.
        OSError: The file system refuses.
    """
    changed = [path.parent]
    directory = path.parent
    while not directory.is_dir():
        changed.append(directory.parent)
        if directory in {root, directory.parent}:
            break
        directory = directory.parent
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as exc:
        # also raised for an existing directory that is removed before it is checked
        if any(each.is_file() for each in path.parents):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path.parent)) from exc
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path.parent)) from exc
    return changed


class NoHardLinksError(OSError):
    """The file system cannot make hard links."""


def publish(staged: Path, target: Path, root: Path, *, if_absent: bool) -> list[Path]:
    """Move a finished and flushed file to its final name.

    Args:
        staged: A file in the same file system; gone afterwards.
        target: Final name below `root`.
        root: The store's root.
        if_absent: Refuse to replace an existing file, atomically.

    Returns:
        The directories that changed, for `flush_all`.

    Raises:
        FileExistsError: `if_absent`, and the target exists.
        NoHardLinksError: `if_absent`, and the file system cannot do it atomically.
        OSError: The file system refuses.
    """
    for attempt in range(_PRUNED_MEANWHILE):
        try:
            changed = make_parents(target, root)
            if if_absent:
                _link(staged, target)
                staged.unlink()
            else:
                staged.replace(target)
        except FileNotFoundError:
            # another writer has just removed the empty directory
            if attempt + 1 == _PRUNED_MEANWHILE or not staged.exists():
                raise
            continue
        break
    return changed


def flush_all(directories: list[Path]) -> None:
    """Flush directories, each once; those that were removed meanwhile are skipped."""
    for directory in dict.fromkeys(directories):
        with suppress(FileNotFoundError):
            flush(directory)


def _link(staged: Path, target: Path) -> None:
    try:
        target.hardlink_to(staged)
    except OSError as exc:
        if exc.errno in _NO_HARD_LINKS:
            raise NoHardLinksError(exc.errno, exc.strerror) from exc
        raise


def can_link(directory: Path) -> bool:
    """Return whether a directory's file system has hard links, by creating one."""
    first, second = directory / "link-probe", directory / "link-probe-2"
    try:
        first.touch()
        second.hardlink_to(first)
    except OSError:
        return False
    finally:
        first.unlink(missing_ok=True)
        second.unlink(missing_ok=True)
    return True


def prune(directory: Path, root: Path) -> None:
    """Remove empty directories upwards, except the root: other readers take an empty one for an object."""
    while directory != root and root in directory.parents:
        try:
            directory.rmdir()
        except OSError:
            return
        directory = directory.parent


def remove_abandoned_hashes(target: Path) -> None:
    """Remove empty hash directories beside the one of an archive that was just written (`FILE/HASH/FILE`).

    Other readers move archives out of a local root and leave their directory behind; with two hashes below one file
    name they fail permanently (contract, sections 3.4 and 3.5). A recent one may belong to a writer that is not done
    yet.
    """
    if target.parent.parent.name != target.name:
        return
    with suppress(OSError), os.scandir(target.parent.parent) as entries:
        for entry in entries:
            if entry.name != target.parent.name and time.time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
                with suppress(OSError):
                    Path(entry.path).rmdir()  # fails unless it is an empty directory
