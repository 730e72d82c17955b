"""The node's working directory: where downloads are written and derived archives are made before they are published.

    <cache_dir>/work/<name>/               one directory per source URL, used under the lock of the same name
    <cache_dir>/work/<what>-<host>-.../    files that only one process needs
    <cache_dir>/locks/<name>               kernel locks

A package's directory survives a killed process on purpose: its partial download is continued by the next run. Abandoned
directories are removed after a day; what only a killed process needed, by the next run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from asynccache.engine.events import EventSink, LocksUnsupported, LockWaited, ignore
from asynccache.errors import DiskError
from asynccache.model.url import PackageURL
from asynccache.node.disk import disk_errors, remove_below
from asynccache.node.kernel_lock import Holder
from asynccache.runtime.locks import LockDirectory, LockObserver
from asynccache.runtime.scratch import OwnDirectory, sweep_dead, sweep_temporary

ABANDONED_AFTER: Final = 24 * 3600.0  # seconds since the last change of a working directory


class _LockEvents(LockObserver):
    """Reports events of a `LockDirectory`.

    Args:
        emit: Called with each event.
    """

    def __init__(self, emit: EventSink) -> None:
        self._emit = emit

    def waiting(self, label: str, holder: Holder, seconds: float) -> None:
        """Report that another process holds a lock."""
        self._emit(LockWaited(label, str(holder), seconds))

    def unsupported(self, directory: str, reason: str) -> None:
        """Report that a directory has no locks."""
        self._emit(LocksUnsupported(directory, reason))


class Workspace:
    """The working directory and its locks. All methods except `name` use the disk: call them in a thread.

    Args:
        cache_dir: The setting `cache_dir`.
        lock_timeout: Seconds to wait for another process's package.
        emit: Called with events about locks.
    """

    def __init__(self, cache_dir: Path, lock_timeout: float = 3600.0, emit: EventSink = ignore) -> None:
        self.path = cache_dir / "work"
        self.cache_dir = cache_dir
        self.locks = LockDirectory(cache_dir / "locks", lock_timeout, observer=_LockEvents(emit))
        self._own = f"-{os.getpid()}-{os.urandom(8).hex()}"
        self._guard = threading.Lock()
        self._passing: OwnDirectory | None = None
        self._passed = 0

    @staticmethod
    def name(url: PackageURL) -> str:
        """Return the name of a URL's lock and directory: 32 hexadecimal digits."""
        return hashlib.sha256(str(url).encode()).hexdigest()[:32]

    def prepare(self, url: PackageURL) -> Path:
        """Create a URL's working directory and return it.

        Raises:
            DiskError: It cannot be created.
        """
        path = self.directory(self.name(url))
        with disk_errors(path):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def directory(self, name: str) -> Path:
        """Return the directory to work in under the lock of a name.

        If locks do not work, it is a directory of this process's own: its unfinished files are neither shared nor
        continued.
        """
        return self.path / (name if self.locks.supported else name + self._own)

    def passing_file(self, name: str) -> Path:
        """Return the path of a file that is read once and removed by the caller, and create its directory.

        If the cache directory cannot be written to, it is among the user's temporary files: reading a store does not
        need that directory.
        """
        import tempfile  # noqa: PLC0415 - most commands do without

        with self._guard:
            self._passed += 1
            if self._passing is None:
                try:
                    self._passing = OwnDirectory(self.path, "passing-")
                except OSError:
                    with disk_errors(tempfile.gettempdir()):
                        self._passing = OwnDirectory(Path(tempfile.gettempdir()), "asynccache-passing-")
            return self._passing.path / f"{self._passed}-{name}"

    def close(self) -> None:
        """Remove this process's own files."""
        with self._guard:
            if self._passing is not None:
                self._passing.close()
                self._passing = None

    def discard(self, url: PackageURL) -> None:
        """Remove a URL's working directory with all that is in it."""
        remove_below(self.path, self.directory(self.name(url)))

    def discard_if_empty(self, url: PackageURL) -> None:
        """Remove a URL's working directory unless its content can be continued."""
        if not self.locks.supported:
            self.discard(url)
        with suppress(OSError):
            self.directory(self.name(url)).rmdir()

    def require_free(self, needed: int, what: str) -> None:
        """Refuse early what cannot fit.

        Raises:
            DiskError: Fewer than `needed` bytes are free.
        """
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.path).free
        if free < needed:
            raise DiskError(
                f"{what} does not fit into {self.path}",
                expected=f"{needed} free bytes",
                found=f"{free}",
                hint="free some space or set cache_dir to a larger disk",
            )

    def sweep(self, older_than: float = ABANDONED_AFTER) -> set[str]:
        """Remove what dead processes left: their own directories, and packages' that were not used for so long.

        A package's directory is kept so long because the next run continues with its content.

        Returns:
            The names of the remaining ones: of killed runs, or in use.
        """
        sweep_temporary(older_than)
        left = sweep_dead(self.path, older_than)
        try:
            entries = list(os.scandir(self.path))
        except OSError:
            return set()
        for entry in entries:
            if entry.name in left:
                continue
            with suppress(OSError):
                if time.time() - entry.stat().st_mtime > older_than and not self.locks.is_held(entry.name):
                    remove_below(self.path, entry.path)
                else:
                    left.add(entry.name)
        return left
