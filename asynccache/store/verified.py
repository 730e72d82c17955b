"""The one verified read: an archive from a store, compared with what its key says and with what is wanted.

The result of a read is decided here, for every caller. An archive is *damaged* only if it differs from its own key on a
second, independent read: the store opened again, on another connection. An archive that matches its key but not what
the reader wants, such as the digest in a document, is *not wanted*, and nothing is wrong with it. Nothing is moved or
deleted here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from asynccache.errors import IntegrityError, ObjectNotFoundError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, digest_file
from asynccache.runtime.budget import Budget
from asynccache.runtime.threads import Threads
from asynccache.store.base import BytesMoved, Store
from asynccache.store.stored import StoredArchive

MEND: Final = "`asynccache verify --quarantine` moves it out of the way"
_UNKNOWN: Final = 8 << 20  # bytes of memory for an archive of unknown size
_MOST: Final = 32 << 20  # most bytes of memory that transferring one archive takes


@dataclass(frozen=True, slots=True)
class Whole:
    """The archive is in the file, and correct.

    Attributes:
        digests: The computed digests: the one in the key, the wanted ones, and sha256.
    """

    digests: Digests


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between an archive as it was read and what it was compared with.

    Attributes:
        archive: The archive.
        part: `size`, `md5` or `sha256`.
        expected: What should have been read.
        found: What was read.
    """

    archive: StoredArchive
    part: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class NotWanted(Difference):
    """The object matches its key, but not what was wanted."""

    def error(self, address: str) -> IntegrityError:
        """Return the failure of a caller that needs exactly this archive; `address` is the store's."""
        return IntegrityError(
            f"{self.archive.key} in {address} is what its key says, but not what is wanted: its {self.part} differs",
            expected=self.expected,
            found=self.found,
            hint="check the digest in the environment or lock that names it",
        )


@dataclass(frozen=True, slots=True)
class Misread(Difference):
    """The first reading differed from the key and the second did not: the transfer was damaged, not the object."""


@dataclass(frozen=True, slots=True)
class Damaged(Difference):
    """Both readings differed from the key; the difference is the second one's.

    Attributes:
        readings: Size and digests of both.
        version: Version of the object that was read the second time, to replace exactly that; None if the store has
            none.
    """

    readings: tuple[Digests, Digests]
    version: str | None

    def error(self, address: str, why: object = None) -> IntegrityError:
        """Return the failure of a caller that needs this object.

        Args:
            address: The store.
            why: Why it was not replaced, if that was tried.
        """
        return IntegrityError(
            f"{self.archive.key} in {address} is damaged, the {self.part} is wrong in two readings",
            expected=self.expected,
            found=self.found,
            hint=MEND if why is None else f"it could not be replaced ({why}); {MEND}",
        )


Reading = Whole | Absent | NotWanted | Damaged


@dataclass(frozen=True, slots=True)
class _Wanted:
    digests: Digests
    allowed: frozenset[str] | None

    def mismatch(self, found: Digests) -> tuple[str, str, str] | None:
        difference = self.digests.mismatch(found)
        if difference is None and self.allowed is not None and found.sha256 not in self.allowed:
            return "sha256", " or ".join(sorted(self.allowed)), str(found.sha256)
        return difference


@dataclass(frozen=True, slots=True)
class VerifiedReader:
    """Reads archives of one store.

    Attributes:
        store: An open store.
        threads: Threads that digest files.
        memory: Budget of bytes held in memory.
        cpu: Budget of cores.
        report: Called with what is wrong with an object, or with reading it.
    """

    store: Store
    threads: Threads
    memory: Budget
    cpu: Budget
    report: Callable[[Damaged | Misread], None]

    async def read(
        self,
        archive: StoredArchive,
        path: Path,
        *,
        wanted: Digests | None = None,
        allowed: frozenset[str] | None = None,
        moved: BytesMoved | None = None,
    ) -> Reading:
        """Download an archive into a file and check it.

        Args:
            archive: The archive.
            path: The file, which is removed unless the archive is intact.
            wanted: Digests that the archive must have.
            allowed: Acceptable sha256 values; None for any.
            moved: Called with progress.

        Raises:
            StoreError: The store cannot be read, so nothing is known about the object.
            DiskError: The file cannot be written.
        """
        reading: Reading | None = None
        try:
            reading = await self._read(archive, path, _Wanted(Digests() if wanted is None else wanted, allowed), moved)
        finally:
            if not isinstance(reading, Whole):
                await self.threads.certainly(_remove, path)
        return reading

    async def _read(self, archive: StoredArchive, path: Path, wanted: _Wanted, moved: BytesMoved | None) -> Reading:
        key = archive.digests or wanted.digests  # a key without a digest cannot be compared
        first = await self._once(self.store, archive, path, wanted, moved)
        if first is None:
            return Absent()
        wrong = key.mismatch(first)
        if wrong is None:
            return _judged(archive, first, wanted)
        async with self.store.another() as store:
            # requested before reading: if the object is replaced meanwhile, replacing this version is refused
            there = await store.head(archive.key)
            second = await self._once(store, archive, path, wanted, moved)
        if second is None:
            return Absent()
        if key.mismatch(second) is None:
            self.report(Misread(archive, *wrong))
            return _judged(archive, second, wanted)
        if not archive.digests:
            return _judged(archive, second, wanted)
        listed = Digests(size=archive.size or None)
        difference = listed.mismatch(second) or archive.digests.mismatch(second) or wrong
        version = there.etag if there is not None else None
        damaged = Damaged(archive, *difference, (first, second), version)
        self.report(damaged)
        return damaged

    async def _once(
        self, store: Store, archive: StoredArchive, path: Path, wanted: _Wanted, moved: BytesMoved | None
    ) -> Digests | None:
        size = archive.size
        async with self.memory.borrow(min(size or _UNKNOWN, _MOST)):
            try:
                size = await store.download(archive.key, path, size=size or None, moved=moved)
            except ObjectNotFoundError:
                return None
        # always sha256: md5 detects damage, and sha256 is what was vouched for
        algorithms = {*archive.digests.algorithms(), *wanted.digests.algorithms(), "sha256"}
        async with self.cpu.borrow(work=archive.format.work(size)):
            return await self.threads.work(lambda _stop: digest_file(str(path), *algorithms))


def _judged(archive: StoredArchive, found: Digests, wanted: _Wanted) -> Whole | NotWanted:
    difference = wanted.mismatch(found)
    return Whole(found) if difference is None else NotWanted(archive, *difference)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
