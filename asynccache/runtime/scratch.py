"""Directories that last as long as a block of code, or as the process that made them.

Each is locked by its process, and the kernel frees the lock of a killed one: so it is known to be dead, and the next
run removes its directory. For other hosts, or without locks, age decides, since not every network file system shares
locks between hosts.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from asynccache.node.disk import disk_errors
from asynccache.node.kernel_lock import LocksUnsupportedError, give_back, take
from asynccache.runtime.late_loop import in_thread, loop_begins

_ATTEMPTS: Final = 16
_NAME: Final = r"(?:.*-)?(?P<host>[^-]+)-\d+-[0-9a-f]{8}"
_EARLIER: Final = "asynccache-bundle-"  # in the system's temporary directory, where earlier versions created bundles


def this_host() -> str:
    """Return this machine's name as it is in the names of directories, without dashes."""
    return socket.gethostname().split(".", 1)[0].replace("-", "_") or "localhost"


class OwnDirectory:
    """A directory that its process locks as long as it lives. Blocking.

    Args:
        parent: Its parent directory; created if missing.
        prefix: Start of its name; the rest is host, process and a random number.
        mode: Its mode.

    Attributes:
        path: The directory.

    Raises:
        OSError: It cannot be created.
    """

    def __init__(self, parent: Path, prefix: str = "", mode: int = 0o700) -> None:
        for _ in range(_ATTEMPTS):
            self.path = parent / f"{prefix}{this_host()}-{os.getpid()}-{os.urandom(4).hex()}"
            try:
                parent.mkdir(parents=True, exist_ok=True)
                self.path.mkdir(mode=mode)
                self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:  # removed between the two steps
                continue
            except FileExistsError:  # also raised for a directory that is removed before it is checked
                if parent.is_file():
                    raise
                continue
            mine = True
            with suppress(LocksUnsupportedError):  # age decides
                mine = take(self._descriptor, str(self.path))
            with suppress(FileNotFoundError):
                if mine and self.path.stat().st_ino == os.fstat(self._descriptor).st_ino:
                    return
            os.close(self._descriptor)
        raise OSError(errno.EBUSY, "a temporary directory is removed again and again", str(parent))

    def close(self) -> None:
        """Remove it with its content."""
        shutil.rmtree(self.path, ignore_errors=True)
        give_back(self._descriptor)


def sweep_dead(parent: Path, unknown_seconds: float, *, prefix: str = "") -> set[str]:
    """Remove the directories of dead processes.

    Args:
        parent: Their parent directory.
        unknown_seconds: Age after which a directory is removed if only its age is known.
        prefix: Only those whose names begin with this.

    Returns:
        Names of this kind that are left.
    """
    left = set()
    try:
        paths = [path for path in parent.iterdir() if path.name.startswith(prefix)]
    except OSError:
        return set()
    for path in paths:
        matched = re.fullmatch(_NAME, path.name)
        if matched is not None:
            with suppress(OSError):
                if not _removed(path, unknown_seconds, locked=matched["host"] == this_host()):
                    left.add(path.name)
    return left


def sweep_temporary(unknown_seconds: float) -> None:
    """Remove what this user's dead processes left in the system's temporary directory.

    Args:
        unknown_seconds: Age after which a directory is removed if only its age is known.
    """
    import tempfile  # noqa: PLC0415 - not needed to look at a store

    parent = Path(tempfile.gettempdir())
    sweep_dead(parent, unknown_seconds, prefix="asynccache-")
    with suppress(OSError):
        for path in parent.glob(f"{_EARLIER}*"):
            with suppress(OSError):
                _removed(path, unknown_seconds, locked=False)


def _removed(path: Path, unknown_seconds: float, *, locked: bool) -> bool:
    """Remove a directory of this user's if its process is dead, or it is old; return whether it is gone."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        dead = time.time() - status.st_mtime > unknown_seconds
        if locked or dead:
            with suppress(LocksUnsupportedError):
                dead = take(descriptor, str(path))
        if dead and status.st_uid in {os.geteuid(), 0}:
            shutil.rmtree(path, ignore_errors=True)
        return dead
    finally:
        give_back(descriptor)


@asynccontextmanager
async def scratch_directory(prefix: str, parent: Path | None = None) -> AsyncIterator[Path]:
    """Create a directory that only this user can read, and remove it with its content when the block ends.

    What a killed process leaves is removed by the next one (`sweep_dead`).

    Args:
        prefix: Start of its name; in the system's temporary directory it begins with `asynccache-`.
        parent: Its parent directory, created if missing; None for the system's temporary directory.

    Raises:
        DiskError: It cannot be created.
    """

    def make() -> OwnDirectory:
        import tempfile  # noqa: PLC0415 - as above

        with disk_errors(parent or tempfile.gettempdir()):
            return OwnDirectory(parent or Path(tempfile.gettempdir()), prefix)

    await loop_begins()
    directory = await in_thread(make)
    try:
        yield directory.path
    finally:
        await asyncio.shield(in_thread(directory.close))
