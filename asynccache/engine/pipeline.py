"""One package is one coroutine: locate, fetch, verify, transmute, upload, record.

Nothing is visible in the store before its digest has been checked, and everything up to that point is in a working
directory that belongs to the holder of the package's lock. Sources in order: the published archive in the store
(verified while reading), then upstream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynccache.engine import events
from asynccache.engine.host import Host
from asynccache.engine.report import StoredFormat
from asynccache.engine.sources import Sources, other_bytes
from asynccache.errors import (
    FetchError,
    IntegrityError,
    PreconditionFailedError,
    StoreError,
)
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests
from asynccache.model.package import KEY_ALGORITHM, Format, Package
from asynccache.node.disk import disk_errors
from asynccache.store import layout
from asynccache.store.base import ObjectInfo
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Damaged, NotWanted, Whole

if TYPE_CHECKING:
    from asynccache.archive import Receipt

UNKNOWN_SIZE: Final = 64 << 20  # bytes of temporary disk reserved for a package of unknown size
_GROWTH: Final = 3  # a .conda written as .tar.bz2, or the reverse, stays below this multiple of its source


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted of one package.

    Attributes:
        package: The package.
        formats: Formats that the store should have, including the published one only if wanted.
        found: What the store held below the package's URL when it was listed.
        damaged: Those found damaged, which have to be replaced.
    """

    package: Package
    formats: tuple[Format, ...]
    found: tuple[StoredArchive, ...] = ()
    damaged: tuple[Damaged, ...] = ()

    @property
    def estimated_temp_bytes(self) -> int:
        """Most temporary disk that the job needs, as far as known."""
        size = self.package.digests.size or max((archive.size for archive in self.found), default=UNKNOWN_SIZE)
        return size * (1 + (_GROWTH if any(f != self.package.url_format for f in self.formats) else 0))

    def complete(self, found: Iterable[StoredArchive]) -> dict[Format, StoredArchive]:
        """Find existing archives in the wanted formats.

        Raises:
            IntegrityError: The store's published archive is not the wanted one.
        """
        package = self.package
        there = {a.format: a for a in found if a.stem == package.stem}
        published = there.get(package.url_format)
        if published is not None:
            known = package.digests.get(KEY_ALGORITHM[package.kind])
            if known is not None and known != published.hash:
                raise other_bytes(package, f"{KEY_ALGORITHM[package.kind]} {known}", published.hash)
        return {f: there[f] for f in self.formats if f in there}


@dataclass(frozen=True, slots=True)
class Arrived:
    """An archive on this node, verified, whose file goes into the store next.

    Attributes:
        package: The package.
        format: Its format.
        path: The file.
        digests: Its computed digests.
    """

    package: Package
    format: Format
    path: Path
    digests: Digests


