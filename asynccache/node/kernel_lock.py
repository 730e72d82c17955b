"""Kernel file locks; no other module uses any.

`flock` on a file descriptor is released by the kernel when its holder dies, even by SIGKILL. A `KernelLock` is a file
that exists while a process holds or wants it, with its holder as content, for the message of waiting processes. A
process that gets the lock of a file that is no longer at its path notices by its inode and starts over, so two holders
cannot coexist.

Not every file system has such locks: NFS without its lock service, Lustre without the mount option, some FUSE file
systems. That is `LocksUnsupportedError`, whatever code the file system returns. If the lock only saves work, callers
continue without it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
import time
from typing import Callable, Iterator, NamedTuple, TypeVar

from asynccache.errors import DiskError, LockTimeoutError
from asynccache.node.json_text import read_json

T = TypeVar("T")
_POLL_FIRST = 0.005  # seconds
_POLL_LONGEST = 0.1
_SAY_AFTER = 1.0
_SAY_AGAIN = 30.0
_LOOKS = 1000  # tries in a row in which the file was replaced each time


class LocksUnsupportedError(DiskError):
    """A file system has no kernel locks.

    Args:
        directory: A directory on it.
        reason: Its error.
    """

    def __init__(self, directory: str, reason: str) -> None:
        super().__init__(
            f"files in {directory} cannot be locked ({reason})",
            hint="use a directory on a file system with file locks, such as a local disk",
        )
        self.directory = directory
        self.reason = reason


class Holder(NamedTuple):
    """The holder of a lock, from its file.

    Attributes:
        pid: Process id on `host`; None if the file does not say.
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

    @classmethod
    def this_process(cls) -> Holder:
        """Return this process, from now on."""
        return cls(os.getpid(), socket.gethostname(), time.time())

    @classmethod
    def read(cls, path: str) -> Holder:
        """Read the holder of a lock from its file."""
        try:
            with open(path, "rb") as file:
                document = read_json(file.read().decode("utf-8"))
            return cls(int(document["pid"]), str(document["host"]), float(document["since"]))
        except (OSError, ValueError, KeyError, TypeError):
            return cls(None, "", None)

    def write(self, descriptor: int) -> None:
        """Write it into a lock's file; the lock is held even if the disk is full or the descriptor read-only."""
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(self._asdict()).encode("ascii"), 0)


def take(descriptor: int, path: str, *, shared: bool = False) -> bool:
    """Take the lock of an open file without waiting.

    Args:
        descriptor: Descriptor of the file.
        path: Path of the file, for messages.
        shared: Share it with others.

    Returns:
        Whether it was free.

    Raises:
        LocksUnsupportedError: The file system has none.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        raise LocksUnsupportedError(os.path.dirname(path) or ".", exc.strerror or str(exc)) from exc
    return True


def give_back(descriptor: int) -> None:
    """Release the lock of an open file and close it; a forked child may still have the descriptor."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def take_at(path: str, opened: Callable[[], int]) -> int | None:
    """Take the lock of the file that is at a path, without waiting.

    Args:
        path: The file, which others may remove or replace at any moment.
        opened: Opens the file.

    Returns:
        A descriptor of the locked file, None if another holds the lock.

    Raises:
        LocksUnsupportedError: The file system has none.
        OSError: The file cannot be opened.
    """
    for _look in range(_LOOKS):
        descriptor = opened()
        try:
            if not take(descriptor, path):
                return None
            if _is_at(descriptor, path):
                held, descriptor = descriptor, -1
                return held
        finally:
            if descriptor >= 0:
                os.close(descriptor)
    raise LocksUnsupportedError(os.path.dirname(path) or ".", "a file is another one at every look")


