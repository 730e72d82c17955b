"""Freeing disk space on this machine: environments by their last use, then packages that no environment shares.

An environment that a process runs out of is left alone, and so is a prefix outside the environments directory. Packages
are removed while no process hydrates: running ones are waited for, and new ones wait.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import ClassVar

from asynccache.config import Settings
from asynccache.engine.workspace import Workspace
from asynccache.errors import AsyncCacheError, LockTimeoutError, PartialFailureError
from asynccache.hydrate import prefix as places
from asynccache.hydrate.package_directory import DIRNAME, PackageDirectory
from asynccache.hydrate.packages import BY_DIGEST, IN_USE
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.package import Format
from asynccache.node.building import sweep
from asynccache.node.disk import disk_errors, remove_below
from asynccache.node.kernel_lock import give_back, take, wait
from asynccache.ops.hydrated import remove_environment, users_of
from asynccache.ops.on_disk import OnDisk, hydrated
from asynccache.runtime.late_loop import in_thread


@dataclass(frozen=True, slots=True)
class Removal(Documented):
    """Something that was removed, or would be.

    Attributes:
        kind: `environment`, `package`, `archive` or `leftover`.
        path: The path.
        bytes: Bytes that this frees.
        last_used: Seconds since the epoch; 0 if unknown.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("kind", "path", "bytes", "last_used_at as last_used")

    kind: str
    path: Path
    bytes: int
    last_used: float

    @property
    def last_used_at(self) -> datetime | None:
        """When it was used last; None if unknown."""
        return datetime.fromtimestamp(self.last_used, UTC) if self.last_used else None


