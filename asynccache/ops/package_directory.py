"""The node's directory of archives, as conda programs and Metaflow's environments share it (contract, section 4.2).

    <pkgs>/<filename>.conda | .tar.bz2       conda archives
    <pkgs>/pypi/<filename>.whl | .tar.gz     wheels and sources
    <pkgs>/urls.txt                          where conda archives came from, one address per line
    <pkgs>/mf_pkgs-update.lock               held while the directory is changed (contract, section 4.3)

All functions block: call them in a thread.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from asynccache.engine.workspace import disk_errors
from asynccache.errors import LockTimeoutError
from asynccache.model.package import Format

LOCK: Final = "mf_pkgs-update.lock"
URLS: Final = "urls.txt"
_POLL: Final = 0.05  # seconds


class PackageDirectory:
    """The directory.

    Args:
        path: Where it is; made when something is added.
        lock_timeout: Seconds to wait for another program that changes it.
    """

    def __init__(self, path: Path, lock_timeout: float = 3600.0) -> None:
        self.path = path
        self._lock_timeout = lock_timeout

    def archive(self, filename: str, fmt: Format) -> Path:
        """Return where an archive lies, by its name without extension."""
        directory = self.path if fmt.kind == "conda" else self.path / "pypi"
        return directory / (filename + fmt)

    def take(self, files: Iterable[tuple[Path, Path]], addresses: Iterable[str]) -> None:
        """Move finished files into place and note where conda archives came from.

        Args:
            files: (file in the same file system, its place) pairs; what is there is replaced.
            addresses: For `urls.txt`; what stands in it is not repeated.

        Raises:
            LockTimeoutError: Another program holds the directory for too long.
            DiskError: It cannot be written.
        """
        with disk_errors(self.path), self._locked():
            for source, target in files:
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
            urls = self.path / URLS
            known = urls.read_text("utf-8").splitlines() if urls.exists() else []
            new = [a for a in dict.fromkeys(addresses) if a not in set(known)]
            if new:
                with urls.open("a", encoding="utf-8") as file:
                    file.write("".join(f"{address}\n" for address in new))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.mkdir(parents=True, exist_ok=True)
        lock = self.path / LOCK
        deadline = time.monotonic() + self._lock_timeout
        mine = f"{socket.gethostname()} {os.getpid()}\n"
        while True:
            try:
                file = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                break
            except FileExistsError:
                if _is_dead(lock):
                    lock.unlink(missing_ok=True)
                    continue
                if time.monotonic() >= deadline:
                    raise LockTimeoutError(
                        f"{lock} was held by another program for {self._lock_timeout:g} seconds",
                        hint="let it finish; remove the file when no such program runs",
                    ) from None
                time.sleep(_POLL)
        try:
            with os.fdopen(file, "w", encoding="ascii") as writer:
                writer.write(mine)
            yield
        finally:
            lock.unlink(missing_ok=True)


def _is_dead(lock: Path) -> bool:
    """Tell whether a lock was left by a process of this host and this program that has ended."""
    try:
        host, pid = lock.read_text("ascii").split()
        if host != socket.gethostname():
            return False
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, ValueError):
        return False  # gone, not ours, or being written
    return False
