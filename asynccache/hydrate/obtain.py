"""Where a package's archive comes from: this node, the store in any format that can be installed, then upstream.

Nothing is used before its digest is compared, and no derived archive is used unless it is vouched for
(`engine/derived.py`). A damaged archive in the store, or one that is not the archive that the document names, is left
where it is, and the next source is tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from asynccache.engine.derived import is_derived, published_digests, unvouched
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
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

# what can be installed as it is; the format that unpacks faster first
INSTALLABLE: Final[dict[Kind, tuple[Format, ...]]] = {"conda": (Format.CONDA, Format.TAR_BZ2), "pypi": (Format.WHEEL,)}


@dataclass(frozen=True, slots=True)
class Obtained:
    """A verified archive on this node.

    Attributes:
        path: The file.
        format: Its format.
        digests: Its known digests; the one used in keys of its kind if the document has it.
        source: Its origin, without credentials.
    """

    path: Path
    format: Format
    digests: Digests
    source: str


class Archives:
    """Fetches archives to this node.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and upstream.
        directories: Directories of packages on this node, in the order in which they are searched.
    """

    def __init__(self, host: Host, sources: Sources, directories: Sequence[PackageDirectory]) -> None:
        self._host = host
        self._sources = sources
        self._directories = directories
        self._passed_over: dict[str, StoredArchive] = {}  # by address of the package
        self._as_published: set[str] = set()

    @property
    def notes(self) -> list[str]:
        """Notes for the user, one sentence each."""
        count = len(self._as_published)
        if not count:
            return []
        which = "1 package was" if count == 1 else f"{count} packages were"
        why = "nobody vouches for the other format that the store has; `asynccache warm` compares it"
        return [f"{which} taken as published: {why}"]

    async def look_up(self, packages: Sequence[EnvironmentPackage]) -> list[int]:
        """Find out what the store has of packages, if documents do not say or the request costs nothing.

        Returns:
            Size of each package's archive, in the same order; 0 if unknown.

        Raises:
            StoreError: The store cannot be listed.
        """
        sources = self._sources
        await sources.derived.load()
        asked = [p for p in packages if not sources.store.lists_by_page or not self._is_recorded(p)]
        await sources.inventory.load([url for p in asked if (url := fetched_from(p)) is not None])
        return [next((o.size for o in self._objects(p)), 0) for p in packages]

    async def obtain(self, package: EnvironmentPackage, scratch: Path) -> Obtained:
        """Return a verified archive of a package.

        Args:
            package: The package.
            scratch: Existing directory for downloaded files; the caller removes it.

        Raises:
            IntegrityError: The only source has other bytes; the message names the object, what was expected and what
                was found.
            FetchError: No source has the package; the message names each source and why.
            StoreError: The store cannot be reached.
            DiskError: The disk is full.
        """
        await self._sources.derived.load()
        obtained = await self._on_node(package)
        if obtained is None:
            obtained = await self._fetched(package, scratch)
            if package.url in self._passed_over and obtained.format == package.url_format:
                self._as_published.add(package.url)
        await self._put_back(package, obtained)
        return obtained

    async def _put_back(self, package: EnvironmentPackage, obtained: Obtained) -> None:
        """Put back into a local store what another program has moved out of it for its own use.

        That program leaves the empty hash directory, which it takes for the archive. If there is none, the document
        belongs to another store.
        """
        store, key = self._sources.store, package.cached.get(obtained.format)
        if not store.root.is_directory or key is None or obtained.source == store.address:
            return
        if key.split("/")[-2] != obtained.digests.get(KEY_ALGORITHM[package.kind]):
            return
        place = store.root.directory / key
        if await self._host.threads.run(lambda: place.parent.is_dir() and not place.exists()):
            with suppress(AsyncCacheError):  # a user who may not write to it can still create the environment
                await store.upload(key, obtained.path, obtained.digests)

    async def _fetched(self, package: EnvironmentPackage, scratch: Path) -> Obtained:
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
            passed_over = self._passed_over.get(package.url)
            if passed_over is not None and isinstance(exc, FetchRefusedError):
                failures.append(unvouched(passed_over, self._sources.store.address, exc))
            else:
                failures.append(exc)
        damaged = next((f for f in failures if isinstance(f, IntegrityError)), None)
        if damaged is not None:
            others = "; ".join(str(f) for f in failures if f is not damaged)
            damaged.hint = f"{damaged.hint}; no other source has it: {others}" if others else damaged.hint
            raise damaged
        if len(failures) == 1:
            raise failures[0]
        raise FetchError(
            f"{package.filename} could not be obtained from any of its {len(failures)} sources: "
            + "; ".join(str(failure) for failure in failures)
        )

    async def _on_node(self, package: EnvironmentPackage) -> Obtained | None:
        """Use an archive on this node whose digest is known and correct."""
        for fmt in INSTALLABLE[package.kind]:
            recorded = self._recorded(package, fmt)
            expected = package.digests_of(fmt) or (recorded.digests if recorded is not None else Digests())
            digest = expected.get(KEY_ALGORITHM[package.kind])
            for directory in self._directories if digest else ():
                path = directory.archive(package.filename, fmt)
                allowed = self._allowed(package, fmt, digest or "")
                if allowed != frozenset() and path.is_file() and await self._is(path, expected, allowed):
                    return Obtained(path, fmt, expected, str(directory.path))
        return None

    def _objects(self, package: EnvironmentPackage) -> list[StoredArchive]:
        """Return what the store is known to have, the best format first; of two archives in one format the one that the
        document names.
        """
        listed = {a.format: a for a in self._known(package)}
        found: dict[str, StoredArchive] = {}
        for fmt in INSTALLABLE[package.kind]:
            named = package.hashes.get(fmt)
            both = [a for a in (listed.get(fmt), self._recorded(package, fmt)) if a is not None]
            for archive in sorted(both, key=lambda a: named not in {None, a.hash}):
                if archive.digests or named:
                    found.setdefault(archive.key, archive)
        return self._usable(package, found.values())

    def _usable(self, package: EnvironmentPackage, archives: Iterable[StoredArchive]) -> list[StoredArchive]:
        """Leave out derived archives that are not vouched for."""
        usable = []
        for archive in archives:
            if self._allowed(package, archive.format, archive.hash) == frozenset():
                self._passed_over[package.url] = archive
            else:
                usable.append(archive)
        return usable

    def _allowed(self, package: EnvironmentPackage, fmt: Format, md5: str) -> frozenset[str] | None:
        """Return the sha256 values allowed for a derived archive; None for other archives, where any is allowed."""
        if not is_derived(package.kind, fmt, package.url_format):
            return None
        known = next((a for a in self._known(package) if a.format == package.url_format), None)
        published = published_digests(package.digests_of(package.url_format), known)
        return self._sources.derived.allowed(published, md5, package.vouched_derived)

    def _is_recorded(self, package: EnvironmentPackage) -> bool:
        """Return whether the document records a usable archive."""
        recorded = [self._recorded(package, fmt) for fmt in INSTALLABLE[package.kind]]
        return any(a is not None and self._allowed(package, a.format, a.hash) != frozenset() for a in recorded)

    def _recorded(self, package: EnvironmentPackage, fmt: Format) -> StoredArchive | None:
        key, dirname = package.cached.get(fmt), self._host.settings.packages_dirname
        return StoredArchive.recorded(ObjectInfo(key, 0), package.filename, fmt, dirname) if key else None

    def _known(self, package: EnvironmentPackage) -> list[StoredArchive]:
        url = fetched_from(package)
        try:
            found = self._sources.inventory.found(url) if url is not None else ()
        except KeyError:
            return []
        return [a for a in found if a.stem == package.filename]

    async def _listed(self, package: EnvironmentPackage) -> list[StoredArchive]:
        """Ask the store what is below the package's address, whatever the document records."""
        sources = self._sources
        if package.downloadable:
            url = fetched_from(package)
            if url is None:
                return []
            await sources.inventory.refresh(url)
            return self._objects(package)
        try:
            address = layout.SourceAddress.parse(package.url, package.kind, real=False)
        except UsageError:
            return []
        dirname = self._host.settings.packages_dirname
        found = [StoredArchive.listed(i, dirname) async for i in sources.store.scan(address.directory(dirname) + "/")]
        named = [a for a in found if a is not None and a.stem == package.filename]
        return self._usable(package, (a for a in named if a.format in INSTALLABLE[package.kind]))

    async def _from_store(self, package: EnvironmentPackage, archive: StoredArchive, scratch: Path) -> Obtained:
        store = self._sources.store
        path = scratch / (package.filename + archive.format)
        wanted, allowed = package.digests_of(archive.format), self._allowed(package, archive.format, archive.hash)
        reading = await self._sources.stored(archive, path, wanted=wanted, allowed=allowed)
        match reading:
            case Whole(digests):
                return Obtained(path, archive.format, digests, store.address)
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
        result = await self._sources.upstream(wanted, path)
        return Obtained(path, Format(fmt), result.digests, result.source)

    async def _is(self, path: Path, expected: Digests, allowed: frozenset[str] | None) -> bool:
        algorithms = {*expected.algorithms(), *(() if allowed is None else ("sha256",))}
        async with self._host.budgets.cpu.borrow():
            found = await self._host.threads.work(lambda _stop: digest_file(str(path), *algorithms))
        return expected.mismatch(found) is None and (allowed is None or found.sha256 in allowed)


def fetched_from(package: EnvironmentPackage) -> PackageURL | None:
    """Return the address at which a package is published; None if it has none."""
    try:
        return package.to_package().url if package.downloadable else None
    except UsageError:
        return None
