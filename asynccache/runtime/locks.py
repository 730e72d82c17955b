"""Kernel file locks as coroutines: one holder among all coroutines and processes of a node.

If the file system has no kernel locks, work continues without, and only the coroutines of this process take turns: what
they protect is created in another directory and published by a conditional write or a rename, so at worst it is done
twice. `Turn.exclusive` shows this to callers that keep unfinished work where others would find it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field
from pathlib import Path

from asynccache.errors import LockTimeoutError
from asynccache.model.dataclass import dataclass
from asynccache.node.kernel_lock import Holder, KernelLock, LocksUnsupportedError, pauses, take, timed_out
from asynccache.runtime.clock import Clock
from asynccache.runtime.late_loop import loop_begins


class LockObserver:
    """Is notified about locks; this one ignores it."""

    def waiting(self, label: str, holder: Holder, seconds: float) -> None:
        """Another process holds what a lock protects; after a second of waiting and every half minute after that."""

    def unsupported(self, directory: str, reason: str) -> None:
        """Files in a directory cannot be locked, and work continues without; once for each directory."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A lock that is held.

    Attributes:
        waited: Whether it had to be waited for: another process may have changed things meanwhile.
        exclusive: Whether other processes are kept out, too.
    """

    waited: bool
    exclusive: bool


@dataclass(slots=True)
class LockDirectory:
    """Named locks as files of one directory.

    Attributes:
        path: The directory; created on first use.
        timeout: Seconds to wait for a lock before giving up.
        clock: Clock to wait on.
        observer: Notified about waiting and about directories without locks.
    """

    path: Path
    timeout: float = 3600.0
    clock: Clock = field(default_factory=Clock)
    observer: LockObserver = field(default_factory=LockObserver)
    _local: dict[Path, asyncio.Lock] = field(default_factory=dict, init=False)
    _interest: Counter[Path] = field(default_factory=Counter, init=False)
    _unsupported: set[str] = field(default_factory=set, init=False)

    @property
    def supported(self) -> bool:
        """Whether files of the directory can be locked, as far as it was tried."""
        return str(self.path) not in self._unsupported

    @asynccontextmanager
    async def hold(self, name: str | Path, *, label: str = "") -> AsyncIterator[Turn]:
        """Hold a lock for the length of the block.

        Args:
            name: File name of the lock, or the absolute path of one that is elsewhere.
            label: What it protects, for messages; by default `name`.

        Raises:
            LockTimeoutError: It was not free within the time-out; the message names the holder.
            DiskError: The lock's file cannot be created.
        """
        path, label = self.path / name, label or str(name)
        started = self.clock.now()
        await loop_begins()
        lock = self._local.setdefault(path, asyncio.Lock())
        self._interest[path] += 1
        try:
            contended = lock.locked()
            try:
                async with asyncio.timeout(self.timeout):
                    await lock.acquire()
            except TimeoutError:
                raise timed_out(label, Holder.this_process(), self.timeout) from None
            kernel_lock = KernelLock(str(path))
            try:
                turn = await self._take(kernel_lock, label, started)
                yield Turn(contended or turn.waited, turn.exclusive)
            finally:
                kernel_lock.release()
                lock.release()
        finally:
            self._interest[path] -= 1
            if not self._interest[path]:
                del self._interest[path], self._local[path]

    @asynccontextmanager
    async def share(self, descriptor: int, path: Path, *, label: str) -> AsyncIterator[None]:
        """Share the lock of an open file for the length of the block; closing the file releases it.

        Args:
            descriptor: Descriptor of the file.
            path: Path of the file.
            label: What an exclusive holder does, for messages.

        Raises:
            LockTimeoutError: Another process held it exclusively for longer than the time-out.
        """
        try:
            for pause in pauses(self.clock.now(), self.timeout, self.clock.now):
                await self.clock.sleep(pause)
                if take(descriptor, str(path), shared=True):
                    break
            else:
                raise LockTimeoutError(
                    f"waited {self.timeout:g} seconds for another process to {label}",
                    hint="let it finish, or raise lock_timeout",
                )
        except LocksUnsupportedError as exc:
            self._report_unsupported(exc)
        yield

    def is_held(self, name: str | Path) -> bool:
        """Return whether anyone holds a lock now; True if that cannot be known."""
        return KernelLock(str(self.path / name)).is_held()

    def sweep(self, name: str | Path) -> None:
        """Remove the file that a killed holder left; nothing happens while the lock is held."""
        KernelLock(str(self.path / name)).sweep()

    async def _take(self, lock: KernelLock, label: str, started: float) -> Turn:
        def waiting(seconds: float) -> None:
            self.observer.waiting(label, Holder.read(lock.path), seconds)

        pause = 0.0
        try:
            for pause in pauses(started, self.timeout, self.clock.now, waiting):
                await self.clock.sleep(pause)
                if lock.take():
                    return Turn(pause > 0, exclusive=True)
        except LocksUnsupportedError as exc:
            self._report_unsupported(exc)
            return Turn(pause > 0, exclusive=False)
        raise timed_out(label, Holder.read(lock.path), self.timeout)

    def _report_unsupported(self, error: LocksUnsupportedError) -> None:
        if error.directory not in self._unsupported:
            self._unsupported.add(error.directory)
            self.observer.unsupported(error.directory, error.reason)
