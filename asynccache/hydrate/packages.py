"""The node's extracted packages: each is fetched and extracted once, however many processes want it."""

from __future__ import annotations

import errno
import hashlib
import os
import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.host import Host
from asynccache.engine.pipeline import Arrived, Taker
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError, DiskError, IntegrityError
from asynccache.hydrate.extracted import Extracted, is_trusted, note_use, read_record, write_record
from asynccache.hydrate.obtain import INSTALLABLE, Archives, Obtained, fetched_from
from asynccache.hydrate.owned import is_only_ours, owner_in
from asynccache.hydrate.package_directory import DIRNAME, PackageDirectory
from asynccache.model.digest import Digests
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format
from asynccache.node.disk import disk_errors, remove_below
from asynccache.runtime.tasks import run_together

T = TypeVar("T")

BY_DIGEST: Final = "by-digest"  # packages whose name is taken by other bytes, or by a package of another user
IN_USE: Final = ".in-use.lock"
_NEARLY_DONE: Final = 1 << 62  # precedes every unpacking, so that it does not wait for all packages


class NodePackages:
    """The extracted packages below `cache_dir`, and those of directories that are only read.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store that has them, and upstream.
    """

    def __init__(self, host: Host, sources: Sources) -> None:
        self._host = host
        self._sources = sources
        self._directories = package_directories(host.settings)
        self.directory = self._directories[0]
        self._archives = Archives(host, sources, self._directories)
        self._here: list[tuple[int, bool] | None] = []  # once it is known

    @asynccontextmanager
    async def in_use(self) -> AsyncIterator[None]:
        """Keep packages from being removed by `clean` for the length of the block.

        Raises:
            LockTimeoutError: `clean` has been running for longer than `lock_timeout`.
            DiskError: The directory cannot be made.
        """
        opened: list[int] = []  # filled by a thread that continues if this is cancelled
        try:
            await self._host.threads.run(self._open, opened)
            path = self.directory.path
            async with self._host.workspace.locks.share(opened[0], path / IN_USE, label=f"clean {path}"):
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
                opened.append(
                    os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                )  # a directory that cannot be written is not cleaned

    @property
    def notes(self) -> list[str]:
        """Notes for the user on where packages came from, one sentence each."""
        return self._archives.notes

    async def has_all(self, packages: Sequence[EnvironmentPackage]) -> bool:
        """Return whether all packages are extracted on this node."""
        return await self._host.threads.run(lambda: all(self._find(package) is not None for package in packages))

    async def ensure(self, packages: Sequence[EnvironmentPackage]) -> list[Extracted]:
        """Return extracted packages, in the same order; fetch and extract missing ones.

        Hold `in_use` around this and as long as the directories are used.

        Raises:
            AsyncCacheError: A package cannot be obtained, or the disk is full.
        """
        host = self._host
        found = await host.threads.run(self._look, packages)
        await self._tidy([p for p, e in zip(packages, found, strict=True) if e is not None])
        missing = [n for n, e in enumerate(found) if e is None]
        if missing:
            sizes = dict(zip(missing, await self._archives.look_up([packages[n] for n in missing]), strict=True))
            # what an archive unpacks to is known only afterwards; it is more than the archive
            needed = 2 * sum(sizes.values())
            await host.threads.run(host.workspace.require_free, needed, f"extracting {len(missing)} packages")
            host.emit(events.RunStarted(len(missing), sum(sizes.values())))
            wheels = {place for place, n in enumerate(missing) if packages[n].kind != "conda"}
            missing = [missing[place] for place in asking_order([sizes[n] for n in missing], wheels)]
            fetched_packages = await run_together([self._bring(packages[n]) for n in missing])
            for number, extracted in zip(missing, fetched_packages, strict=True):
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
            for path in _places(directory, package):
                extracted = read_record(path, package)
                if extracted is not None and self._trusts(directory, extracted):
                    return extracted
        return None

    def _trusts(self, directory: PackageDirectory, extracted: Extracted) -> bool:
        """Return whether no other user can have written a package, as far as its file system tells users apart."""
        if is_trusted(extracted, directory.owner):
            return True
        if not self._here:
            self._here.append(owner_in(self.directory.path))
        number, modes = self._here[0] or (os.geteuid(), True)
        return not modes or (number != os.geteuid() and is_trusted(extracted, number))

    async def _tidy(self, packages: Sequence[EnvironmentPackage]) -> None:
        """Remove what a process left that was killed after it had moved a package into place."""
        host = self._host
        there = await host.threads.run(_names_in, host.workspace.path, host.workspace.locks.path)
        for name in {_work_name(package) for package in packages}:
            if (name in there or self._scratch(name).name in there) and not host.workspace.locks.is_held(name):
                async with host.workspace.locks.hold(name):
                    await host.threads.run(remove_below, host.workspace.path, self._scratch(name))

    async def _bring(self, package: EnvironmentPackage) -> Extracted:
        host = self._host
        name = _work_name(package)
        async with host.budgets.in_flight.borrow(), host.workspace.locks.hold(name, label=package.filename):
            there = await host.threads.run(self._find, package)
            if there is not None:
                return there
            scratch = self._scratch(name)
            try:
                await host.threads.run(_emptied, host.workspace.path, scratch)
                obtained = await self._archives.obtain(package, scratch)
                return await self._extract(package, obtained, scratch / "tree")
            finally:
                await host.threads.certainly(remove_below, host.workspace.path, scratch)

    def _scratch(self, name: str) -> Path:
        """Return this user's working directory for a name, which no other user can enter."""
        return self._host.workspace.directory(f"{name}-{os.geteuid()}")

    def taker(self, packages: Iterable[EnvironmentPackage]) -> Taker:
        """Return what extracts packages while an engine fetches them into its store, from the files that it has just
        verified; pass it to `Engine.taking`.

        What cannot be extracted then is left to `ensure`. Hold `in_use` as long as it is used.
        """
        wanted = {address: package for package in packages if (address := fetched_from(package)) is not None}

        async def take(arrived: Arrived) -> bool:
            package = wanted.get(arrived.package.url)
            if package is None or arrived.format not in INSTALLABLE[package.kind]:
                return False
            try:
                return await self._take(package, arrived)
            except AsyncCacheError:
                return False

        return take

    async def _take(self, package: EnvironmentPackage, arrived: Arrived) -> bool:
        host = self._host
        name = _work_name(package)
        async with host.workspace.locks.hold(name, label=package.filename):
            if await host.threads.run(self._find, package) is not None:
                return False
            scratch = self._scratch(name)
            try:
                await host.threads.run(_emptied, host.workspace.path, scratch)
                obtained = Obtained(arrived.path, arrived.format, arrived.digests, str(arrived.package.url))
                unread = package.kind == "conda" and arrived.format == package.url_format
                await self._extract(package, obtained, scratch / "tree", checked=not unread)
            finally:
                await host.threads.certainly(remove_below, host.workspace.path, scratch)
        return unread

    async def _extract(
        self, package: EnvironmentPackage, obtained: Obtained, tree: Path, *, checked: bool = True
    ) -> Extracted:
        host = self._host
        started = host.clock.now()
        unpack = self._conda_unpacked if package.kind == "conda" else self._wheel_unpacked
        hashes = await unpack(obtained, tree, checked=checked)
        async with host.budgets.cpu.borrow(work=_NEARLY_DONE):
            extracted = await host.threads.work(lambda _stop: self._placed(package, obtained, tree, hashes))
        seconds = host.clock.now() - started
        host.emit(events.PackageExtracted(package.filename, obtained.source, extracted.contents.bytes, seconds))
        return extracted

    async def _worked(self, obtained: Obtained, function: Callable[[Callable[[], bool]], T]) -> T:
        async with self._host.budgets.cpu.borrow(work=obtained.format.work(obtained.digests.size)):
            return await self._host.threads.work(function)

    async def _conda_unpacked(self, obtained: Obtained, tree: Path, *, checked: bool = True) -> Digests:
        from asynccache.hydrate.extract import extract_conda  # noqa: PLC0415 - imports all codecs

        host, archive = self._host, obtained.path
        limits, known = host.limits(), obtained.digests
        work = obtained.format.work(known.size)
        several = 2 if obtained.format is Format.TAR_BZ2 else 1

        def unpacked(stop: Callable[[], bool]) -> Digests:
            digests = known if known.md5 and known.sha256 and is_only_ours(archive, host.settings.cache_dir) else None
            return extract_conda(archive, tree, limits=limits, stop=stop, checked=checked, digests=digests, cores=cores)

        with disk_errors(tree):
            async with host.budgets.cpu.borrow_up_to(several, work=work) as cores:
                found = await host.threads.work(unpacked)
        if known.mismatch(found) is not None:
            raise IntegrityError(f"{archive} changed while it was unpacked", hint="run again")
        return found

    async def _wheel_unpacked(self, obtained: Obtained, tree: Path, *, checked: bool = True) -> Digests:
        from asynccache.hydrate.wheel_archive import WheelMember, wheel_parts, write_part  # noqa: PLC0415 - imports a codec

        del checked  # every checksum is compared
        limits = self._host.limits()

        async def write(part: Sequence[WheelMember]) -> None:
            await self._worked(obtained, lambda stop: write_part(obtained.path, part, stop))

        with disk_errors(tree):
            parts = await self._worked(
                obtained, lambda _stop: wheel_parts(obtained.path, tree / "files", limits=limits)
            )
            await run_together([write(part) for part in parts])
        return obtained.digests

    def _placed(self, package: EnvironmentPackage, obtained: Obtained, tree: Path, hashes: Digests) -> Extracted:
        """Record what was unpacked and move it into place: afterwards there is a complete package of this name, or
        none.
        """
        with disk_errors(tree):
            write_record(tree, package, obtained.format, hashes)
            extracted = self._find(package)  # without working locks, another process may have been first
            if extracted is None:
                place, *others = _places(self.directory, package)
                if place.exists():
                    place = next((p for p in others if _is_ours(p)), others[-1])
                    remove_below(self.directory.path, place)  # it cannot be used, or it would have been found
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


