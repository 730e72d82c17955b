"""The node's directory of packages, as conda programs and Metaflow's environments share it (contract, section 4.2).

    <pkgs>/<filename>.conda | .tar.bz2       conda archives
    <pkgs>/<filename>/                       extracted conda packages
    <pkgs>/pypi/<filename>.whl | .tar.gz     wheels and sources
    <pkgs>/pypi/<filename>/                  extracted wheels
    <pkgs>/urls.txt                          where conda archives came from, one address per line
    <pkgs>/mf_pkgs-update.lock               held while archives are added or packages removed (contract, section 4.3)

All functions block: call them in a thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from asynccache.model.package import Format, Kind
from asynccache.node.disk import disk_errors
from asynccache.node.lock_file import lock_file

DIRNAME: Final = "pkgs"
LOCK: Final = "mf_pkgs-update.lock"
URLS: Final = "urls.txt"


class PackageDirectory:
    """The directory.

    Args:
        path: Its path; created when something is added.
        lock_timeout: Seconds to wait for another program that is changing it.
        named: Whether a setting names it as a directory to read from; packages of its owner are then used.
    """

    def __init__(self, path: Path, lock_timeout: float = 3600.0, *, named: bool = False) -> None:
        self.path = path
        self._lock_timeout = lock_timeout
        self._named = named

    @property
    def owner(self) -> int | None:
        """Id of a user whose extracted packages are used besides those of this user and of root."""
        with suppress(OSError):
            return self.path.stat().st_uid if self._named else None
        return None

    def archive(self, filename: str, fmt: Format) -> Path:
        """Return the path of an archive, by its name without extension."""
        return self.of_kind(fmt.kind) / (filename + fmt)

    def of_kind(self, kind: Kind) -> Path:
        """Return the directory of packages of a kind."""
        return self.path if kind == "conda" else self.path / "pypi"

    def take(self, files: Iterable[tuple[Path, Path]], addresses: Iterable[str]) -> None:
        """Move finished files into place and record where conda archives came from.

        Args:
            files: (file in the same file system, its destination) pairs; existing files are replaced.
            addresses: Addresses for `urls.txt`; existing ones are not repeated.

        Raises:
            LockTimeoutError: Another program has been holding the directory for too long.
            DiskError: It cannot be written.
        """
        with self.locked():
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
    def locked(self) -> Iterator[None]:
        """Keep other programs from changing the directory.

        Raises:
            LockTimeoutError: Another program has been holding it for too long.
            DiskError: It cannot be written.
        """
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            with lock_file(str(self.path / LOCK), self._lock_timeout):
                yield
