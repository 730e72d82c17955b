"""LocalStore: objects as files below a directory, shared by any number of processes.

An object becomes visible by a hard link (`if_absent`) or a rename of a finished and flushed file. Every process that
writes through this class sees one winner of concurrent conditional writes.
"""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncIterator, Callable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from asynccache.errors import IntegrityError, StoreNotFoundError, UsageError
from asynccache.model.digest import Digests
from asynccache.model.root import StoreRoot
from asynccache.runtime.threads import Progress, ThreadRoom
from asynccache.store import local_files
from asynccache.store.base import (
    BytesMoved,
    Capabilities,
    ObjectInfo,
    checked_key,
    checked_put,
    lost,
    not_found,
)
from asynccache.store.local_files import store_errors
from asynccache.store.local_staging import HIDDEN, Staging, root_lock
from asynccache.store.local_walk import object_info, walk

T = TypeVar("T")
_PAGE: Final = 1000  # objects
# what a read gets to hear when there is no such object, or cannot be one
_ABSENT: Final = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class LocalStore:
    """A directory as a store. It is made when the first object is written, never by reading.

    Args:
        root: The directory; `~` is expanded.
        may_be_absent: Whether a directory that is not there is an empty store; else opening it fails.
    """

    def __init__(self, root: Path, *, may_be_absent: bool = True) -> None:
        self._may_be_absent = may_be_absent
        self._place = StoreRoot.local(root)
        self._root = self._place.directory
        self._staging = Staging(self._root)
        self._threads = ThreadRoom(8, "asynccache-store")
        self._requests = 0
        self._capabilities: Capabilities | None = None

    @property
    def root(self) -> StoreRoot:
        """Where the store lies."""
        return self._place

    @property
    def address(self) -> str:
        """The directory's absolute path."""
        return str(self._root)

    @property
    def requests(self) -> int:
        """How many operations were asked for; a scan counts one a thousand objects."""
        return self._requests

    @property
    def lists_by_page(self) -> bool:
        """A directory is listed by itself without cost."""
        return False

    async def __aenter__(self) -> Self:
        def prepare() -> None:
            with store_errors(self.address, "its directory", self._root):
                there = self._root.exists()
            if there and not self._root.is_dir():
                raise StoreNotFoundError(
                    f"there is no store at {self.address}: it is not a directory", hint="choose a directory"
                )
            if not there and not self._may_be_absent:
                raise StoreNotFoundError(
                    f"there is no store at {self.address}",
                    hint="check the path; it is made by the first command that stores something there",
                )
            self._staging.sweep()

        await self._threads.run(prepare)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._threads.run(self._staging.close)
        finally:
            self._threads.close()

    def another(self) -> LocalStore:
        """See `Store.another`."""
        return LocalStore(self._root)

    async def capabilities(self) -> Capabilities:
        """Conditional writes are atomic where the file system has hard links."""
        if self._capabilities is None:

            def probe() -> bool:
                with store_errors(self.address, "a probe", self._root):
                    return local_files.can_link(self._staging.directory)

            self._requests += 1
            self._capabilities = Capabilities(conditional_put=await self._threads.run(probe))
        return self._capabilities

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
                raise not_found(self.address, key) from None

        return await self._operate(key, read)

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        """See `Store.download`."""
        del size
        source = self._path(key)

        def copy(progress: Progress) -> int:
            with store_errors(self.address, key, self._root):
                try:
                    source.open("rb").close()
                except _ABSENT:
                    raise not_found(self.address, key) from None
            try:
                return local_files.copy_file(source, path, progress)
            except OSError as exc:
                if not source.exists():
                    raise not_found(self.address, key) from None
                raise local_files.write_error(path, source.stat().st_size, exc) from exc

        self._requests += 1
        return await self._threads.run_reporting(copy, moved)

    async def put(self, key: str, data: bytes, *, if_absent: bool = False, if_match: str | None = None) -> ObjectInfo:
        """See `Store.put`."""
        checked_put(self.address, key, len(data), if_absent=if_absent, if_match=if_match)

        def write(path: Path) -> ObjectInfo:
            staged = self._staging.new()
            try:
                staged.write_bytes(data)
                return self._publish(key, staged, path, if_absent=if_absent, if_match=if_match)
            finally:
                staged.unlink(missing_ok=True)

        return await self._operate(key, write, needed=len(data))

    async def upload(
        self,
        key: str,
        path: Path,
        digests: Digests,
        *,
        if_absent: bool = True,
        if_match: str | None = None,
        consume: bool = False,
        moved: BytesMoved | None = None,
    ) -> ObjectInfo:
        """See `Store.upload`; of the digests the size is verified, since nothing lies between the file and the disk."""
        target = self._path(key)
        if_absent = if_absent and if_match is None

        def write(progress: Progress) -> ObjectInfo:
            try:
                path.open("rb").close()
                size = path.stat().st_size
            except OSError as exc:
                raise local_files.read_error(path, exc) from exc
            with store_errors(self.address, key, self._root, size):
                checked_put(self.address, key, size, if_absent=if_absent, if_match=if_match)
                if digests.size is not None and digests.size != size:
                    raise IntegrityError(
                        f"{path} is not the file that was to become {key}",
                        expected=f"{digests.size} bytes",
                        found=f"{size} bytes",
                    )
                if if_absent and target.exists():
                    raise lost(self.address, key)
                staged = self._staging.new()
                try:
                    taken = consume and _take(path, staged)
                    if taken:
                        progress.advance(size)
                    else:
                        local_files.copy_file(path, staged, progress)
                    info = self._publish(key, staged, target, if_absent=if_absent, if_match=if_match)
                    if taken:
                        path.unlink(missing_ok=True)
                    return info
                finally:
                    staged.unlink(missing_ok=True)

        self._requests += 1
        return await self._threads.run_reporting(write, moved)

    async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See `Store.scan`."""
        entries = walk(self._root, prefix, start_after, HIDDEN)

        def page() -> list[ObjectInfo]:
            with store_errors(self.address, prefix or "its root", self._root):
                return list(islice(entries, _PAGE))

        while True:
            self._requests += 1
            found = await self._threads.run(page)
            for info in found:
                yield info
            if len(found) < _PAGE:
                return

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = _PAGE) -> list[ObjectInfo]:
        """See `Store.list_page`."""

        def page() -> list[ObjectInfo]:
            with store_errors(self.address, prefix or "its root", self._root):
                return list(islice(walk(self._root, prefix, start_after, HIDDEN), min(limit, _PAGE)))

        self._requests += 1
        return await self._threads.run(page)

    async def delete(self, key: str) -> None:
        """See `Store.delete`; directories that it leaves empty go too."""

        def remove(path: Path) -> None:
            try:
                with root_lock(self._root, self.address):
                    path.unlink()
            except (FileNotFoundError, NotADirectoryError):
                return
            except (IsADirectoryError, PermissionError):
                if path.is_dir():
                    return
                raise
            local_files.prune(path.parent, self._root)

        await self._operate(key, remove)

    async def move(self, key: str, new_key: str) -> None:
        """See `Store.move`; atomic here."""
        target = self._path(new_key)

        def rename(path: Path) -> None:
            if not path.is_file():
                raise not_found(self.address, key)
            if path == target:
                return
            with root_lock(self._root, self.address):
                try:
                    changed = local_files.publish(path, target, self._root, if_absent=False)
                except FileNotFoundError:
                    if path.exists():
                        raise
                    raise not_found(self.address, key) from None
            local_files.flush_all([*changed, path.parent])
            local_files.prune(path.parent, self._root)

        await self._operate(key, rename)

    async def _operate(self, key: str, function: Callable[[Path], T], needed: int | None = None) -> T:
        path = self._path(key)

        def operate() -> T:
            with store_errors(self.address, key, self._root, needed):
                return function(path)

        self._requests += 1
        return await self._threads.run(operate)

    def _path(self, key: str) -> Path:
        checked_key(key)
        if key.split("/", 1)[0] == HIDDEN:
            raise UsageError(f"{key} cannot be an object of {self.address}: {HIDDEN} holds temporary files")
        return self._root / key

    @staticmethod
    def _stat(key: str, path: Path) -> ObjectInfo | None:
        try:
            status = path.stat()
        except _ABSENT:
            return None
        return object_info(key, status) if stat.S_ISREG(status.st_mode) else None

    def _publish(
        self, key: str, staged: Path, target: Path, *, if_absent: bool, if_match: str | None = None
    ) -> ObjectInfo:
        local_files.freshen(staged)
        local_files.flush(staged)
        info = object_info(key, staged.stat())
        try:
            changed = self._make_visible(key, staged, target, if_absent=if_absent, if_match=if_match)
        except FileExistsError:
            if not target.is_file():
                raise
            raise lost(self.address, key) from None
        local_files.flush_all(changed)
        local_files.remove_abandoned_hashes(target)
        return info

    def _make_visible(
        self, key: str, staged: Path, target: Path, *, if_absent: bool, if_match: str | None
    ) -> list[Path]:
        if if_absent:
            try:
                return local_files.publish(staged, target, self._root, if_absent=True)
            except local_files.NoHardLinksError:
                with root_lock(self._root, self.address):
                    if target.exists():
                        raise lost(self.address, key) from None
                    return local_files.publish(staged, target, self._root, if_absent=False)
        with root_lock(self._root, self.address):
            if if_match is not None:
                there = self._stat(key, target)
                if there is None or there.etag != if_match:
                    raise lost(self.address, key, if_match=if_match)
            return local_files.publish(staged, target, self._root, if_absent=False)


def _take(path: Path, staged: Path) -> bool:
    """Link a file that was given away into the store's file system; False when it must be copied."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:  # somebody else has it too
            return False
        staged.hardlink_to(path)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    return True


def _read(descriptor: int, length: int) -> bytes:
    """Read up to `length` bytes from where the file stands."""
    blocks = []
    while length > 0 and (block := os.read(descriptor, min(length, local_files.BLOCK))):
        blocks.append(block)
        length -= len(block)
    return b"".join(blocks)
