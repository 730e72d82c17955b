"""One package is one coroutine: locate, fetch, verify, transmute, upload, record.

Nothing is visible in the store before its digest was checked, and everything up to that point lies in a working
directory that belongs to whoever holds the package's lock. Sources in order: the published archive in the store
(verified on the way), then upstream.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynccache.engine import events
from asynccache.engine.fetch import Fetcher
from asynccache.engine.report import StoredForm
from asynccache.engine.workspace import Workspace
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
from asynccache.runtime.budget import Budget
from asynccache.runtime.clock import Clock
from asynccache.runtime.threads import Threads
from asynccache.store import layout
from asynccache.store.base import ObjectInfo, Store
from asynccache.store.inventory import Inventory
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, NotWanted, VerifiedReader, Whole

if TYPE_CHECKING:
    from asynccache.archive import Limits, Receipt

UNKNOWN_SIZE: Final = 64 << 20  # bytes of temporary disk reserved for a package whose size nobody says
_GROWTH: Final = 3  # a .conda written as .tar.bz2, or the reverse, stays below this multiple of its source


@dataclass(frozen=True, slots=True)
class Budgets:
    """What all packages of an engine share.

    Attributes:
        in_flight: Packages being worked on.
        cpu: Cores for decompressing, compressing, verifying.
        memory: Bytes of package data in memory.
        temp: Bytes of temporary files.
        uploads: Uploads at once.
    """

    in_flight: Budget
    cpu: Budget
    memory: Budget
    temp: Budget
    uploads: Budget


@dataclass(frozen=True, slots=True)
class Job:
    """What is wanted of one package.

    Attributes:
        package: Which one.
        formats: Forms that the store shall hold, the published one included only if wanted.
        found: What the store held below the package's URL when it was asked.
        damaged: What was read of it and is to be replaced.
    """

    package: Package
    formats: tuple[Format, ...]
    found: tuple[StoredArchive, ...] = ()
    damaged: tuple[Damaged, ...] = ()

    @property
    def estimated_temp_bytes(self) -> int:
        """Temporary disk that the job needs at most, by what is known."""
        size = self.package.digests.size or max((archive.size for archive in self.found), default=UNKNOWN_SIZE)
        return size * (1 + (_GROWTH if any(f != self.package.url_format for f in self.formats) else 0))

    def complete(self, found: Iterable[StoredArchive]) -> dict[Format, StoredArchive]:
        """Pick what is already there of the wanted forms.

        Raises:
            IntegrityError: The store's published archive is not the one that is asked for.
        """
        package = self.package
        there = {a.format: a for a in found if a.stem == package.stem}
        published = there.get(package.url_format)
        if published is not None:
            known = package.digests.get(KEY_ALGORITHM[package.kind])
            if known is not None and known != published.hash:
                raise _other_bytes(package, f"{KEY_ALGORITHM[package.kind]} {known}", published.hash)
        return {f: there[f] for f in self.formats if f in there}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """Brings packages into a store.

    Attributes:
        store: An open store.
        inventory: What the store holds.
        reader: Reads what it holds.
        fetcher: Where upstream bytes come from.
        workspace: This node's working directory.
        threads: Where CPU work and file operations run.
        budgets: What is shared.
        clock: Time to measure with.
        level: zstd level of written .conda archives.
        verify: Whether to compare source and result when transmuting.
        limits: Gives what an archive may ask of this machine.
        package_timeout: Seconds for one package in all, waiting for its lock excepted.
        dirname: Directory of the packages below the store's root.
        emit: Where events go.
    """

    store: Store
    inventory: Inventory
    reader: VerifiedReader
    fetcher: Fetcher
    workspace: Workspace
    threads: Threads
    budgets: Budgets
    clock: Clock
    level: int
    verify: bool
    limits: Callable[[], Limits]
    package_timeout: float
    dirname: str
    emit: events.EventSink

    async def run(self, job: Job) -> tuple[StoredForm, ...]:
        """Make the store hold what the job wants; return it.

        Raises:
            AsyncCacheError: Why it cannot; the store and the working directory are whole.
        """
        package, url = job.package, job.package.url
        async with self.workspace.locks.hold(self.workspace.name(url), label=package.filename):
            # what was found before the lock may be old: another process may just have finished this package
            found = await self.inventory.refresh(url)
            damaged = {d.archive.format: d for d in job.damaged if await self._is_still(d)}
            there = {f: a for f, a in job.complete(found).items() if f not in damaged}
            forms = [StoredForm(a.key, a.size, created=False) for a in there.values()]
            missing = [f for f in job.formats if f not in there]
            if not missing:
                self.emit(events.CacheHit(package.filename, str(url), sum(f.size for f in forms)))
                return tuple(forms)
            try:
                async with self.budgets.temp.borrow(job.estimated_temp_bytes), asyncio.timeout(self.package_timeout):
                    forms += await self._make(job, found, missing, damaged)
            except TimeoutError:
                raise FetchError(
                    f"{package.filename} took longer than {self.package_timeout:g} seconds",
                    hint="raise package_timeout, or run again to continue",
                ) from None
            return tuple(forms)

    async def confirm(self, job: Job) -> None:
        """Read the published archive once where its key has no digest of the kind that is asked for.

        Raises:
            IntegrityError: The store's archive is not the one that is asked for.
        """
        package = job.package
        there = next((a for a in job.found if a.stem == package.stem and a.format == package.url_format), None)
        if there is None or not package.digests or package.digests.get(KEY_ALGORITHM[package.kind]) is not None:
            return
        from asynccache.engine.verified import Verified  # noqa: PLC0415 - most digests are those of keys

        memory = Verified(self.workspace.cache_dir)
        place, asked = self.store.root.identity, (f"{there.key} is {package.digests}", there.version)
        if asked in (await self.threads.run(memory.known, place)).items():
            return
        path = await self.threads.run(self.workspace.passing_file, package.filename)
        reading = await self.reader.read(there, path, wanted=package.digests)
        if isinstance(reading, NotWanted):
            raise _other_bytes(package, f"{reading.part} {reading.expected}", reading.found)
        if isinstance(reading, Whole):
            await self.threads.run(path.unlink)
            await self.threads.run(memory.add, place, [asked])

    async def _is_still(self, damaged: Damaged) -> bool:
        """Tell whether a damaged object is there as it was read; another process may have replaced it meanwhile."""
        there = await self.store.head(damaged.archive.key)
        return there is not None and there.etag == damaged.version

    async def _make(
        self, job: Job, found: Sequence[StoredArchive], missing: Sequence[Format], damaged: dict[Format, Damaged]
    ) -> list[StoredForm]:
        """Make the missing forms; `damaged` takes what is found to be so on the way."""
        package, published = job.package, job.package.url_format
        directory = await self.threads.run(self.workspace.prepare, package.url)
        needed = job.estimated_temp_bytes if package.digests.size is not None else 0
        await self.threads.run(self.workspace.require_free, needed, package.filename)
        source = directory / package.filename
        try:
            digests = await self._obtain(package, found, source, damaged, derived=missing != [published])
            forms = [
                await self._derive(package, source, digests.size, fmt, damaged.get(fmt))
                for fmt in missing
                if fmt != published
            ]
            if published in missing:
                forms.append(await self._publish_source(package, source, digests, damaged.get(published)))
            elif published in damaged:
                with suppress(StoreError, IntegrityError):  # it was not asked for, and that it is damaged was said
                    await self._publish_source(package, source, digests, damaged[published])
            await self.threads.run(self.workspace.discard, package.url)
        except BaseException:
            await self.threads.run(_keep_partial, directory)
            await self.threads.run(self.workspace.discard_if_empty, package.url)
            raise
        return forms

    async def _obtain(
        self,
        package: Package,
        found: Sequence[StoredArchive],
        target: Path,
        damaged: dict[Format, Damaged],
        *,
        derived: bool,
    ) -> Digests:
        """Bring the published archive to local disk, verified; return what it is."""
        published = package.url_format
        stored = next((a for a in found if a.format == published and a.stem == package.stem), None)
        async with self._phase("fetch", package, package.digests.size):
            if stored is not None and published not in damaged:

                def moved(count: int) -> None:
                    self.emit(events.BytesMoved("fetch", package.filename, count))

                match await self.reader.read(stored, target, wanted=package.digests, moved=moved):
                    case Whole(digests):
                        self.emit(events.Fetched(package.filename, self.store.address, stored.size, 0))
                        return digests
                    case NotWanted() as other:
                        raise _other_bytes(package, f"{other.part} {other.expected}", other.found)
                    case Damaged() as broken:
                        damaged[published] = broken
                    case Absent():
                        pass
            wanted = package
            if published in damaged:
                # nothing but what its key says may take its place
                wanted = package.with_digests(damaged[published].archive.digests)
            try:
                result = await self.fetcher.fetch(wanted, target)
            except IntegrityError as exc:
                if published in damaged:
                    raise damaged[published].error(self.store.address, exc) from exc
                raise
        self.emit(events.Fetched(package.filename, result.source, result.digests.size or 0, result.resumed_from))
        if not derived:
            await self._check_archive(target)
        return result.digests

    async def _check_archive(self, path: Path) -> None:
        """Read an archive to its end: what is not whole or harmless is not published, whatever its digest."""
        from asynccache.archive import check  # noqa: PLC0415 - a run on a full cache needs no codec

        async with self.budgets.cpu.borrow():
            await self.threads.work(lambda stop: check(path, limits=self.limits(), cancelled=stop))

    async def _derive(
        self, package: Package, source: Path, size: int | None, fmt: Format, broken: Damaged | None
    ) -> StoredForm:
        from asynccache.archive import transmute  # noqa: PLC0415 - as above

        target = source.with_name(package.stem + fmt)

        def progress(count: int) -> None:
            loop.call_soon_threadsafe(self.emit, events.BytesMoved("transmute", package.filename, count))

        loop = asyncio.get_running_loop()
        async with (
            self.budgets.cpu.borrow_up_to(2) as cores,
            self._phase("transmute", package, size),
        ):
            receipt = await self.threads.work(
                lambda stop: transmute(
                    source,
                    target,
                    level=self.level,
                    verify=self.verify,
                    threads=cores,
                    limits=self.limits(),
                    cancelled=stop,
                    progress=progress,
                )
            )
        self.emit(
            events.Transmuted(
                package.filename,
                target.name,
                receipt.source.size or 0,
                receipt.derived.size or 0,
                receipt.members,
                receipt.verified,
            )
        )
        return await self._publish_derived(package, target, fmt, receipt, broken)

    async def _publish_derived(
        self, package: Package, path: Path, fmt: Format, receipt: Receipt, broken: Damaged | None
    ) -> StoredForm:
        # never a second hash directory for one file name (contract, section 3.4): adopt what came meanwhile
        for archive in await self.inventory.refresh(package.url):
            if archive.format != fmt or archive.stem != package.stem:
                continue
            if broken is None or archive.key != broken.archive.key:
                self.emit(events.Uploaded(package.filename, archive.key, archive.size, created=False))
                return StoredForm(archive.key, archive.size, created=False)
            if archive.digests.mismatch(receipt.derived) is not None:
                raise broken.error(self.store.address, "what this version makes has other bytes")
        key = layout.key_for(package, fmt, _key_hash(package, receipt.derived), self.dirname)
        await self.store.put(layout.receipt_key(key, self.dirname), receipt.to_json())
        return await self._publish(package, key, path, receipt.derived, broken)

    async def _publish_source(
        self, package: Package, path: Path, digests: Digests, broken: Damaged | None
    ) -> StoredForm:
        key = layout.key_for(package, package.url_format, _key_hash(package, digests), self.dirname)
        return await self._publish(package, key, path, digests, broken)

    async def _publish(
        self, package: Package, key: str, path: Path, digests: Digests, broken: Damaged | None
    ) -> StoredForm:
        """Put a file at its key, also in the place of a damaged object; what is there in the right size is adopted."""
        created = True
        try:
            if broken is None:
                await self._upload(package, key, path, digests)
            else:
                key = broken.archive.key
                await self._replace(package, broken, path, digests)
        except PreconditionFailedError:
            there = await self.store.head(key)
            if there is None:  # it has just been removed
                return await self._publish(package, key, path, digests, None)
            if there.size != digests.size:
                remains = await self._remains(there, path) if broken is None else None
                if remains is None:
                    raise  # it has just been changed
                return await self._publish(package, key, path, digests, remains)
            created = False
        size = digests.size or 0
        self.emit(events.Uploaded(package.filename, key, size, created))
        return StoredForm(key, size, created)

    async def _remains(self, there: ObjectInfo, path: Path) -> Damaged | None:
        """Read what has the key of an upload and not even its size; None unless it is damaged."""
        parts = layout.parse_key(there.key, self.dirname)
        if parts is None:
            return None
        reading = await self.reader.read(StoredArchive(there, parts), path.with_name(path.name + ".there"))
        return reading if isinstance(reading, Damaged) else None

    async def _replace(self, package: Package, broken: Damaged, path: Path, digests: Digests) -> None:
        """Write a file over a damaged object.

        Raises:
            PreconditionFailedError: It has changed since it was read.
            IntegrityError: It cannot be written over.
        """
        if broken.version is None:
            raise broken.error(self.store.address, "this store gives objects no version")
        try:
            await self._upload(package, broken.archive.key, path, digests, if_match=broken.version)
        except PreconditionFailedError:
            raise
        except StoreError as exc:
            raise broken.error(self.store.address, exc) from exc
        self.emit(events.Mended(broken.archive.key))

    async def _upload(
        self, package: Package, key: str, path: Path, digests: Digests, if_match: str | None = None
    ) -> None:
        size = digests.size or 0

        def moved(count: int) -> None:
            self.emit(events.BytesMoved("upload", package.filename, count))

        async with (
            self.budgets.uploads.borrow(),
            self.budgets.memory.borrow(min(size, 32 << 20)),
            self._phase("upload", package, size),
        ):
            await self.store.upload(key, path, digests, if_match=if_match, consume=True, moved=moved)

    @asynccontextmanager
    async def _phase(self, phase: events.Phase, package: Package, size: int | None) -> AsyncIterator[None]:
        self.emit(events.PhaseStarted(phase, package.filename, size))
        started = self.clock.now()
        try:
            yield
        finally:
            self.emit(events.PhaseEnded(phase, package.filename, self.clock.now() - started))


def _other_bytes(package: Package, expected: str, found: str) -> IntegrityError:
    return IntegrityError(
        f"the store already holds other bytes for {package.url}",
        expected=expected,
        found=found,
        hint="the file at this URL was replaced; take a new build of the package or check your lock",
    )


def _key_hash(package: Package, digests: Digests) -> str:
    text = digests.get(KEY_ALGORITHM[package.kind])
    if text is None:
        raise IntegrityError(f"the {KEY_ALGORITHM[package.kind]} of {package.filename} was not computed")
    return text


def _keep_partial(directory: Path) -> None:
    """Remove what a failed package left, but for the download that can be continued."""
    with disk_errors(directory), suppress(FileNotFoundError):
        for path in directory.iterdir():
            if not path.name.endswith((".part", ".part.json")):
                path.unlink(missing_ok=True)
