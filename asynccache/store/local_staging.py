"""Where files of a local store are written before they become visible, and the lock that makes compare-and-swap atomic.

    <root>/.asynccache-tmp/<host>-<pid>-<random>/     one directory per process, locked by it as long as it lives

The kernel frees the lock of a killed process, so its directory is known to be abandoned, and the next process to open
the store removes it. Directories of other hosts, or without locks, are kept for a week, since not every network file
system shares locks between hosts. Blocking.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from asynccache.errors import LockTimeoutError
from asynccache.node.kernel_lock import LocksUnsupportedError, give_back, take, wait
from asynccache.node.lock_file import lock_file
from asynccache.runtime.scratch import OwnDirectory, sweep_dead

HIDDEN: Final = ".asynccache-tmp"
LOCK_SECONDS: Final = 60.0  # holders only rename, so waiting longer means that one hangs
_UNKNOWN_SECONDS: Final = 7 * 24 * 3600.0
_ATTEMPTS: Final = 16
_LOCK: Final = "lock"  # if there are no kernel locks


class Staging:
    """A process's own directory in a store; created on first use.

    Args:
        root: The store's root.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._hidden = root / HIDDEN
        self._guard = threading.Lock()
        self._own: OwnDirectory | None = None
        self._count = 0

    def new(self) -> Path:
        """Return a unique path for a file; the caller creates and removes it.

        Raises:
            OSError: The directory cannot be made.
        """
        with self._guard:
            directory = self._made()
            self._count += 1
            return directory / str(self._count)

    @property
    def directory(self) -> Path:
        """This process's directory."""
        with self._guard:
            return self._made()

    def _made(self) -> Path:
        if self._own is None:
            self._own = OwnDirectory(self._hidden, mode=0o777)
        return self._own.path

    def close(self) -> None:
        """Remove this process's directory."""
        with self._guard:
            if self._own is None:
                return
            self._own.close()
            self._own = None
            with suppress(OSError):
                self._hidden.rmdir()

    def sweep(self) -> None:
        """Remove what dead processes left."""
        sweep_dead(self._hidden, _UNKNOWN_SECONDS)
        with suppress(OSError):
            self._hidden.rmdir()


@contextmanager
def root_lock(root: Path, address: str) -> Iterator[None]:
    """Hold the store's lock: one holder among all threads and processes of all hosts that share locks.

    If the file system has no kernel locks, a lock file in the hidden directory is used.

    Raises:
        LockTimeoutError: Another process held it for longer than `LOCK_SECONDS`.
        OSError: The root cannot be opened.
    """
    with ExitStack() as stack:
        descriptor = os.open(root, os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(give_back, descriptor)
        try:
            free = wait(lambda: take(descriptor, str(root)), LOCK_SECONDS)
        except LocksUnsupportedError:
            for _ in range(_ATTEMPTS):
                with suppress(FileNotFoundError, FileExistsError):  # removed between two steps
                    (root / HIDDEN).mkdir(exist_ok=True)
                    stack.enter_context(lock_file(str(root / HIDDEN / _LOCK), LOCK_SECONDS))
                    break
        else:
            if not free:
                raise LockTimeoutError(
                    f"the store {address} is locked by another process for more than {LOCK_SECONDS:g} seconds",
                    hint="see who has the directory open (`lsof`), and try again",
                )
        yield
