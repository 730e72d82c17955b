"""The one verified read: an archive out of a store, compared with what its key says and with what is wanted.

What a read shows is decided here, for every caller. An archive is *damaged* only if it differs from its own key on a
second, independent read: the store opened again, on another connection. An archive that is what its key says and not
what the reader wanted, such as the digest that a document names, is *not wanted*, and nothing is wrong with it. Nothing
is moved or deleted here.
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
_UNKNOWN: Final = 8 << 20  # bytes of memory for an archive whose size is not known
_MOST: Final = 32 << 20  # bytes that moving one archive takes at most


@dataclass(frozen=True, slots=True)
class Whole:
    """The archive is in the file, and what it should be.

    Attributes:
        digests: What was computed: what the key names, what was wanted, and sha256.
    """

    digests: Digests


@dataclass(frozen=True, slots=True)
class Absent:
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between an archive as it was read and what it was compared with.

    Attributes:
        archive: Which.
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
    """The object is what its key says, but not what was wanted."""

    def error(self, address: str) -> IntegrityError:
        """Return the failure of whoever can do with nothing else; `address` is the store's."""
        return IntegrityError(
            f"{self.archive.key} in {address} is what its key says, but not what is wanted: its {self.part} differs",
            expected=self.expected,
            found=self.found,
            hint="check the digest in the environment or lock that names it",
        )


@dataclass(frozen=True, slots=True)
class Misread(Difference):
    """The first reading differed from the key and the second did not: trouble on the way, and none with the object."""


@dataclass(frozen=True, slots=True)
class Damaged(Difference):
    """Both readings differed from the key; the difference is the second one's.

    Attributes:
        readings: Size and digests of both.
        version: Of the object that was read the second time, for replacing exactly that; None where the store has none.
    """

    readings: tuple[Digests, Digests]
    version: str | None

    def error(self, address: str, why: object = None) -> IntegrityError:
        """Return the failure of whoever needs this object.

        Args:
            address: The store.
            why: Why it was not replaced, where that was tried.
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
        threads: Where files are digested.
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
        """Bring an archive into a file and judge it.

        Args:
            archive: Which.
            path: The file; there is none afterwards unless the archive is whole.
            wanted: What the reader knows of the bytes that it wants.
            allowed: The sha256 that will do; None for any.
            moved: Called with progress.

        Raises:
            StoreError: The store cannot be read: nothing is known of the object then.
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
        key = archive.digests or wanted.digests  # a key that names no digest cannot be compared with
        first = await self._once(self.store, archive, path, wanted, moved)
        if first is None:
            return Absent()
        wrong = key.mismatch(first)
        if wrong is None:
            return _judged(archive, first, wanted)
        async with self.store.another() as store:
            # asked before reading: were it replaced meanwhile, replacing this version would be refused
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
        # sha256 always: md5 tells damage, and sha256 what somebody vouched for
        algorithms = {*archive.digests.algorithms(), *wanted.digests.algorithms(), "sha256"}
        async with self.cpu.borrow(work=archive.format.work(size)):
            return await self.threads.work(lambda _stop: digest_file(str(path), *algorithms))


def _judged(archive: StoredArchive, found: Digests, wanted: _Wanted) -> Whole | NotWanted:
    difference = wanted.mismatch(found)
    return Whole(found) if difference is None else NotWanted(archive, *difference)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
