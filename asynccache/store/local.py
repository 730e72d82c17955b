"""LocalStore: objects as files below a directory, shared by any number of processes.

An object becomes visible by a hard link (`if_absent`) or a rename of a finished and flushed file. Every process that
writes through this class sees one winner of concurrent conditional writes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Final, Self, TypeVar

from asynccache.errors import StoreNotFoundError, UsageError
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.runtime.threads import Progress, ThreadRoom
from asynccache.store import local_files
from asynccache.store.base import PAGE, BytesMoved, Condition, ObjectInfo, Store, checked_key, not_found, same_version
from asynccache.store.local_staging import HIDDEN, Staging, root_lock
from asynccache.store.local_walk import object_info, walk

T = TypeVar("T")
# errors of a read if there is no such object, or cannot be one
_ABSENT: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore(Store):
    """A directory as a store. It is created when the first object is written, never by reading.

    Args:
        root: The directory; `~` is expanded.
        may_be_absent: Whether a missing directory counts as an empty store; otherwise opening it fails.
    """

    lists_by_page = False

    def __init__(self, root: Path, *, may_be_absent: bool = True) -> None:
        super().__init__(StoreRoot.local(root))
        self._may_be_absent = may_be_absent
        self._directory = self._root.directory
        self._staging = Staging(self._directory)
        self._threads = ThreadRoom(8, "asynccache-store")

    async def __aenter__(self) -> Self:
        def prepare() -> None:
            with self._errors("its directory"):
                there = self._directory.exists()
            if there and not self._directory.is_dir():
                raise StoreNotFoundError(
                    f"there is no store at {self._address}: it is not a directory", hint="choose a directory"
                )
            if not there and not self._may_be_absent:
                raise StoreNotFoundError(
                    f"there is no store at {self._address}",
                    hint="check the path; it is made by the first command that stores something there",
                )
            self._staging.sweep()

        await self._threads.run(prepare)
        return self

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._threads.run(self._staging.close)
        finally:
            self._threads.close()

    def another(self) -> LocalStore:
        """See `Store.another`."""
        return LocalStore(self._directory)

    async def _honours_conditions(self, *, again: bool) -> bool:
        """Conditional writes are atomic if the file system has hard links."""
        del again

        def probe() -> bool:
            with self._errors("a probe"):
                return local_files.can_link(self._staging.directory)

        self._requests += 1
        return await self._threads.run(probe)

    async def head(self, key: str) -> ObjectInfo | None:
        """See `Store.head`."""
        return await self._operate(key, lambda path: self._stat(key, path))

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""

        def read(path: Path) -> bytes:
            try:
                with path.open("rb", buffering=0) as file:
                    file.seek(start)
                    return file.readall() if length is None else _read(file.fileno(), length)
            except _ABSENT:
                raise not_found(self._address, key) from None

        return await self._operate(key, read)

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`."""
        del size
        source = self._path(key)

        def copy(progress: Progress) -> int:
            with self._errors(key):
                try:
                    source.open("rb").close()
                except _ABSENT:
                    raise not_found(self._address, key) from None
            try:
                return local_files.copy_file(source, path, progress)
            except OSError as exc:
                if not source.exists():
                    raise not_found(self._address, key) from None
                raise local_files.write_error(path, source.stat().st_size, exc) from exc

        self._requests += 1
        return await self._threads.run_reporting(copy, moved)

    async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
        def write(path: Path) -> ObjectInfo:
            with self._staged() as staged:
                staged.write_bytes(data)
                return self._publish(key, staged, path, condition)

        return await self._operate(key, write, needed=len(data))

    async def _upload(
        self, key: str, path: Path, digests: Digests, condition: Condition, *, consume: bool, moved: BytesMoved | None
    ) -> ObjectInfo:
        """Verify only the size, since nothing is between the file and the disk."""
        target = self._path(key)

        def write(progress: Progress) -> ObjectInfo:
            try:
                path.open("rb").close()
                size = path.stat().st_size
            except OSError as exc:
                raise local_files.read_error(path, exc) from exc
            self._check_put(key, size)
            digests.check(Digests(size=size), str(path), hint="the file has changed; make it again")
            with self._errors(key, size):
                if condition.if_absent and target.exists():
                    raise condition.lost(self._address, key)
                with self._staged() as staged:
                    taken = consume and _take(path, staged)
                    if taken:
                        progress.advance(size)
                    else:
                        local_files.copy_file(path, staged, progress)
                    info = self._publish(key, staged, target, condition)
                    if taken:
                        path.unlink(missing_ok=True)
                    return info

        self._requests += 1
        return await self._threads.run_reporting(write, moved)

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See `Store.scan`."""
        entries = walk(self._directory, prefix, start_after, HIDDEN)

        def page() -> list[ObjectInfo]:
            with self._errors(prefix or "its root"):
                return list(islice(entries, PAGE))

        while True:
            self._requests += 1
            found = await self._threads.run(page)
            for info in found:
                yield info
            if len(found) < PAGE:
                return

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""

        def page() -> list[ObjectInfo]:
            with self._errors(prefix or "its root"):
                return list(islice(walk(self._directory, prefix, start_after, HIDDEN), min(limit, PAGE)))

        self._requests += 1
        return await self._threads.run(page)

    async def _delete(self, key: str) -> None:
        await self._delete_same(key, None)

    async def _delete_same(self, key: str, known: ObjectInfo | None) -> bool:
        """See `Store.delete`; directories that become empty are removed too."""

        def remove(path: Path) -> bool:
            try:
                with root_lock(self._directory, self._address):
                    if known is not None:
                        there = self._stat(key, path)
                        if there is None or not same_version(there, known):
                            return False
                    path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return True
            except (IsADirectoryError, PermissionError):
                if path.is_dir():
                    return True
                raise
            local_files.prune(path.parent, self._directory)
            return True

        return await self._operate(key, remove)

    async def _move(self, key: str, new_key: str) -> None:
        """See `Store.move`; atomic in this store."""
        target = self._path(new_key)

        def rename(path: Path) -> None:
            if not path.is_file():
                raise not_found(self._address, key)
            if path == target:
                return
            with root_lock(self._directory, self._address):
                try:
                    changed = local_files.publish(path, target, self._directory, if_absent=False)
                except FileNotFoundError:
                    if path.exists():
                        raise
                    raise not_found(self._address, key) from None
            local_files.flush_all([*changed, path.parent])
            local_files.prune(path.parent, self._directory)

        await self._operate(key, rename)

    async def _operate(self, key: str, function: Callable[[Path], T], needed: int | None = None) -> T:
        path = self._path(key)

        def operate() -> T:
            with self._errors(key, needed):
                return function(path)

        self._requests += 1
        return await self._threads.run(operate)

    def _errors(self, key: str, needed: int | None = None) -> AbstractContextManager[None]:
        return local_files.store_errors(self._address, key, self._directory, needed)

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        """Provide the path of a file to write, which is removed at the end of the block."""
        staged = self._staging.new()
        try:
            yield staged
        finally:
            staged.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        checked_key(key)
        if key.split("/", 1)[0] == HIDDEN:
            raise UsageError(f"{key} cannot be an object of {self._address}: {HIDDEN} holds temporary files")
        return self._directory / key

    @staticmethod
    def _stat(key: str, path: Path) -> ObjectInfo | None:
        try:
            status = path.stat()
        except _ABSENT:
            return None
        return object_info(key, status) if stat.S_ISREG(status.st_mode) else None

    def _publish(self, key: str, staged: Path, target: Path, condition: Condition) -> ObjectInfo:
        local_files.freshen(staged)
        local_files.flush(staged)
        info = object_info(key, staged.stat())
        try:
            changed = self._make_visible(key, staged, target, condition)
        except FileExistsError:
            if target.is_dir():
                raise
            raise condition.lost(self._address, key) from None
        local_files.flush_all(changed)
        local_files.remove_abandoned_hashes(target)
        return info

    def _make_visible(self, key: str, staged: Path, target: Path, condition: Condition) -> list[Path]:
        if condition.if_absent:
            with suppress(local_files.NoHardLinksError):
                return local_files.publish(staged, target, self._directory, if_absent=True)
        with root_lock(self._directory, self._address):
            if condition:
                condition.check(self._address, key, self._stat(key, target))
            return local_files.publish(staged, target, self._directory, if_absent=False)


def _take(path: Path, staged: Path) -> bool:
    """Link a file that was given away into the store's file system; False if it must be copied."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:  # it has another hard link
            return False
        staged.hardlink_to(path)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _read(descriptor: int, length: int) -> bytes:
    """Read up to `length` bytes from the file's current position."""
    blocks = []
    while length > 0 and (block := os.read(descriptor, min(length, local_files.BLOCK))):
        blocks.append(block)
        length -= len(block)
    return b"".join(blocks)
