"""Where a package's archive comes from: this node, the store in any form that can be installed, then upstream.

Nothing is used before its digest was compared. What the store holds damaged, or what is not the archive that the
document names, is left where it is, and the next source is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import (
    AsyncCacheError,
    FetchError,
    FetchRefusedError,
    IntegrityError,
    ObjectNotFoundError,
    UsageError,
)
from asynccache.hydrate.package_directory import PackageDirectory
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, digest_file
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import KEY_ALGORITHM, Format, Kind
from asynccache.model.url import PackageURL, redacted
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, not_found
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, NotWanted, Whole

# what can be installed as it is; the form that unpacks faster first
INSTALLABLE: Final[dict[Kind, tuple[Format, ...]]] = {"conda": (Format.CONDA, Format.TAR_BZ2), "pypi": (Format.WHEEL,)}


@dataclass(frozen=True, slots=True)
class Obtained:
    """A verified archive on this node.

    Attributes:
        path: The file.
        format: Its form.
        digest: md5 (conda) or sha256 (PyPI) of it.
        source: Where it came from, without credentials.
    """

    path: Path
    format: Format
    digest: str
    source: str


class Archives:
    """Brings archives to this node.

    Args:
        engine: An open engine.
        directories: Directories of packages on this node, in the order in which they are searched.
    """

    def __init__(self, engine: Engine, directories: Sequence[PackageDirectory]) -> None:
        self._engine = engine
        self._directories = directories

    async def look_up(self, packages: Sequence[EnvironmentPackage]) -> list[int]:
        """Find out what the store has of packages, where documents do not say it or asking costs nothing.

        Returns:
            Bytes of each one's archive, in the same order; 0 where it is not known.

        Raises:
            StoreError: The store cannot be listed.
        """
        engine = self._engine
        asked = [p for p in packages if not engine.store.lists_by_page or not _recorded(p)]
        await engine.inventory.load([url for p in asked if (url := _address(p)) is not None])
        return [next((o.size for o in self._objects(p)), 0) for p in packages]

    async def obtain(self, package: EnvironmentPackage, scratch: Path) -> Obtained:
        """Return a verified archive of a package.

        Args:
            package: Which.
            scratch: Existing directory for files that are not on this node yet; the caller removes it.

        Raises:
            IntegrityError: The only source has other bytes: names the object, what was expected and what was found.
            FetchError: No source has the package; names each source and why.
            StoreError: The store cannot be reached.
            DiskError: The disk is full.
        """
        here = await self._here(package)
        if here is not None:
            return here
        failures: list[AsyncCacheError] = []
        tried: set[str] = set()
        for found in (self._objects(package), None):
            for item in await self._listed(package) if found is None else found:
                if item.key in tried:
                    continue
                tried.add(item.key)
                try:
                    return await self._from_store(package, item, scratch)
                except (IntegrityError, ObjectNotFoundError) as exc:
                    failures.append(exc)
        try:
            return await self._from_upstream(package, scratch)
        except (FetchError, IntegrityError) as exc:
            failures.append(exc)
        damaged = next((f for f in failures if isinstance(f, IntegrityError)), None)
        if damaged is not None:
            others = "; ".join(str(f) for f in failures if f is not damaged)
            damaged.hint = f"{damaged.hint}; no other source has it: {others}" if others else damaged.hint
            raise damaged
        if len(failures) == 1:
            raise failures[0]
        raise FetchError(
            f"{package.filename} could not be had from any of its {len(failures)} sources: "
            + "; ".join(str(failure) for failure in failures)
        )

    async def _here(self, package: EnvironmentPackage) -> Obtained | None:
        """Take an archive that lies on this node and whose digest is known and right."""
        for fmt in INSTALLABLE[package.kind]:
            recorded = self._recorded(package, fmt)
            expected = package.digests_of(fmt) or (recorded.digests if recorded is not None else Digests())
            digest = expected.get(KEY_ALGORITHM[package.kind])
            for directory in self._directories if digest else ():
                path = directory.archive(package.filename, fmt)
                if path.is_file() and await self._difference(path, expected) is None:
                    return Obtained(path, fmt, digest or "", str(directory.path))
        return None

    def _objects(self, package: EnvironmentPackage) -> list[StoredArchive]:
        """Return what the store has as far as that is known, the form that is best first; of two archives of one form
        the one that the document names.
        """
        listed = {a.format: a for a in self._known(package)}
        found: dict[str, StoredArchive] = {}
        for fmt in INSTALLABLE[package.kind]:
            named = package.hashes.get(fmt)
            both = [a for a in (listed.get(fmt), self._recorded(package, fmt)) if a is not None]
            for archive in sorted(both, key=lambda a: named not in {None, a.hash}):
                if archive.digests or named:
                    found.setdefault(archive.key, archive)
        return list(found.values())

    def _recorded(self, package: EnvironmentPackage, fmt: Format) -> StoredArchive | None:
        key, dirname = package.cached.get(fmt), self._engine.settings.packages_dirname
        return StoredArchive.recorded(ObjectInfo(key, 0), package.filename, fmt, dirname) if key else None

    def _known(self, package: EnvironmentPackage) -> list[StoredArchive]:
        url = _address(package)
        try:
            found = self._engine.inventory.found(url) if url is not None else ()
        except KeyError:
            return []
        return [a for a in found if a.stem == package.filename]

    async def _listed(self, package: EnvironmentPackage) -> list[StoredArchive]:
        """Ask the store what lies below the package's address, whatever the document records."""
        engine = self._engine
        if package.downloadable:
            url = _address(package)
            if url is None:
                return []
            await engine.inventory.refresh(url)
            return self._objects(package)
        try:
            address = layout.SourceAddress.parse(package.url, package.kind, real=False)
        except UsageError:
            return []
        dirname = engine.settings.packages_dirname
        found = [StoredArchive.listed(i, dirname) async for i in engine.store.scan(address.directory(dirname) + "/")]
        return [
            a for a in found if a is not None and a.stem == package.filename and a.format in INSTALLABLE[package.kind]
        ]

    async def _from_store(self, package: EnvironmentPackage, archive: StoredArchive, scratch: Path) -> Obtained:
        engine, store = self._engine, self._engine.store
        path = scratch / (package.filename + archive.format)

        def moved(count: int) -> None:
            engine.emit(events.BytesMoved("fetch", path.name, count))

        engine.emit(events.PhaseStarted("fetch", path.name, archive.size or None))
        started = engine.clock.now()
        try:
            reading = await engine.reader.read(archive, path, wanted=package.digests_of(archive.format), moved=moved)
        finally:
            engine.emit(events.PhaseEnded("fetch", path.name, engine.clock.now() - started))
        match reading:
            case Whole(digests):
                engine.emit(events.Fetched(path.name, store.address, digests.size or 0, 0))
                digest = digests.get(KEY_ALGORITHM[package.kind]) or ""
                return Obtained(path, archive.format, digest, store.address)
            case Damaged() | NotWanted():
                raise reading.error(store.address)
            case Absent():
                raise not_found(store.address, archive.key)

    async def _from_upstream(self, package: EnvironmentPackage, scratch: Path) -> Obtained:
        fmt = package.url_format
        if not package.downloadable or fmt not in INSTALLABLE[package.kind]:
            raise FetchRefusedError(
                f"{package.filename} is not in the store as {' or '.join(INSTALLABLE[package.kind])} and was built from"
                f" {redacted(package.url)}",
                hint="resolve the environment again where it can be built",
            )
        wanted = package.to_package()
        path = scratch / wanted.filename
        result = await self._engine.fetcher.fetch(wanted, path)
        self._engine.emit(events.Fetched(path.name, result.source, result.digests.size or 0, result.resumed_from))
        return Obtained(path, Format(fmt), result.digests.get(KEY_ALGORITHM[package.kind]) or "", result.source)

    async def _difference(self, path: Path, expected: Digests) -> tuple[str, object, object] | None:
        async with self._engine.budgets.cpu.borrow():
            return expected.mismatch(await self._engine.threads.work(_digesting(path, expected)))


def _digesting(path: Path, expected: Digests) -> Callable[[object], Digests]:
    return lambda _stop: digest_file(str(path), *expected.algorithms())


def _address(package: EnvironmentPackage) -> PackageURL | None:
    """Return where a package is published, None where that cannot be."""
    try:
        return package.to_package().url if package.downloadable else None
    except UsageError:
        return None


def _recorded(package: EnvironmentPackage) -> bool:
    return any(fmt in package.cached for fmt in INSTALLABLE[package.kind])
