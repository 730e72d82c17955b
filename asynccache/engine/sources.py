"""Fetching one archive to local disk, from the store or upstream: verified, measured and reported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from asynccache.engine import events
from asynccache.engine.derived import DerivedArchives
from asynccache.engine.fetch import Fetcher, FetchResult
from asynccache.engine.host import Host
from asynccache.errors import IntegrityError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.package import Format, Package
from asynccache.store.base import Store
from asynccache.store.inventory import Inventory
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, NotWanted, Reading, VerifiedReader, Whole


@dataclass(frozen=True, slots=True)
class Sources:
    """Where archives come from.

    Attributes:
        host: Settings, threads and budgets to work with.
        reader: Reads what a store holds.
        inventory: What the store holds.
        fetcher: Fetches from upstream.
        derived: Which derived archives may be used.
    """

    host: Host
    reader: VerifiedReader
    inventory: Inventory
    fetcher: Fetcher
    derived: DerivedArchives

    @property
    def store(self) -> Store:
        """The store."""
        return self.reader.store

    async def stored(
        self,
        archive: StoredArchive,
        path: Path,
        *,
        wanted: Digests | None = None,
        allowed: frozenset[str] | None = None,
    ) -> Reading:
        """Read an archive of the store (see `VerifiedReader.read`).

        Raises:
            StoreError: The store cannot be read.
            DiskError: The file cannot be written.
        """

        def moved(count: int) -> None:
            self.host.emit(events.BytesMoved("fetch", archive.filename, count))

        with self.host.phase("fetch", archive.filename, archive.size or None):
            reading = await self.reader.read(archive, path, wanted=wanted, allowed=allowed, moved=moved)
        if isinstance(reading, Whole):
            size = reading.digests.size or 0
            self.host.emit(events.Fetched(archive.filename, self.store.address, size, 0))
        return reading

    async def upstream(self, package: Package, path: Path) -> FetchResult:
        """Fetch an archive as it is published (see `Fetcher.fetch`).

        Raises:
            FetchError: No source has it.
            IntegrityError: All sources have other bytes.
            DiskError: The file cannot be written.
        """
        with self.host.phase("fetch", package.filename, package.digests.size):
            result = await self.fetcher.fetch(package, path)
        self.host.emit(events.Fetched(package.filename, result.source, result.digests.size or 0, result.resumed_from))
        return result

    async def published(
        self, package: Package, found: Iterable[StoredArchive], path: Path, damaged: dict[Format, Damaged]
    ) -> tuple[Digests, bool]:
        """Fetch the archive that a package's URL names, from the store or upstream.

        Args:
            package: The package.
            found: What the store holds below the package's URL.
            path: The file to create.
            damaged: Formats of it that are known to be damaged in the store; those found damaged are added.

        Returns:
            Its known digests, and whether it came from upstream.

        Raises:
            IntegrityError: The store or all sources have other bytes.
            FetchError: Neither has it.
            StoreError: The store cannot be read.
            DiskError: The file cannot be written.
        """
        fmt = package.url_format
        stored = next((a for a in found if a.format == fmt and a.stem == package.stem), None)
        if stored is not None and fmt not in damaged:
            match await self.stored(stored, path, wanted=package.digests):
                case Whole(digests):
                    return digests, False
                case NotWanted() as other:
                    raise other_bytes(package, f"{other.part} {other.expected}", other.found)
                case Damaged() as broken:
                    damaged[fmt] = broken
                case Absent():
                    pass
        wanted = package
        if fmt in damaged:
            # it may only be replaced by what its key says
            wanted = package.with_digests(damaged[fmt].archive.digests)
        try:
            return (await self.upstream(wanted, path)).digests, True
        except IntegrityError as exc:
            if fmt in damaged:
                raise damaged[fmt].error(self.store.address, exc) from exc
            raise


def other_bytes(package: Package, expected: str, found: str) -> IntegrityError:
    """Return the failure if the wanted bytes of a package differ from those in the store."""
    return IntegrityError(
        f"the store already holds other bytes for {package.url}",
        expected=expected,
        found=found,
        hint="the file at this URL was replaced; take a new build of the package or check your lock",
    )
