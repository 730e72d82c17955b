"""Locks that consist of a file's existence, as other programs of this cache use them (contract, section 4.3).

Such a lock survives its holder's death. This program writes its host and process id into the file, so that a later run
on the same host can see that the holder is gone; a file without them is another program's and is waited for.

They also work if the file system has no kernel locks, where they protect what must not happen concurrently.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Callable, Iterator

from asynccache.errors import LockTimeoutError
from asynccache.node.kernel_lock import LocksUnsupportedError, take_at, wait


@contextlib.contextmanager
def lock_file(path: str, timeout: float, waiting: Callable[[float], None] | None = None) -> Iterator[None]:
    """Hold a lock file for the length of the block.

    Args:
        path: The file; its directory must exist.
        timeout: Seconds to wait.
        waiting: Called with the seconds waited so far, after one and every half minute after that.

    Raises:
        LockTimeoutError: Another program held it for longer than that.
        OSError: The file cannot be created.
    """

    def attempt() -> int | None:
        for _try in range(2):
            try:
                return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except FileExistsError:
                if not _removed_dead(path):
                    break
        return None

    descriptor = wait(attempt, timeout, waiting)
    if descriptor is None:
        raise LockTimeoutError(
            f"{path} was held by another program for {timeout:g} seconds",
            hint="let it finish; remove the file when no such program runs",
        )
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f"{socket.gethostname()} {os.getpid()}\n")
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _removed_dead(path: str) -> bool:
    """Remove a lock left by a dead process of this program on this host; return whether it is gone.

    If several find it at the same time, one holds the file's kernel lock: otherwise the second could remove what the
    first has created again. Without kernel locks, it is checked right before it is removed.
    """
    try:
        descriptor = take_at(path, lambda: os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if descriptor is None:
            return False  # another process is checking it
    except LocksUnsupportedError:
        descriptor = None
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not _is_dead(path):
            return False
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def _is_dead(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            host, pid = file.read().split()
        if host != socket.gethostname():
            return False
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, ValueError, OverflowError):
        return False  # alive, or being written, or another program's
    return False