class KernelLock:
    """A lock whose file exists while it is held or wanted.

    Args:
        path: The file; its directory is created if missing.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """Take it without waiting; return whether it was free.

        Raises:
            LocksUnsupportedError: The file system has no locks; no file is left.
            DiskError: The file cannot be created.
        """
        try:
            self._descriptor = take_at(self.path, self._open)
        except LocksUnsupportedError:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            raise
        if self._descriptor is None:
            return False
        Holder.this_process().write(self._descriptor)
        return True

    def release(self) -> None:
        """Remove the file and release the lock; nothing happens if it is not held."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        give_back(self._descriptor)
        self._descriptor = None

    def is_held(self) -> bool:
        """Return whether anyone holds it now; True if that cannot be known."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            return not take(descriptor, self.path)
        except LocksUnsupportedError:
            return True
        finally:
            os.close(descriptor)

    def sweep(self) -> None:
        """Remove the file that a killed holder left; nothing happens while the lock is held."""
        with contextlib.suppress(OSError, DiskError):
            self._descriptor = take_at(self.path, lambda: os.open(self.path, os.O_RDWR | os.O_CLOEXEC))
            self.release()

    def _open(self) -> int:
        directory = os.path.dirname(self.path)
        for _attempt in range(_LOOKS):
            try:
                return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except FileNotFoundError:
                try:
                    os.makedirs(directory, exist_ok=True)
                except OSError as exc:
                    raise DiskError(
                        f"the lock directory {directory} cannot be made ({exc.strerror})",
                        hint="set cache_dir to a writable place",
                    ) from exc
            except OSError as exc:
                if exc.errno == errno.EACCES:
                    with contextlib.suppress(OSError):  # created by another user: it can be locked all the same
                        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
                raise DiskError(
                    f"the lock {self.path} cannot be made ({exc.strerror})", hint="check its directory's owner and mode"
                ) from exc
        raise DiskError(f"the lock directory {directory} is removed again and again")


def pauses(
    started: float, timeout: float, now: Callable[[], float], waiting: Callable[[float], None] | None = None
) -> Iterator[float]:
    """Yield the seconds to pause before each attempt at a lock: none before the first, then more, until the time is
    over.

    Args:
        started: When waiting began, on any monotonic clock.
        timeout: Seconds.
        now: That clock.
        waiting: Called with the seconds waited so far, after one and every half minute after that.
    """
    yield 0.0
    pause, say_at = _POLL_FIRST, _SAY_AFTER
    while True:
        waited = now() - started
        if waited >= timeout:
            return
        if waiting is not None and waited >= say_at:
            waiting(waited)
            say_at = waited + _SAY_AGAIN
        yield min(pause, max(timeout - waited, 0.001))
        pause = min(pause * 1.5, _POLL_LONGEST)


def wait(attempt: Callable[[], T], timeout: float, waiting: Callable[[float], None] | None = None) -> T:
    """Attempt something until it returns anything other than None and False.

    Args:
        attempt: The attempt, for instance to take a lock.
        timeout: Seconds.
        waiting: See `pauses`.

    Returns:
        The result of the last attempt: None or False if the time is over.
    """
    for pause in pauses(time.monotonic(), timeout, time.monotonic, waiting):
        time.sleep(pause)
        result = attempt()
        if result is not None and result is not False:
            break
    return result


@contextlib.contextmanager
def held(
    path: str, timeout: float, label: str, waiting: Callable[[Holder, float], None] | None = None
) -> Iterator[None]:
    """Hold a `KernelLock` for the length of the block.

    Args:
        path: Path of its file.
        timeout: Seconds to wait for it.
        label: What it protects, for messages.
        waiting: Called with the holder and the seconds waited so far.

    Raises:
        LockTimeoutError: It was not free within the time-out; the message names the holder.
        LocksUnsupportedError: The file system has no locks.
        DiskError: The file cannot be created.
    """
    lock = KernelLock(path)

    def say(seconds: float) -> None:
        if waiting is not None:
            waiting(Holder.read(path), seconds)

    if not wait(lock.take, timeout, say):
        raise timed_out(label, Holder.read(path), timeout)
    try:
        yield
    finally:
        lock.release()


def timed_out(label: str, holder: Holder, timeout: float) -> LockTimeoutError:
    """Return the error of a lock that did not become free."""
    return LockTimeoutError(
        f"waited {timeout:g} seconds for {label}, which {holder} holds",
        hint="let it finish or end it, or raise lock_timeout",
    )


def _is_at(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)
