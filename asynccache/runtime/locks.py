"""Kernel file locks: one holder among all coroutines and processes of a node.

`flock` on a file descriptor is given back by the kernel when its holder dies, SIGKILL included. The file holds the
holder's process id and host, for the message that a waiter shows. A released lock's file is removed; a waiter that got
the lock of a removed file notices by its inode and starts over, so two holders cannot coexist.

Over NFS, `flock` works as far as the mount's locking does; the cache stays correct without it (publishing is a
conditional write), it would only do work twice.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asynccache.errors import DiskError, LockTimeoutError
from asynccache.runtime.clock import Clock, SystemClock

_POLL_FIRST: Final = 0.005  # seconds
_POLL_LONGEST: Final = 0.1
_SAY_AFTER: Final = 1.0
_SAY_AGAIN: Final = 30.0


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a lock, as its file says.

    Attributes:
        pid: Process id on `host`; None when the file does not say.
        host: Host name.
        since: Seconds since the epoch.
    """

    pid: int | None
    host: str
    since: float | None

    def __str__(self) -> str:
        if self.pid is None:
            return "an unknown process"
        since = "" if self.since is None else time.strftime(" since %Y-%m-%d %H:%M:%S UTC", time.gmtime(self.since))
        return f"process {self.pid} on {self.host}{since}"


Waiting = Callable[[str, Holder, float], None]
"""Called with the lock's label, its holder and the seconds waited so far."""


class LockDirectory:
    """Named locks as files of one directory.

    Args:
        path: The directory; made when first needed.
        timeout: Seconds to wait for a lock before giving up.
        clock: Time to wait on.
    """

    def __init__(self, path: Path, timeout: float = 3600.0, clock: Clock | None = None) -> None:
        self.path = path
        self.timeout = timeout
        self._clock = clock or SystemClock()
        self._local: dict[str, asyncio.Lock] = {}
        self._interest: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, name: str, *, label: str = "", waiting: Waiting | None = None) -> AsyncIterator[bool]:
        """Hold the lock for the length of the block.

        Args:
            name: File name of the lock.
            label: What it protects, for messages; `name` when empty.
            waiting: Told after a second of waiting and every half minute after that.

        Yields:
            Whether it had to be waited for: somebody else has changed things in the meantime.

        Raises:
            LockTimeoutError: Not free within the time-out; names the holder.
            DiskError: The lock's file cannot be made.
        """
        label = label or name
        deadline = self._clock.now() + self.timeout
        lock = self._local.setdefault(name, asyncio.Lock())
        self._interest[name] = self._interest.get(name, 0) + 1
        try:
            contended = lock.locked()
            try:
                async with asyncio.timeout(self.timeout):
                    await lock.acquire()
            except TimeoutError:
                raise self._timed_out(label, Holder(os.getpid(), socket.gethostname(), None)) from None
            try:
                file, waited = await self._lock_file(name, label, deadline, waiting)
                try:
                    yield contended or waited
                finally:
                    _unlock(self.path / name, file)
            finally:
                lock.release()
        finally:
            self._interest[name] -= 1
            if not self._interest[name]:
                del self._interest[name], self._local[name]

    def is_held(self, name: str) -> bool:
        """Tell whether anyone holds the lock now."""
        try:
            file = os.open(self.path / name, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)
        return False

    def sweep(self, name: str) -> None:
        """Remove the file that a holder left who was killed; nothing happens while somebody holds the lock."""
        path = self.path / name
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            return
        if _same_file(file, path):
            _unlock(path, file)
        else:
            os.close(file)

    async def _lock_file(self, name: str, label: str, deadline: float, waiting: Waiting | None) -> tuple[int, bool]:
        path = self.path / name
        started, pause, say_at, waited = self._clock.now(), _POLL_FIRST, _SAY_AFTER, False
        while True:
            file = self._try(path)
            if file is not None:
                return file, waited
            waited = True
            now = self._clock.now()
            if now >= deadline:
                raise self._timed_out(label, read_holder(path))
            if waiting is not None and now - started >= say_at:
                waiting(label, read_holder(path), now - started)
                say_at = now - started + _SAY_AGAIN
            await self._clock.sleep(min(pause, max(deadline - now, 0.001)))
            pause = min(pause * 1.5, _POLL_LONGEST)

    def _try(self, path: Path) -> int | None:
        """Return a locked descriptor of the file that is at `path`, or None when another holds it."""
        while True:
            try:
                file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                self._make_directory()
                continue
            except OSError as exc:
                raise DiskError(f"the lock {path} cannot be made ({exc.strerror})", hint="check cache_dir") from exc
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _same_file(file, path):
                    _write_holder(file)
                    return file
            except BlockingIOError:
                os.close(file)
                return None
            except OSError as exc:
                os.close(file)
                raise DiskError(f"the lock {path} cannot be taken ({exc.strerror})", hint="check cache_dir") from exc
            os.close(file)

    def _make_directory(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise DiskError(
                f"the lock directory {self.path} cannot be made ({exc.strerror})",
                hint="set cache_dir to a writable place",
            ) from exc

    def _timed_out(self, label: str, holder: Holder) -> LockTimeoutError:
        return LockTimeoutError(
            f"waited {self.timeout:g} seconds for {label}, which {holder} holds",
            hint="let it finish or end it, or raise lock_timeout",
        )


def read_holder(path: Path) -> Holder:
    """Read who holds a lock out of its file."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return Holder(int(document["pid"]), str(document["host"]), float(document["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder(None, "", None)


def _same_file(file: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(file)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)


def _write_holder(file: int) -> None:
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}).encode()
    try:
        os.ftruncate(file, 0)
        os.pwrite(file, text, 0)
    except OSError as exc:  # the text is for people only: a full disk does not make the lock less held
        if exc.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise


def _unlock(path: Path, file: int) -> None:
    with suppress(OSError):
        path.unlink()
    # explicitly, because a forked child may still have the descriptor
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)
    os.close(file)
