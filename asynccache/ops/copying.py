"""Copying objects from another store into ours: each is first compared with what its key says.

The other store is only read. Nothing is overwritten: if the key exists, the write is refused.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final, TypeVar

from asynccache.catalog.documents import read_twice
from asynccache.engine import events
from asynccache.engine.host import Host
from asynccache.errors import IntegrityError
from asynccache.model.digest import Digests, digest_file
from asynccache.store.base import BytesMoved, ObjectInfo, Store, not_found
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Reading, VerifiedReader, Whole

T = TypeVar("T")
_MOST: Final = 32 << 20  # most bytes of memory that copying one object takes


class Copier:
    """Copies from one store.

    Args:
        host: Settings, threads and budgets to work with.
        store: The target, open.
        source: The other store, open.
    """

    def __init__(self, host: Host, store: Store, source: Store) -> None:
        self._host = host
        self._store = store
        self.source = source
        budgets = host.budgets
        self._reader = VerifiedReader(source, host.threads, budgets.memory, budgets.cpu, lambda _damage: None)

    async def archive(self, archive: StoredArchive, wanted: Digests | None = None) -> Reading:
        """Copy an archive if it is intact; return what reading it found.

        Args:
            archive: The archive in the other store.
            wanted: Other digests that it must have.

        Raises:
            PreconditionFailedError: Its key exists.
            StoreError: One of the stores fails.
            DiskError: The file between them cannot be written.
        """
        async with self._passing(archive.filename, archive.size) as path:
            with self._phase("fetch", archive.filename, archive.size) as moved:
                reading = await self._reader.read(archive, path, wanted=wanted, moved=moved)
            if isinstance(reading, Whole):
                await self._publish(archive.filename, archive.key, path, reading.digests)
            return reading

    async def file(self, info: ObjectInfo, wrong: Callable[[Path, Digests], str]) -> None:
        """Copy an object of any size whose key does not name the digest of all of it.

        Args:
            info: The object in the other store, as listed.
            wrong: Returns what is wrong with its bytes, empty if nothing is. Called in a thread.

        Raises:
            IntegrityError: It is damaged in two readings.
            ObjectNotFoundError: It is no longer there.
            PreconditionFailedError, StoreError, DiskError: As of `archive`.
        """
        name = info.key.rpartition("/")[2]
        async with self._passing(name, info.size) as path:
            for store in (self.source, self.source.another()):
                with self._phase("fetch", name, info.size) as moved:
                    said, digests = await self._judged(store, info, path, wrong, moved)
                if not said:
                    await self._publish(name, info.key, path, digests)
                    return
        raise IntegrityError(
            f"{info.key} in {self.source.address} is damaged: {said}", hint="make it again in that store"
        )

    async def look(self, key: str, read: Callable[[bytes], T]) -> tuple[T, bytes]:
        """Return what `read` returns for a small object, and its bytes.

        Args:
            key: Key of the object.
            read: Raises IntegrityError if the bytes are not what they should be.

        Raises:
            IntegrityError: It is damaged in two readings.
            ObjectNotFoundError: It is no longer there.
            StoreError: The other store fails.
        """
        found = await read_twice(self.source, key, lambda data: (read(data), data))
        if found is None:
            raise not_found(self.source.address, key)
        return found

    async def _judged(
        self,
        store: Store,
        info: ObjectInfo,
        path: Path,
        wrong: Callable[[Path, Digests], str],
        moved: BytesMoved,
    ) -> tuple[str, Digests]:
        threads, budgets = self._host.threads, self._host.budgets
        async with AsyncExitStack() as stack:
            if store is not self.source:
                await stack.enter_async_context(store)
            await stack.enter_async_context(budgets.memory.borrow(min(info.size, _MOST)))
            await store.download(info.key, path, size=info.size, moved=moved)

        def judge() -> tuple[str, Digests]:
            digests = digest_file(str(path), "md5", "sha256")
            return wrong(path, digests), digests

        async with budgets.cpu.borrow():
            return await threads.work(lambda _stop: judge())

    async def _publish(self, name: str, key: str, path: Path, digests: Digests) -> None:
        host, store, size = self._host, self._store, digests.size or 0
        async with host.budgets.uploads.borrow(), host.budgets.memory.borrow(min(size, _MOST)):
            with self._phase("upload", name, size) as moved:
                await store.upload(key, path, digests, consume=True, moved=moved)

    @contextmanager
    def _phase(self, phase: events.Phase, name: str, size: int) -> Iterator[BytesMoved]:
        emit = self._host.emit
        with self._host.phase(phase, name, size):
            yield lambda count: emit(events.BytesMoved(phase, name, count))

    @asynccontextmanager
    async def _passing(self, name: str, size: int) -> AsyncIterator[Path]:
        """Yield a temporary file for an object."""
        host = self._host
        path = await host.threads.run(host.workspace.passing_file, name)
        try:
            async with host.budgets.temp.borrow(size):
                yield path
        finally:
            await host.threads.certainly(_remove, path)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
