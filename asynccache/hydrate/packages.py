"""The node's extracted packages: each is fetched and extracted once, however many processes want it."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import DiskError
from asynccache.hydrate.extracted import Extracted, note_use, read_record, write_record
from asynccache.hydrate.obtain import Archives, Obtained
from asynccache.hydrate.package_directory import DIRNAME, PackageDirectory
from asynccache.model.environment import EnvironmentPackage
from asynccache.node.disk import disk_errors, remove_below
from asynccache.runtime.tasks import run_together

BY_DIGEST: Final = "by-digest"  # packages whose name is taken by other bytes
IN_USE: Final = ".in-use.lock"


class NodePackages:
    """The extracted packages below `cache_dir`, and those of directories that are only read.

    Args:
        engine: An open engine: its store, budgets, threads and locks are used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        settings = engine.settings
        self.directory = PackageDirectory(settings.cache_dir / DIRNAME, settings.lock_timeout)
        self._directories = [
            self.directory,
            *(PackageDirectory(Path(p).expanduser(), settings.lock_timeout) for p in settings.package_dirs),
        ]
        self._archives = Archives(engine, self._directories)

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """Keep packages from being cleaned away for the length of the block.

        Raises:
            LockTimeoutError: They are being cleaned for longer than `lock_timeout`.
            DiskError: The directory cannot be made.
        """
        opened: list[int] = []  # filled by a thread that goes on when this is cancelled
        try:
            await self._engine.threads.run(self._open, opened)
            path = self.directory.path
            async with self._engine.workspace.locks.share(opened[0], path / IN_USE, label=f"clean {path}"):
                yield
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def _open(self, opened: list[int]) -> None:
        path = self.directory.path
        with disk_errors(path):
            try:
                path.mkdir(parents=True, exist_ok=True)
                opened.append(os.open(path / IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666))
            except OSError as exc:
                if exc.errno not in {errno.EACCES, errno.EROFS, errno.EPERM}:
                    raise
                opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))  # what cannot be written is not cleaned

    async def has_all(self, packages: Sequence[EnvironmentPackage]) -> bool:
        """Tell whether all packages are extracted on this node."""
        return await self._engine.threads.run(lambda: all(self._find(package) is not None for package in packages))

    async def ensure(self, packages: Sequence[EnvironmentPackage]) -> list[Extracted]:
        """Return packages extracted, in the same order; fetch and extract those that are not.

        Hold `in_use` around this and as long as the directories are used.

        Raises:
            AsyncCacheError: One that cannot be had, or a disk that is full.
        """
        engine = self._engine
        found = await engine.threads.run(self._look, packages)
        await self._tidy([p for p, e in zip(packages, found, strict=True) if e is not None])
        missing = [n for n, e in enumerate(found) if e is None]
        if missing:
            sizes = dict(zip(missing, await self._archives.look_up([packages[n] for n in missing]), strict=True))
            # what an archive unpacks to is known only afterwards; it is more than the archive
            needed = 2 * sum(sizes.values())
            await engine.threads.run(engine.workspace.require_free, needed, f"extracting {len(missing)} packages")
            # the large ones first, or the last of them is extracted alone; wheels, since each is extracted by one core
            missing.sort(key=lambda n: (-sizes[n], packages[n].kind == "conda"))
            brought = await run_together([self._bring(packages[n]) for n in missing])
            for number, extracted in zip(missing, brought, strict=True):
                found[number] = extracted
        return [extracted for extracted in found if extracted is not None]

    def _look(self, packages: Sequence[EnvironmentPackage]) -> list[Extracted | None]:
        found = [self._find(package) for package in packages]
        for extracted in found:
            if extracted is not None:
                note_use(extracted)
        return found

    def _find(self, package: EnvironmentPackage) -> Extracted | None:
        for directory in self._directories:
            for path in (directory.of_kind(package.kind) / package.filename, _other_place(directory, package)):
                extracted = read_record(path, package)
                if extracted is not None:
                    return extracted
        return None

    async def _tidy(self, packages: Sequence[EnvironmentPackage]) -> None:
        """Remove what a process left that was killed after it had moved a package into place."""
        engine = self._engine
        there = await engine.threads.run(_names_in, engine.workspace.path, engine.workspace.locks.path)
        for name in {_work_name(package) for package in packages} & there:
            if not engine.workspace.locks.is_held(name):
                async with engine.workspace.locks.hold(name):
                    await engine.threads.run(remove_below, engine.workspace.path, engine.workspace.path / name)

    async def _bring(self, package: EnvironmentPackage) -> Extracted:
        engine = self._engine
        name = _work_name(package)
        async with engine.budgets.in_flight.borrow(), engine.workspace.locks.hold(name, label=package.filename):
            there = await engine.threads.run(self._find, package)
            if there is not None:
                return there
            scratch = engine.workspace.directory(name)
            try:
                await engine.threads.run(_emptied, engine.workspace.path, scratch)
                obtained = await self._archives.obtain(package, scratch)
                return await self._extract(package, obtained, scratch / "tree")
            finally:
                await engine.threads.certainly(remove_below, engine.workspace.path, scratch)

    async def _extract(self, package: EnvironmentPackage, obtained: Obtained, tree: Path) -> Extracted:
        engine = self._engine
        started = engine.clock.now()
        async with engine.budgets.cpu.borrow():
            extracted = await engine.threads.work(lambda stop: self._extracted(package, obtained, tree, stop))
        seconds = engine.clock.now() - started
        engine.emit(events.PackageExtracted(package.filename, obtained.source, extracted.contents.bytes, seconds))
        return extracted

    def _extracted(
        self, package: EnvironmentPackage, obtained: Obtained, tree: Path, stop: Callable[[], bool]
    ) -> Extracted:
        """Unpack, describe and move into place: there is a package of this name afterwards, or nothing."""
        from asynccache.hydrate.extract import extract_conda, extract_wheel  # noqa: PLC0415 - brings all codecs

        limits = self._engine.limits()
        with disk_errors(tree):
            if package.kind == "conda":
                hashes = extract_conda(obtained.path, tree, limits=limits, stop=stop)
            else:
                extract_wheel(obtained.path, tree / "files", stop, limits=limits)
                hashes = {"sha256": obtained.digest}
            write_record(tree, package, obtained.format, hashes)
            extracted = self._find(package)  # where locks keep nobody out, another may have been first
            if extracted is None:
                place = self.directory.of_kind(package.kind) / package.filename
                if place.exists():
                    place = _other_place(self.directory, package)
                    remove_below(self.directory.path, place)  # nobody can use it, or it had been found
                place.parent.mkdir(parents=True, exist_ok=True)
                try:
                    tree.rename(place)
                except OSError:
                    if self._find(package) is None:
                        raise
                extracted = self._find(package)
        if extracted is None:
            raise DiskError(f"{place} was changed while it was made", hint="let nothing but package caches write there")
        return extracted


def _work_name(package: EnvironmentPackage) -> str:
    """Return the name of the lock and of the working directory of everything that has a package's name."""
    return "x" + hashlib.sha256(f"{package.kind}/{package.filename}".encode()).hexdigest()[:31]


def _names_in(*directories: Path) -> set[str]:
    found: set[str] = set()
    for directory in directories:
        with suppress(OSError):
            found.update(path.name for path in directory.iterdir())
    return found


def _other_place(directory: PackageDirectory, package: EnvironmentPackage) -> Path:
    """Return where a package goes whose name is taken by other bytes."""
    name = package.published_hash or hashlib.sha256(package.url.encode()).hexdigest()[:32]
    return directory.path / BY_DIGEST / name / package.filename


def _emptied(root: Path, path: Path) -> None:
    with disk_errors(path):
        remove_below(root, path)
        path.mkdir(parents=True)