Taker = Callable[[Arrived], Awaitable[bool]]
"""Uses an archive before its file is gone; tells whether it read all of it as `archive.check` does. Never fails."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Puts packages into a store.

    Attributes:
        host: What the work is done with.
        sources: The store, what it holds, and upstream.
        take: Called with each archive that is about to be published.
    """

    host: Host
    sources: Sources
    take: Taker

    async def run(self, job: Job) -> tuple[StoredFormat, ...]:
        """Make the store have what the job wants; return it.

        Raises:
            AsyncCacheError: Why it cannot; the store and the working directory are consistent.
        """
        package, url = job.package, job.package.url
        async with self.host.workspace.locks.hold(self.host.workspace.name(url), label=package.filename):
            # what was found before the lock may be old: another process may just have finished this package
            found = await self.sources.inventory.refresh(url)
            damaged = {d.archive.format: d for d in job.damaged if await self._is_still(d)}
            there = {f: a for f, a in job.complete(found).items() if f not in damaged}
            forms = [StoredFormat(a.key, a.size, created=False) for a in there.values()]
            missing = [f for f in job.formats if f not in there]
            if not missing:
                self.host.emit(events.CacheHit(package.filename, str(url), sum(f.size for f in forms)))
                return tuple(forms)
            try:
                async with (
                    self.host.budgets.temp.borrow(job.estimated_temp_bytes),
                    asyncio.timeout(self.host.settings.package_timeout),
                ):
                    forms += await self._make(job, found, missing, damaged)
            except TimeoutError:
                raise FetchError(
                    f"{package.filename} took longer than {self.host.settings.package_timeout:g} seconds",
                    hint="raise package_timeout, or run again to continue",
                ) from None
            return tuple(forms)

    async def confirm(self, job: Job) -> None:
        """Read the published archive once if its key has no digest of the required kind.

        Raises:
            IntegrityError: The store's archive is not the wanted one.
        """
        package = job.package
        there = next((a for a in job.found if a.stem == package.stem and a.format == package.url_format), None)
        if there is None or not package.digests or package.digests.get(KEY_ALGORITHM[package.kind]) is not None:
            return
        from asynccache.engine.verified import Verified  # noqa: PLC0415 - most digests are those of keys

        memory = Verified.shared(self.host.workspace.cache_dir)
        place, asked = self.sources.store.root.identity, (f"{there.key} is {package.digests}", there.version)
        if asked in (await self.host.threads.run(memory.known, place)).items():
            return
        path = await self.host.threads.run(self.host.workspace.passing_file, package.filename)
        reading = await self.sources.reader.read(there, path, wanted=package.digests)
        if isinstance(reading, NotWanted):
            raise other_bytes(package, f"{reading.part} {reading.expected}", reading.found)
        if isinstance(reading, Whole):
            await self.host.threads.run(path.unlink)
            await self.host.threads.run(memory.add, place, [asked])

    async def _is_still(self, damaged: Damaged) -> bool:
        """Return whether a damaged object is unchanged; another process may have replaced it meanwhile."""
        there = await self.sources.store.head(damaged.archive.key)
        return there is not None and there.etag == damaged.version

    async def _make(
        self, job: Job, found: Sequence[StoredArchive], missing: Sequence[Format], damaged: dict[Format, Damaged]
    ) -> list[StoredFormat]:
        """Make the missing archives; those found damaged meanwhile are added to `damaged`."""
        package, published = job.package, job.package.url_format
        directory = await self.host.threads.run(self.host.workspace.prepare, package.url)
        needed = job.estimated_temp_bytes if package.digests.size is not None else 0
        await self.host.threads.run(self.host.workspace.require_free, needed, package.filename)
        source = directory / package.filename
        try:
            digests, fetched = await self._obtain(package, found, source, damaged)
            taken = missing == [published] and await self.take(Arrived(package, published, source, digests))
            if fetched and missing == [published] and not taken:
                await self._check_archive(source, published.work(digests.size))
            forms = [
                await self._derive(package, source, digests.size, fmt, damaged.get(fmt))
                for fmt in missing
                if fmt != published
            ]
            if published in missing:
                forms.append(await self._publish_source(package, source, digests, damaged.get(published)))
            elif published in damaged:
                with suppress(StoreError, IntegrityError):  # it was not requested, and the damage was reported
                    await self._publish_source(package, source, digests, damaged[published])
            await self.host.threads.run(self.host.workspace.discard, package.url)
        except BaseException:
            await self.host.threads.run(keep_partial, directory)
            await self.host.threads.run(self.host.workspace.discard_if_empty, package.url)
            raise
        return forms

    async def _obtain(
        self, package: Package, found: Sequence[StoredArchive], target: Path, damaged: dict[Format, Damaged]
    ) -> tuple[Digests, bool]:
        """Fetch the published archive to local disk, verified; return its digests, and whether it is from upstream."""
        if not any(a.format == package.url_format and a.stem == package.stem for a in found):
            known = await self._obtain_by_token(package, target)
            if known is not None:
                return known, False
        return await self.sources.published(package, found, target, damaged)

    async def _obtain_by_token(self, package: Package, target: Path) -> Digests | None:
        """Fetch what another writer stored under the address with a token, if this machine knows one; otherwise
        None.
        """
        access = self.sources.fetcher.credentials.access(package.url, package.access)
        if not access.token:
            return None
        for archive in await self.sources.inventory.refresh(access.requested(package.url)):
            named = (archive.stem, archive.format) == (package.stem, package.url_format)
            if named and archive.digests.mismatch(package.digests) is None:
                reading = await self.sources.stored(archive, target, wanted=package.digests)
                if isinstance(reading, Whole):
                    return reading.digests
        return None

    async def _check_archive(self, path: Path, work: int) -> None:
        """Read an archive to its end: an incomplete or hostile one is not published, whatever its digest."""
        from asynccache.archive import check  # noqa: PLC0415 - a run on a full cache needs no codec

        async with self.host.budgets.cpu.borrow(work=work):
            await self.host.threads.work(lambda stop: check(path, limits=self.host.limits(), cancelled=stop))

    async def _derive(
        self, package: Package, source: Path, size: int | None, fmt: Format, broken: Damaged | None
    ) -> StoredFormat:
        from asynccache.archive import transmute  # noqa: PLC0415 - as above

        target = source.with_name(package.stem + fmt)

        def progress(count: int) -> None:
            loop.call_soon_threadsafe(self.host.emit, events.BytesMoved("transmute", package.filename, count))

        loop = asyncio.get_running_loop()
        async with (
            self.host.budgets.cpu.borrow_up_to(2, work=package.url_format.work(size)) as cores,
        ):
            with self.host.phase("transmute", package.filename, size):
                receipt = await self.host.threads.work(
                    lambda stop: transmute(
                        source,
                        target,
                        level=self.host.settings.zstd_level,
                        verify=self.host.settings.verify_transmute,
                        threads=cores,
                        limits=self.host.limits(),
                        cancelled=stop,
                        progress=progress,
                    )
                )
        self.host.emit(
            events.Transmuted(
                package.filename,
                target.name,
                receipt.source.size or 0,
                receipt.derived.size or 0,
                receipt.members,
                receipt.verified,
            )
        )
        await self.take(Arrived(package, fmt, target, receipt.derived))
        return await self._publish_derived(package, target, fmt, receipt, broken)

    async def _publish_derived(
        self, package: Package, path: Path, fmt: Format, receipt: Receipt, broken: Damaged | None
    ) -> StoredFormat:
        # never a second hash directory for one file name (contract, section 3.4): adopt what was written meanwhile
        for archive in await self.sources.inventory.refresh(package.url):
            if archive.format != fmt or archive.stem != package.stem:
                continue
            if broken is None or archive.key != broken.archive.key:
                self.host.emit(events.Uploaded(package.filename, archive.key, archive.size, created=False))
                return StoredFormat(archive.key, archive.size, created=False)
            if archive.digests.mismatch(receipt.derived) is not None:
                raise broken.error(self.sources.store.address, "what this version makes has other bytes")
        await self.sources.derived.add(receipt.source, receipt.derived)
        key = layout.key_for(package, fmt, _key_hash(package, receipt.derived), self.host.settings.packages_dirname)
        await self.sources.store.put(layout.receipt_key(key, self.host.settings.packages_dirname), receipt.to_json())
        return await self._publish(package, key, path, receipt.derived, broken)

    async def _publish_source(
        self, package: Package, path: Path, digests: Digests, broken: Damaged | None
    ) -> StoredFormat:
        key = layout.key_for(
            package, package.url_format, _key_hash(package, digests), self.host.settings.packages_dirname
        )
        return await self._publish(package, key, path, digests, broken)

    async def _publish(
        self, package: Package, key: str, path: Path, digests: Digests, broken: Damaged | None
    ) -> StoredFormat:
        """Publish a file under its key, replacing a damaged object; an existing one of the right size is adopted."""
        created = True
        try:
            if broken is None:
                await self._upload(package, key, path, digests)
            else:
                key = broken.archive.key
                await self._replace(package, broken, path, digests)
        except PreconditionFailedError:
            there = await self.sources.store.head(key)
            if there is None:  # it has just been removed
                return await self._publish(package, key, path, digests, None)
            if there.size != digests.size:
                remains = await self._remains(there, path) if broken is None else None
                if remains is None:
                    raise  # it has just been changed
                return await self._publish(package, key, path, digests, remains)
            created = False
        size = digests.size or 0
        self.host.emit(events.Uploaded(package.filename, key, size, created))
        return StoredFormat(key, size, created, digests.sha256 or "" if created else "")

    async def _remains(self, there: ObjectInfo, path: Path) -> Damaged | None:
        """Read the object under an upload's key whose size differs; None unless it is damaged."""
        parts = layout.parse_key(there.key, self.host.settings.packages_dirname)
        if parts is None:
            return None
        reading = await self.sources.reader.read(StoredArchive(there, parts), path.with_name(path.name + ".there"))
        return reading if isinstance(reading, Damaged) else None

    async def _replace(self, package: Package, broken: Damaged, path: Path, digests: Digests) -> None:
        """Overwrite a damaged object with a file.

        Raises:
            PreconditionFailedError: It has changed since it was read.
            IntegrityError: It cannot be overwritten.
        """
        if broken.version is None:
            raise broken.error(self.sources.store.address, "this store gives objects no version")
        try:
            await self._upload(package, broken.archive.key, path, digests, if_match=broken.version)
        except PreconditionFailedError:
            raise
        except StoreError as exc:
            raise broken.error(self.sources.store.address, exc) from exc
        self.host.emit(events.Mended(broken.archive.key))

    async def _upload(
        self, package: Package, key: str, path: Path, digests: Digests, if_match: str | None = None
    ) -> None:
        size = digests.size or 0

        def moved(count: int) -> None:
            self.host.emit(events.BytesMoved("upload", package.filename, count))

        async with self.host.budgets.uploads.borrow(), self.host.budgets.memory.borrow(min(size, 32 << 20)):
            with self.host.phase("upload", package.filename, size):
                await self.sources.store.upload(key, path, digests, if_match=if_match, consume=True, moved=moved)


def _key_hash(package: Package, digests: Digests) -> str:
    text = digests.get(KEY_ALGORITHM[package.kind])
    if text is None:
        raise IntegrityError(f"the {KEY_ALGORITHM[package.kind]} of {package.filename} was not computed")
    return text


def keep_partial(directory: Path) -> None:
    """Remove what a failed package left, except a download that can be continued."""
    with disk_errors(directory), suppress(FileNotFoundError):
        for path in directory.iterdir():
            if not path.name.endswith((".part", ".part.json")):
                path.unlink(missing_ok=True)
