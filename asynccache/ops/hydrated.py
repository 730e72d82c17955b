"""The environments that are hydrated on this machine: which there are, how large, when last used; removing one.

Listed are those of the environments directory, whoever made them, and prefixes elsewhere that this program made. All
functions but `remove_environment` block.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import HydrationError, ObjectNotFoundError
from asynccache.hydrate import prefix as places
from asynccache.model.identity import EnvID


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A hydrated environment.

    Attributes:
        prefix: Where.
        id: Which.
        last_used: Seconds since the epoch.
        bytes: Of its files.
        own_bytes: Of those that nothing else on this machine shares: what removing it would free.
        files: How many it has.
    """

    prefix: Path
    id: EnvID
    last_used: float
    bytes: int = 0
    own_bytes: int = 0
    files: int = 0

    @property
    def name(self) -> str:
        """Directory name."""
        return self.prefix.name

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "name": self.name,
            "prefix": str(self.prefix),
            "req_id": self.id.req_id,
            "full_id": self.id.full_id,
            "arch": self.id.arch,
            "bytes": self.bytes,
            "own_bytes": self.own_bytes,
            "files": self.files,
            "last_used": datetime.fromtimestamp(self.last_used, UTC).isoformat(timespec="seconds"),
        }


def hydrated(settings: Settings, *, sizes: bool = True) -> list[OnDisk]:
    """Return the complete environments of this machine, the last used first.

    Args:
        settings: All settings.
        sizes: Look at every file to say how large they are.
    """
    found = []
    for prefix in _prefixes(settings):
        env_id = places.read_marker(prefix)
        if env_id is None:
            continue
        with suppress(OSError):
            used = (prefix / places.MARKER).stat().st_mtime
            found.append(OnDisk(prefix, env_id, used, *(_sizes(prefix) if sizes else (0, 0, 0))))
    return sorted(found, key=lambda e: -e.last_used)


def find_hydrated(settings: Settings, text: str) -> Path | None:
    """Return the prefix of a complete environment by its name or its path, None when there is none."""
    path = Path(text).expanduser()
    candidates = [path.absolute()] if "/" in text else [places.environments_directory(settings) / text]
    return next((p for p in candidates if places.read_marker(p) is not None), None)


async def remove_environment(engine: Engine, text: str, *, force: bool = False) -> Path:
    """Remove a hydrated environment; waits for a process that makes it.

    Args:
        engine: An open engine: its locks are used.
        text: Name or path.
        force: Also when a process runs out of it.

    Raises:
        ObjectNotFoundError: There is none.
        HydrationError: It is in use.
        LockTimeoutError: Another process holds it.
        DiskError: It cannot be removed.
    """
    settings = engine.settings
    prefix = await engine.threads.run(find_hydrated, settings, text)
    if prefix is None:
        raise ObjectNotFoundError(f"no environment {text} is on this machine", hint="`asynccache envs` lists them")
    name = places.lock_name(prefix)
    async with engine.workspace.locks.hold(name, label=f"the environment {prefix}"):
        users = await engine.threads.run(users_of, prefix)
        if users and not force:
            raise HydrationError(
                f"{prefix} is in use by process {', '.join(map(str, users))}", hint="end it, or use --force"
            )
        await engine.threads.run(_remove, settings, prefix)
    return prefix


def _remove(settings: Settings, prefix: Path) -> None:
    environments = places.environments_directory(settings)
    with places.creation_lock(prefix.parent, environments, settings.lock_timeout):
        (prefix / places.MARKER).unlink(missing_ok=True)  # from here on it is incomplete
        places.remove(prefix)
    (settings.cache_dir / places.REGISTRY / places.lock_name(prefix)).unlink(missing_ok=True)


def users_of(prefix: Path) -> list[int]:
    """Return the processes that run a program of an environment, as far as this user can see them (Linux only)."""
    found = []
    start = os.fspath(prefix) + os.sep
    for entry in _processes():
        with suppress(OSError):
            if os.readlink(f"/proc/{entry}/exe").startswith(start):  # noqa: PTH115 - a link to nowhere in particular
                found.append(int(entry))
    return found


def _processes() -> Iterator[str]:
    with suppress(OSError):
        yield from (name for name in os.listdir("/proc") if name.isdigit())  # noqa: PTH208 - only names


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
