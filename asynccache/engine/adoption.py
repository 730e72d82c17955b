"""Adopting derived archives made by others: comparing them with the published archive, remembering the result, and
writing a receipt.

Both archives are read completely, so this is done by commands that fetch packages into a store or onto a node, or
verify a store; commands that create an environment use the published archive instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.engine.derived import is_derived, published_digests, unvouched
from asynccache.engine.host import Host
from asynccache.engine.pipeline import Job, keep_partial
from asynccache.engine.sources import Sources
from asynccache.errors import (
    ArchiveError,
    FetchError,
    FetchRefusedError,
    IntegrityError,
    ObjectNotFoundError,
    StoreError,
)
from asynccache.model.dataclass import dataclass
from asynccache.model.package import Package
from asynccache.store import layout
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, Difference, NotWanted, Whole

if TYPE_CHECKING:
    from asynccache.archive import Receipt
    from asynccache.archive.second_opinion import Opinion


@dataclass(frozen=True, slots=True)
class Different(Difference):
    """A derived archive whose content differs from the published one."""

    def error(self, address: str) -> IntegrityError:
        """Return the failure of a caller that needs this format; `address` is the store's."""
        return IntegrityError(
            f"{self.archive.key} in {address} does not hold what the published archive holds",
            expected=self.expected,
            found=self.found,
            hint="nothing of it is used; `asynccache verify --adopt --quarantine` moves it out of the way",
        )


@dataclass(frozen=True, slots=True)
class Adoption:
    """Adopts archives of one store.

    Attributes:
        host: Settings, threads and budgets to work with.
        sources: The store, what it holds, and upstream.
    """

    host: Host
    sources: Sources

    def doubtful(self, job: Job, vouched: frozenset[str] = frozenset()) -> list[StoredArchive]:
        """Return wanted derived archives in the store that are not vouched for.

        Args:
            job: What is wanted, and what exists.
            vouched: What the environment's digest vouches for.
        """
        package = job.package
        there = {a.format: a for a in job.found if a.stem == package.stem}
        published = published_digests(package.digests, there.get(package.url_format))
        return [
            archive
            for fmt in job.formats
            if is_derived(package.kind, fmt, package.url_format) and (archive := there.get(fmt)) is not None
            if not self.sources.derived.allowed(published, archive.hash, vouched)
        ]

    async def adopt(
        self,
        package: Package,
        found: Sequence[StoredArchive],
        archive: StoredArchive,
        *,
        trust_receipt: bool = False,
        write_receipt: bool = True,
        opinion: Opinion | None = None,
    ) -> Absent | Damaged | Different | None:
        """Compare a derived archive made by others with the published one, remember the result, and write its receipt.

        Args:
            package: The package.
            found: What the store holds below the package's URL.
            archive: The derived archive.
            trust_receipt: Do nothing if it has a receipt; only for callers that run nothing from it.
            write_receipt: Whether the store may be written.
            opinion: Compares them as well, if we found no difference.

        Returns:
            What is wrong with it; None if all is well.

        Raises:
            IntegrityError: There is nothing to compare it with.
            ArchiveError: It is not a package, or a hostile one.
            FetchError: The published archive cannot be obtained now.
        """
        identity, key = (
            self.sources.store.root.identity,
            layout.receipt_key(archive.key, self.host.settings.packages_dirname),
        )
        if trust_receipt:
            if await self.sources.derived.has_receipt(identity, archive):
                return None
            if await self.sources.store.head(key) is not None:
                await self.sources.derived.note_receipt(identity, archive)
                return None
        async with self.host.workspace.locks.hold(self.host.workspace.name(package.url), label=package.filename):
            size = max(archive.size, *(each.size for each in found), package.digests.size or 0)
            try:
                async with self.host.budgets.temp.borrow(2 * size), asyncio.timeout(self.host.settings.package_timeout):
                    compared = await self._compared(package, found, archive, opinion)
            except TimeoutError:
                raise FetchError(
                    f"comparing {archive.filename} took longer than {self.host.settings.package_timeout:g} seconds",
                    hint="raise package_timeout, or run again to continue",
                ) from None
        if isinstance(compared, Absent | Damaged | Different):
            return compared
        await self.sources.derived.add(compared.source, compared.derived)
        if write_receipt:
            with suppress(StoreError):  # it only saves work for others
                if not await self._has_receipt(key, compared):
                    await self.sources.store.put(key, compared.to_json())
        return None

    async def _compared(
        self, package: Package, found: Sequence[StoredArchive], archive: StoredArchive, opinion: Opinion | None
    ) -> Receipt | Absent | Damaged | Different:
        directory = await self.host.threads.run(self.host.workspace.prepare, package.url)
        try:
            compared = await self._compare(package, found, archive, directory, opinion)
            await self.host.threads.run(self.host.workspace.discard, package.url)
        except BaseException:
            await self.host.threads.certainly(keep_partial, directory)
            await self.host.threads.certainly(self.host.workspace.discard_if_empty, package.url)
            raise
        return compared

    async def _compare(
        self,
        package: Package,
        found: Sequence[StoredArchive],
        archive: StoredArchive,
        directory: Path,
        opinion: Opinion | None,
    ) -> Receipt | Absent | Damaged | Different:
        from asynccache.archive import compare_archives  # noqa: PLC0415 - a run on a full cache needs no codec

        derived, published = directory / archive.filename, directory / package.filename
        reading = await self.sources.stored(archive, derived)
        match reading:
            case Absent() | Damaged():
                return reading
            case NotWanted():
                raise reading.error(self.sources.store.address)
            case Whole():
                pass
        try:
            await self.sources.published(package, found, published, {})
        except FetchRefusedError as exc:
            raise unvouched(archive, self.sources.store.address, exc) from exc

        def compare(stop: Callable[[], bool]) -> Receipt:
            receipt = compare_archives(published, derived, limits=self.host.limits(), cancelled=stop)
            if opinion is not None:
                opinion(published, published.name, derived, derived.name)
            return receipt

        try:
            async with self.host.budgets.cpu.borrow():
                return await self.host.threads.work(compare)
        except IntegrityError as exc:
            return Different(archive, "members", str(exc.expected), str(exc.found))

    async def _has_receipt(self, key: str, wanted: Receipt) -> bool:
        """Return whether there is a receipt that matches both archives."""
        from asynccache.archive import Receipt  # noqa: PLC0415 - as above

        try:
            there = Receipt.from_json(await self.sources.store.get(key))
        except (ObjectNotFoundError, ArchiveError):
            return False
        return (there.source.sha256, there.derived.sha256) == (wanted.source.sha256, wanted.derived.sha256)