@dataclass(slots=True)
class Cleaned(Documented):
    """What cleaning did.

    Attributes:
        removed: In order.
        kept_bytes: Bytes of environments' own files, packages and archives that are left.
        failed: What could not be removed, and why.
        dry_run: Whether nothing was removed.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("dry_run", "removed", "freed_bytes", "kept_bytes", "failed")

    removed: list[Removal] = field(default_factory=list)
    kept_bytes: int = 0
    failed: dict[str, AsyncCacheError] = field(default_factory=dict)
    dry_run: bool = False

    @property
    def freed_bytes(self) -> int:
        """Bytes that removing frees."""
        return sum(item.bytes for item in self.removed)

    def raise_for_failures(self) -> None:
        """Raise when an environment could not be removed.

        Raises:
            PartialFailureError: Why, by prefix.
        """
        if self.failed:
            raise PartialFailureError(f"{len(self.failed)} environments could not be removed", self.failed)


async def clean(
    settings: Settings,
    *,
    older_than: float | None = None,
    keep_bytes: int | None = None,
    keep: Collection[Path] = (),
    dry_run: bool = False,
) -> Cleaned:
    """Remove what was not used for long, or the least recently used until the rest is small enough.

    Args:
        settings: All settings.
        older_than: Seconds since the last use; None for no such limit.
        keep_bytes: Bytes that may be left; None for no such limit.
        keep: Prefixes to keep whenever they were used.
        dry_run: Remove nothing. Packages that only removed environments share are not counted then.

    Raises:
        LockTimeoutError: Other processes hydrate for longer than `lock_timeout`.
        DiskError: The package directory cannot be written or locked.
    """
    done = Cleaned(dry_run=dry_run)
    due = partial(_is_due, cutoff=time.time() - older_than if older_than is not None else None, keep_bytes=keep_bytes)
    run = in_thread
    workspace = Workspace(settings.cache_dir, settings.lock_timeout)
    environments = await run(hydrated, settings)
    packages = await run(_packages, settings.cache_dir / DIRNAME)
    total = sum(e.own_bytes for e in environments) + sum(p.bytes for p in packages)
    chosen: list[OnDisk] = []
    for environment in sorted(environments, key=lambda e: e.last_used):
        ours = environment.prefix.parent == places.environments_directory(settings) and environment.prefix not in keep
        if ours and due(environment.last_used, total) and not await run(users_of, environment.prefix):
            chosen.append(environment)
            total -= environment.own_bytes
    for environment in chosen:
        removal = Removal("environment", environment.prefix, environment.own_bytes, environment.last_used)
        try:
            if not dry_run:
                await remove_environment(settings, environment.prefix)
            done.removed.append(removal)
        except AsyncCacheError as exc:
            done.failed[str(environment.prefix)] = exc
    await run(_clean_packages, settings, workspace.path, done, due, total)
    if not dry_run:
        left = await run(sweep, str(places.environments_directory(settings)))
        done.removed += [Removal("leftover", Path(path), 0, 0.0) for path in left]
        await run(workspace.sweep)
    return done


def _is_due(last_used: float, total: int, *, cutoff: float | None, keep_bytes: int | None) -> bool:
    return (cutoff is not None and last_used < cutoff) or (keep_bytes is not None and total > keep_bytes)


def _clean_packages(
    settings: Settings, work: Path, done: Cleaned, due: Callable[[float, int], bool], total: int
) -> None:
    directory = PackageDirectory(settings.cache_dir / DIRNAME, settings.lock_timeout)
    if not directory.path.is_dir():
        done.kept_bytes = total
        return
    with _alone(directory.path, settings.lock_timeout), directory.locked():
        for item in sorted(_packages(directory.path), key=lambda p: p.last_used):
            if item.kind == "shared" or not due(item.last_used, total):
                continue
            if not done.dry_run:
                with disk_errors(item.path):
                    _remove(item.path, work)
            total -= item.bytes
            done.removed.append(item)
    done.kept_bytes = total


def _remove(path: Path, work: Path) -> None:
    """Remove a package so that it is never seen half removed."""
    if not path.is_dir():
        path.unlink()
        return
    work.mkdir(parents=True, exist_ok=True)
    removed = work / f"removed-{os.getpid()}-{path.name}"
    remove_below(work, removed)
    path.rename(removed)
    remove_below(work, removed)


@contextmanager
def _alone(directory: Path, timeout: float) -> Iterator[None]:
    """Wait until no process uses the packages, and keep others from starting, for the length of the block.

    Raises:
        LocksUnsupportedError: The file system has no locks: other processes may be linking what would be removed.
    """
    path = directory / IN_USE
    with disk_errors(directory):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        if not wait(lambda: take(descriptor, str(path)), timeout):
            raise LockTimeoutError(
                f"waited {timeout:g} seconds for other processes to use the packages in {directory}",
                hint="clean when nothing hydrates",
            )
        yield
    finally:
        give_back(descriptor)


def _packages(directory: Path) -> list[Removal]:
    """Return what is in the package directory; the kind of a package that an environment shares is `shared`."""
    found = []
    by_digest = [path for path in _directories(directory) if path.name.startswith(BY_DIGEST)]
    places_of_packages = [directory, directory / "pypi", *(p for each in by_digest for p in _directories(each))]
    for place in places_of_packages:
        for path in _entries(place):
            if path.is_dir() and not path.is_symlink() and _is_package(path):
                size, linked = _looked_at(path)
                records = (path / "info" / "asynccache.json", path / "record.json", path / "info/repodata_record.json")
                used = next((r for r in records if r.exists()), path).stat().st_mtime
                found.append(Removal("shared" if linked else "package", path, size, used))
            elif path.is_file() and path.name.endswith(tuple(Format)):
                status = path.stat()
                found.append(Removal("archive", path, status.st_size, max(status.st_mtime, status.st_atime)))
    return found


def _is_package(path: Path) -> bool:
    return (path / "info" / "index.json").exists() or (path / "record.json").exists()


def _entries(directory: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(p for p in directory.iterdir() if not p.name.startswith("."))
    return []


def _directories(directory: Path) -> list[Path]:
    return [p for p in _entries(directory) if p.is_dir()]


def _looked_at(directory: Path) -> tuple[int, bool]:
    """Return a package's bytes, and whether one of its files has another hard link."""
    size = 0
    names: dict[int, tuple[int, int]] = {}
    for path, _directories_below, files in os.walk(directory):
        for name in files:
            status = os.lstat(os.path.join(path, name))  # noqa: PTH118 - thousands of them
            if stat.S_ISREG(status.st_mode):
                links, seen = names.get(status.st_ino, (status.st_nlink, 0))
                names[status.st_ino] = (links, seen + 1)
                size += 0 if seen else status.st_size
    return size, any(links > seen for links, seen in names.values())
