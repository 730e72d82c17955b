"""Which environments are hydrated on this machine, how large they are, and when they were used last. Blocking.

Lists environments in the environments directory, whichever program created them, and prefixes elsewhere that asynccache
created.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from asynccache.config import Settings
from asynccache.hydrate import prefix as places
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID
from asynccache.node.environments import MARKER


@dataclass(frozen=True, slots=True)
class OnDisk(Documented):
    """A hydrated environment.

    Attributes:
        prefix: Its path.
        id: Its ids.
        last_used: Seconds since the epoch.
        bytes: Size of its files.
        own_bytes: Size of the files that nothing else on this machine shares: what removing it would free.
        files: Number of files.
        called: The shortest name that commands accept for it; empty if it was not looked up.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "name",
        "called",
        "prefix",
        "id",
        "bytes",
        "own_bytes",
        "files",
        "last_used_at as last_used",
    )

    prefix: Path
    id: EnvID
    last_used: float
    bytes: int = 0
    own_bytes: int = 0
    files: int = 0
    called: str = ""

    @property
    def name(self) -> str:
        """Directory name."""
        return self.prefix.name

    @property
    def last_used_at(self) -> datetime:
        """When it was used last."""
        return datetime.fromtimestamp(self.last_used, UTC)


def hydrated(settings: Settings, *, sizes: bool = True) -> list[OnDisk]:
    """Return the complete environments of this machine, most recently used first.

    Args:
        settings: All settings.
        sizes: Compute their sizes, which looks at every file.
    """
    found = []
    for prefix in _prefixes(settings):
        env_id = places.read_marker(prefix)
        if env_id is None:
            continue
        with suppress(OSError):
            used = (prefix / MARKER).stat().st_mtime
            found.append(OnDisk(prefix, env_id, used, *(_sizes(prefix) if sizes else (0, 0, 0))))
    return sorted(found, key=lambda e: -e.last_used)


def _prefixes(settings: Settings) -> Iterator[Path]:
    environments = places.environments_directory(settings)
    with suppress(OSError):
        yield from sorted(p for p in environments.iterdir() if not p.name.startswith(".") and p.is_dir())
    with suppress(OSError):
        for entry in sorted((settings.cache_dir / places.REGISTRY).iterdir()):
            prefix = Path(os.fsdecode(entry.read_bytes()))
            if prefix.is_dir():
                yield prefix
            else:
                entry.unlink(missing_ok=True)  # removed by hand


def _sizes(prefix: Path) -> tuple[int, int, int]:
    total = own = count = 0
    seen: set[int] = set()
    pending = [os.fspath(prefix)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                count += 1
                if not stat.S_ISREG(status.st_mode) or status.st_ino in seen:
                    continue
                if status.st_nlink > 1:
                    seen.add(status.st_ino)
                else:
                    own += status.st_size
                total += status.st_size
    return total, own, count
