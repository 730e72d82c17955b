"""What environments need from a store, and what of it the store has: found by listing, whatever documents record.

A document is written once; archives that were cached later are never added to it, and what it records may no longer
exist. So presence is looked up where the objects are (contract, sections 2.4 and 3.4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from asynccache.engine.pipeline import Job
from asynccache.errors import AsyncCacheError, FetchRefusedError, IntegrityError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.model.package import Format, Package
from asynccache.model.url import redacted
from asynccache.runtime.tasks import run_together
from asynccache.store import layout
from asynccache.store.base import Store
from asynccache.store.inventory import Inventory
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Damaged, NotWanted

if TYPE_CHECKING:
    from asynccache.engine.adoption import Adoption


@dataclass(slots=True)
class Need:
    """One package that environments need.

    Attributes:
        package: The package as in the first of its documents.
        formats: The needed formats.
        fetchable: What the engine can fetch; None if nothing can be downloaded from its address.
        below: Everything that the store has below its address.
        found: What the store has of formats that are needed or useful.
        damaged: Those that were found damaged and have to be replaced.
        error: Why it cannot be obtained; None unless something failed.
        origins: Where its bytes came from in this run: `store`, `node`, or an upstream host.
        ready_at: When it was ready, on the clock of the engine that fetched it.
    """

    package: EnvironmentPackage
    formats: tuple[Format, ...]
    fetchable: Package | None
    below: tuple[StoredArchive, ...] = ()
    found: dict[Format, StoredArchive] = field(default_factory=dict)
    damaged: dict[Format, Damaged] = field(default_factory=dict)
    error: AsyncCacheError | None = None
    origins: set[str] = field(default_factory=set)
    ready_at: float = 0.0

    @property
    def name(self) -> str:
        """File name in the preferred format."""
        return self.package.filename + self.formats[0]

    @property
    def missing(self) -> tuple[Format, ...]:
        """Formats that the store lacks, or has damaged."""
        return tuple(f for f in self.formats if f not in self.found or f in self.damaged)

    @property
    def complete(self) -> bool:
        """Whether the store has everything that is needed, as far as is known."""
        return not self.missing and self.error is None

    @property
    def bytes(self) -> int:
        """Bytes of the needed formats that the store has."""
        return sum(self.found[f].size for f in self.formats if f in self.found)

    def forget(self, archive: StoredArchive) -> None:
        """Treat an archive of the store as absent."""
        self.found.pop(archive.format, None)
        self.below = tuple(a for a in self.below if a.key != archive.key)

    def doubtful(self, adoption: Adoption) -> list[StoredArchive]:
        """Return needed derived archives that the store has and that are not vouched for."""
        if self.fetchable is None:
            return []
        return adoption.doubtful(
            Job(self.fetchable, self.formats, tuple(self.found.values())), self.package.vouched_derived
        )

    def job(self) -> Job | None:
        """Return the job for the engine, None if there is nothing to do; an impossible job becomes the error."""
        if not self.missing or self.error is not None:
            return None
        made = [f for f in self.missing if f != self.package.url_format and f.kind != "conda"]
        if self.fetchable is None or made:
            what = ", ".join(self.package.filename + f for f in self.missing)
            self.error = FetchRefusedError(
                f"{what} is not in the store and was built from {redacted(self.package.url)}",
                hint="resolve the environment again where it can be built",
            )
            return None
        return Job(self.fetchable, self.formats, self.below, tuple(self.damaged.values()))


class Needs:
    """What a set of environments needs, each package once.

    Args:
        store: An open store.
        inventory: What the store holds.
        dirname: Directory of the packages below the root.
    """

    def __init__(self, store: Store, inventory: Inventory, dirname: str) -> None:
        self._store = store
        self._inventory = inventory
        self._dirname = dirname
        self._by_package: dict[tuple[str, str], Need] = {}
        self.by_environment: dict[EnvID, list[Need]] = {}

    @property
    def all(self) -> list[Need]:
        """Every package once."""
        return list(self._by_package.values())

    async def add(self, environments: Iterable[ResolvedEnvironment], wanted: Format | None = None) -> None:
        """Add environments and look up what the store has of their packages (see `take`).

        Raises:
            StoreError: The store cannot be listed.
        """
        self.take(environments, wanted)
        await self.look_up(self.all)

    def take(self, environments: Iterable[ResolvedEnvironment], wanted: Format | None = None) -> None:
        """Add environments; nothing is looked up.

        Args:
            environments: The environments.
            wanted: Format that conda packages are needed in; None for those that a document records, else the
                published one.
        """
        for environment in environments:
            self.by_environment[environment.id] = [self._merged(p, wanted) for p in environment.packages]

    def directory(self, need: Need) -> str:
        """Return the source directory of a package; empty if it has none."""
        if need.fetchable is not None:
            return self._inventory.source_directory(need.fetchable.url)
        try:
            address = layout.SourceAddress.parse(need.package.url, need.package.kind, real=False)
        except UsageError:
            return ""
        return address.directory(self._dirname)

    async def look_up(self, needs: Sequence[Need]) -> None:
        """Ask the store again.

        Raises:
            StoreError: The store cannot be listed.
        """
        listed = [n for n in needs if n.fetchable is not None]
        await self._inventory.load([n.fetchable.url for n in listed if n.fetchable is not None])
        await run_together([self._look_up(need) for need in needs])

    def _merged(self, package: EnvironmentPackage, wanted: Format | None) -> Need:
        key = (package.url, package.filename)
        need = self._by_package.get(key)
        formats = needed_formats(package, wanted)
        fetchable: Package | None = None
        error: AsyncCacheError | None = None
        if package.downloadable:
            try:
                fetchable = package.to_package()
            except AsyncCacheError as exc:
                error = exc
        if need is None:
            need = self._by_package[key] = Need(package, formats, fetchable, error=error)
            return need
        need.formats = tuple(dict.fromkeys((*need.formats, *formats)))
        try:
            if need.fetchable is not None and fetchable is not None:
                need.fetchable = need.fetchable.with_digests(fetchable.digests)
        except IntegrityError as exc:
            need.error = exc
        return need

    async def _look_up(self, need: Need) -> None:
        package = need.package
        if need.fetchable is not None:
            need.below = tuple(self._inventory.found(need.fetchable.url))
        else:
            need.below = await self._below_built(self.directory(need))
        need.found = {a.format: a for a in need.below if a.stem == package.filename}
        for fmt in need.formats:
            try:
                await self._take_named(need, fmt)
            except AsyncCacheError as exc:
                need.error = need.error or exc

    async def _take_named(self, need: Need, fmt: Format) -> None:
        """Use the archive that the document names, if it is elsewhere or there are two of one name.

        Raises:
            IntegrityError: The store has another one.
            UsageError: The document has something other than a digest.
        """
        package, found = need.package, need.found.get(fmt)
        key = package.cached.get(fmt)
        other = found.digests.mismatch(package.digests_of(fmt)) if found is not None else None
        if key is not None and (found is None or (other is not None and found.key != key)):
            # a key that does not follow from an address, as in very old caches, or the second archive of a name
            info = await self._store.head(key)
            if info is not None and info.size:
                need.found[fmt] = StoredArchive.recorded(info, package.filename, fmt, self._dirname)
                return
        if found is not None and other is not None and (key is not None or fmt == package.url_format):
            part, have, want = other
            raise NotWanted(found, part, str(want), str(have)).error(self._store.address)

    async def _below_built(self, directory: str) -> tuple[StoredArchive, ...]:
        found: list[StoredArchive] = []
        if not directory:
            return ()
        async for info in self._store.scan(directory + "/"):
            archive = StoredArchive.listed(info, self._dirname)
            if archive is not None and archive.parts.source_directory == directory:
                found.append(archive)
        return tuple(found)


async def needs_of(store: Store, dirname: str, environments: Iterable[ResolvedEnvironment]) -> Needs:
    """Look up and return what environments need and what of it the store has.

    Raises:
        StoreError: The store cannot be listed.
    """
    needs = Needs(store, Inventory(store, dirname), dirname)
    await needs.add(environments)
    return needs


def needed_formats(package: EnvironmentPackage, wanted: Format | None) -> tuple[Format, ...]:
    """Return the formats of a package that must be in the store for every reader of its document.

    Readers take the format that the document records and fail if its object is missing, so all recorded ones count.
    """
    if wanted is not None and wanted.kind == package.kind:
        return (wanted,)
    known = tuple(f for f in Format if f.kind == package.kind)
    recorded = tuple(f for f in known if f in package.cached)
    return recorded or tuple(f for f in known if f == package.url_format) or known[:1]


def with_stored_keys(environment: ResolvedEnvironment, needs: Sequence[Need]) -> ResolvedEnvironment:
    """Return an environment whose document records what the store has; existing records are kept.

    Raises:
        IntegrityError: The store has other bytes of a published archive.
    """
    packages = []
    for package, need in zip(environment.packages, needs, strict=True):
        known = package
        for fmt, archive in need.found.items():
            if fmt not in known.cached and known.hashes.get(fmt) in {None, archive.hash}:
                known = known.with_cached(fmt, archive.key)
        packages.append(known)
    return replace(environment, packages=tuple(packages))
