"""Archives of environments on this node: finding existing ones, and fetching the rest from a store, verified."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from asynccache.engine.adoption import Adoption
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.engine.verified import Verified
from asynccache.errors import AsyncCacheError
from asynccache.hydrate.package_directory import DIRNAME, PackageDirectory
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, digest_file
from asynccache.model.package import Format
from asynccache.ops.environment_packages import Need
from asynccache.runtime.scratch import scratch_directory
from asynccache.runtime.tasks import run_together, run_works
from asynccache.store.base import Store
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, NotWanted, Whole

Suspect = tuple[Need, Absent | Damaged]
"""What the store was said to have and is not there as it should be."""


@dataclass(frozen=True, slots=True)
class _Fetched:
    need: Need
    archive: StoredArchive
    staged: Path
    address: str
    sha256: str


class NodeArchives:
    """The package directory below `cache_dir`, as far as it concerns some packages.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store.
        memory: What was verified before.
    """

    def __init__(self, host: Host, sources: Sources, memory: Verified) -> None:
        self._host = host
        self._sources = sources
        self._memory = memory
        self.directory = PackageDirectory(host.settings.cache_dir / DIRNAME, host.settings.lock_timeout)
        self._sizes: dict[int, int] = {}
        self._before: set[int] = set()

    def has(self, need: Need) -> bool:
        """Whether this node has a verified archive of the package."""
        return id(need) in self._sizes

    def had(self, need: Need) -> bool:
        """Whether this node had it before this run."""
        return id(need) in self._before

    def bytes(self, need: Need) -> int:
        """Size of the node's archive, 0 if there is none."""
        return self._sizes.get(id(need), 0)

    async def look(self, needs: Sequence[Need], wanted: Format | None) -> None:
        """Find out what this node has. A file that was never verified is read; a damaged one counts as absent."""
        place = str(self.directory.path)
        await self._sources.derived.load()
        known = await self._host.threads.run(self._memory.known, place)
        found = await run_together([self._look(need, wanted, known) for need in needs])
        await self._host.threads.run(self._memory.add, place, [entry for entry in found if entry is not None])
        self._before = set(self._sizes)

    async def _look(self, need: Need, wanted: Format | None, known: dict[str, str]) -> tuple[str, str] | None:
        doubtful = {archive.format for archive in need.doubtful(Adoption(self._host, self._sources))}
        for fmt in _usable(need, wanted):
            path = self.directory.archive(need.package.filename, fmt)
            try:
                status = path.stat()
            except OSError:
                continue
            if fmt in doubtful:
                continue
            version = _version(status)
            if known.get(path.name) == version:
                self._sizes[id(need)] = status.st_size
                need.ready_at = need.ready_at or self._host.clock.now()
                return None
            archive = need.found.get(fmt)
            try:
                expected = need.package.digests_of(fmt) or (archive.digests if archive else None)
            except AsyncCacheError:  # a malformed document
                expected = None
            if not expected:
                continue
            async with self._host.budgets.cpu.borrow():
                digests = await self._host.threads.work(_digesting(path, expected.algorithms()))
            if expected.mismatch(digests) is None:
                self._sizes[id(need)] = status.st_size
                need.ready_at = self._host.clock.now()
                return path.name, version
        return None

    async def bring(
        self,
        needs: Sequence[Need],
        sources_of: Callable[[Need], Sources],
        verified: list[tuple[Sources, StoredArchive, str]],
    ) -> list[Suspect]:
        """Copy archives from a store, verify them and move them into place.

        Args:
            needs: Packages that are complete in a store; failures become their error.
            sources_of: Returns that store.
            verified: Called with each archive that was read and found correct, with its sha256.

        Returns:
            What differs from what the store says.

        Raises:
            DiskError: The directory cannot be written.
            LockTimeoutError: Another program holds its lock.
        """
        if not needs:
            return []
        host = self._host
        async with scratch_directory("node-", host.workspace.path) as staging:

            async def stage(numbered: tuple[int, Need]) -> _Fetched | Suspect | None:
                number, need = numbered
                return await self._stage(need, sources_of(need), staging / str(number))

            results = await run_works(enumerate(needs), stage, room=host.budgets.in_flight)
            fetched = [result for result in results if isinstance(result, _Fetched)]
            await host.threads.run(self._place, fetched)
        now = host.clock.now()
        for item in fetched:
            verified.append((sources_of(item.need), item.archive, item.sha256))
            self._sizes[id(item.need)] = item.archive.size
            item.need.ready_at = now
        for need, result in zip(needs, results, strict=True):
            if isinstance(result, AsyncCacheError):
                need.error = result
        return [result for result in results if isinstance(result, tuple)]

    async def _stage(self, need: Need, sources: Sources, path: Path) -> _Fetched | Suspect | None:
        archive = chosen_archive(need, self._host.settings.wanted_format)
        async with self._host.budgets.temp.borrow(archive.size):
            reading = await sources.reader.read(archive, path, wanted=need.package.digests_of(archive.format))
        match reading:
            case Whole(digests):
                return _Fetched(need, archive, path, self._address(need, archive, sources.store), digests.sha256 or "")
            case NotWanted():
                need.error = reading.error(sources.store.address)
                return None
            case Absent() | Damaged():
                return need, reading

    def _address(self, need: Need, archive: StoredArchive, store: Store) -> str:
        """Return the line of `urls.txt` for this archive, which other programs read (contract, section 4.2)."""
        if need.package.kind != "conda":
            return ""
        if archive.format == need.package.url_format and need.fetchable is not None:
            return str(need.fetchable.url)
        # other readers prepend the directory of the kind to a key that begins with it already
        return f"{store.address}/{self._host.settings.packages_dirname}/conda/{archive.key}"

    def _place(self, fetched: Sequence[_Fetched]) -> None:
        targets = [self.directory.archive(b.need.package.filename, b.archive.format) for b in fetched]
        moved = [(b.staged, target) for b, target in zip(fetched, targets, strict=True)]
        self.directory.take(moved, [b.address for b in fetched if b.address])
        entries = [(target.name, _version(target.stat())) for target in targets]
        self._memory.add(str(self.directory.path), entries)


def _usable(need: Need, wanted: Format | None) -> tuple[Format, ...]:
    """Return the formats that will do on the node: the wanted one, or any that can be installed directly."""
    if wanted is not None and wanted.kind == need.package.kind:
        return (wanted,)
    if need.package.kind == "conda":
        return (Format.CONDA, Format.TAR_BZ2)
    return need.formats


def _digesting(path: Path, algorithms: tuple[str, ...]) -> Callable[[object], Digests]:
    return lambda _stop: digest_file(str(path), *algorithms)


def chosen_archive(need: Need, preferred: Format | None) -> StoredArchive:
    """Return the format of a package to fetch to the node, of those that the store has, at least one."""
    there = [f for f in need.formats if f in need.found]
    return need.found[next((f for f in there if f == preferred), there[0])]


def _version(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
