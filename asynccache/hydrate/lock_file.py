"""Locks that are a file's existence, as other programs of this cache take them (contract, section 4.3).

Such a lock survives its holder's death. This program writes its host and process id into the file, so that a later run
on the same host can tell that the holder is gone; a file without them is another program's and is waited for.
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from asynccache.errors import LockTimeoutError

_POLL: Final = 0.02  # seconds


@contextmanager
def lock_file(path: Path, timeout: float) -> Iterator[None]:
    """Hold a lock file for the length of the block. Blocking: call it in a thread.

    Args:
        path: The file; its directory must exist.
        timeout: Seconds to wait.

    Raises:
        LockTimeoutError: Another program holds it for longer than that.
        OSError: The file cannot be made.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            break
        except FileExistsError:
            if _removed_dead(path):
                continue
            if time.monotonic() >= deadline:
                raise LockTimeoutError(
                    f"{path} was held by another program for {timeout:g} seconds",
                    hint="let it finish; remove the file when no such program runs",
                ) from None
            time.sleep(_POLL)
    try:
        with os.fdopen(file, "w", encoding="ascii") as writer:
            writer.write(f"{socket.gethostname()} {os.getpid()}\n")
        yield
    finally:
        path.unlink(missing_ok=True)


def _removed_dead(path: Path) -> bool:
    """Remove a lock that was left by a process of this host and this program that has ended; tell whether it is gone.

    Of those who find it at the same time one holds the file's kernel lock, and looks again before it removes: else the
    second could remove what the first has made anew.
    """
    try:
        with path.open("r", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.stat().st_ino != os.fstat(file.fileno()).st_ino or not _is_dead(file.read()):
                return False
            path.unlink()
            return True
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False  # another looks at it, or it is being written


def _is_dead(text: str) -> bool:
    host, pid = text.split()
    if host != socket.gethostname():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