def asking_order(sizes: Sequence[int], wheels: Collection[int] = ()) -> list[int]:
    """Return the numbers of packages in the order in which they are fetched.

    Large ones come first, or the last of them would be extracted alone; then wheels, whose large members one core
    unpacks. Packages of like size are in a different order on each node: documents are sorted, so nodes that start
    together would all request one channel's platform first, then the next, while a store has a rate limit for each
    (docs/fleet.md).

    Args:
        sizes: Sizes of the archives, in bytes; 0 if unknown.
        wheels: Numbers of those that are wheels.
    """
    numbers = [*range(len(sizes))]
    random.shuffle(numbers)  # no secret
    return sorted(numbers, key=lambda n: (-sizes[n], n not in wheels))


def package_directories(settings: Settings) -> list[PackageDirectory]:
    """Return the directories of packages on this node, ours first."""
    return [
        PackageDirectory(settings.cache_dir / DIRNAME, settings.lock_timeout),
        *(PackageDirectory(Path(p).expanduser(), settings.lock_timeout, named=True) for p in settings.package_dirs),
    ]


def _work_name(package: EnvironmentPackage) -> str:
    """Return the name of the lock and of the working directory for a package's name."""
    return "x" + hashlib.sha256(f"{package.kind}/{package.filename}".encode()).hexdigest()[:31]


def _names_in(*directories: Path) -> set[str]:
    found: set[str] = set()
    for directory in directories:
        with suppress(OSError):
            found.update(path.name for path in directory.iterdir())
    return found


def _places(directory: PackageDirectory, package: EnvironmentPackage) -> tuple[Path, Path, Path]:
    """Return where a package may be: under its name, under its digest if others have that name, and this user's own."""
    name = package.published_hash or hashlib.sha256(package.url.encode()).hexdigest()[:32]
    return (
        directory.of_kind(package.kind) / package.filename,
        directory.path / BY_DIGEST / name / package.filename,
        directory.path / f"{BY_DIGEST}-{os.geteuid()}" / name / package.filename,
    )


def _is_ours(path: Path) -> bool:
    """Return whether this user can put a package at a path: an existing directory must be the user's."""
    parents = [each for each in (path, path.parent, path.parent.parent) if each.exists()]
    return not parents or (parents[0].stat().st_uid == os.geteuid() and os.access(parents[-1], os.W_OK))


def _emptied(root: Path, path: Path) -> None:
    with disk_errors(path):
        remove_below(root, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
