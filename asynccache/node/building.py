"""Creating a prefix in a temporary directory, under a kernel lock; then it is renamed to its path and marked complete.

    <parent>/.prefix-<...>              kernel lock of a prefix: one process creates or removes it, the others wait
    <parent>/.<name>.asynccache-<...>/  being created, or being removed
    <parent>/mf_env-creation.lock       held while environments are renamed, as by other programs

However a process ends, the prefix is complete, absent, or recognised as incomplete by the next one, which removes it.
The kernel locks only avoid duplicate work. Without them, the second process at the creation lock finds a complete
environment and uses it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from typing import Callable, Iterator, Sequence

from asynccache.errors import HydrationError
from asynccache.node.disk import current_umask, disk_errors, remove
from asynccache.node.environments import Triple, find_complete, ids_in_name, note_use, read_marker, write_marker
from asynccache.node.kernel_lock import KernelLock, LocksUnsupportedError, give_back, take
from asynccache.node.lock_file import lock_file

CREATION_LOCK = "mf_env-creation.lock"
BUILDING = ".asynccache-building"  # file in an incomplete environment, on which its creator holds a kernel lock
_WORK_DIRECTORY = ".asynccache-"
_LOCK = ".prefix-"
_YOUNG = 60.0  # seconds in which a directory without a lock may belong to a process that is creating it
_FORGOTTEN = 24 * 3600.0  # seconds after which a directory that cannot be locked is abandoned


def lock_name(prefix: str) -> str:
    """Return a name for a prefix that is the same for all spellings of its path."""
    real = os.path.join(os.path.realpath(os.path.dirname(prefix)), os.path.basename(prefix))
    return "prefix-" + hashlib.sha256(os.fsencode(real)).hexdigest()[:32]


def lock_path(prefix: str) -> str:
    """Return the path of the kernel lock under which a prefix is created and removed."""
    return os.path.join(os.path.dirname(prefix), "." + lock_name(prefix))


def use(prefix: str, env: Triple) -> str | None:
    """Return the path of a complete environment that is wanted at a prefix, and record that it is used now.

    Its creator may have been killed right after completing it: a lock that it left is removed.
    """
    found = find_complete(prefix, env)
    if found is not None:
        note_use(found)
        KernelLock(lock_path(found)).sweep()
    return found


@contextlib.contextmanager
def creation_lock(directory: str, timeout: float, waiting: Callable[[float], None] | None = None) -> Iterator[None]:
    """Keep other programs from looking at a directory of environments while it is changed.

    Raises:
        LockTimeoutError: Another program has been holding the lock for too long.
        DiskError: The lock cannot be created.
    """
    with contextlib.ExitStack() as stack:
        with disk_errors(directory):
            stack.enter_context(lock_file(os.path.join(directory, CREATION_LOCK), timeout, waiting))
        yield


class Building:
    """A directory beside a prefix in which its new content is created.

    Args:
        prefix: The final path, absolute.
        env: The environment.
        among_environments: Whether the prefix is in a directory of environments, which other programs read.
        exclusive: Whether the caller holds the prefix's kernel lock: no other process can be creating it.
        force: Replace a complete environment, also a different one.

    Attributes:
        path: The directory; after renaming, the prefix itself.
    """

    def __init__(
        self, prefix: str, env: Triple, *, among_environments: bool, exclusive: bool, force: bool = False
    ) -> None:
        self.prefix = prefix
        self.path = prefix
        self._env = env
        self._among_environments = among_environments
        self._exclusive = exclusive
        self._force = force
        self._lock: int | None = None

    def begin(self) -> bool:
        """Create the directory, unless the environment is complete; leftovers of dead processes are removed.

        Returns:
            Whether there is anything to create.

        Raises:
            HydrationError: The final path has something that is not ours to remove.
            DiskError: It cannot be created.
        """
        if not self._may_be_replaced():
            return False
        parent = os.path.dirname(self.prefix)
        with disk_errors(parent):
            os.makedirs(parent, exist_ok=True)
            sweep(parent, self.prefix if self._exclusive else None)
            self.path = _work_directory(self.prefix)
            mark = os.path.join(self.path, BUILDING)
            self._lock = os.open(mark, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with contextlib.suppress(LocksUnsupportedError):
                take(self._lock, mark)
        return True

    def emptied(self) -> None:
        """Remove its content, except its lock."""
        with disk_errors(self.path):
            for name in os.listdir(self.path):
                path = os.path.join(self.path, name)
                if name != BUILDING:
                    shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)

    def complete(
        self,
        scripts: Sequence[Callable[[], str]] = (),
        *,
        lock_timeout: float,
        sync: bool = False,
        waiting: Callable[[float], None] | None = None,
    ) -> list[str] | None:
        """Rename it to its final path, run scripts, and mark it complete.

        Args:
            scripts: Run at the final path; each returns its message for the user.
            lock_timeout: Seconds to wait for other programs that read the directory.
            sync: Mark it complete only after all of it is flushed to disk.
            waiting: Called with the seconds waited for such a program.

        Returns:
            Messages of scripts; None if another process has created the same in the meantime, which is kept.

        Raises:
            HydrationError: Something else appeared at the path, or a script failed.
            LockTimeoutError: Another program has been holding the directory for too long.
            DiskError: The disk is full or cannot be written.
        """
        with contextlib.ExitStack() as stack:
            if self._among_environments or not self._exclusive:
                stack.enter_context(creation_lock(os.path.dirname(self.prefix), lock_timeout, waiting))
            if not self._may_be_replaced():
                return None
            self._take_place()
            messages = [script() for script in scripts]
            with disk_errors(self.path):
                if sync:
                    os.sync()
                write_marker(self.path, self._env, sync=sync)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.path, BUILDING))
        return [text for text in messages if text]

    def close(self) -> None:
        """Remove it, wherever it is, unless it is complete; release its lock."""
        if self._lock is None:
            return
        if read_marker(self.path) is None:
            remove_prefix(self.path)
        give_back(self._lock)
        self._lock = None

    def _may_be_replaced(self) -> bool:
        """Return whether the final path is free or may be replaced; False if it has what is wanted.

        Raises:
            HydrationError: It has something that is not ours to remove.
        """
        prefix, env = self.prefix, self._env
        if not os.path.lexists(prefix):
            return True
        if not os.path.isdir(prefix):
            raise HydrationError(f"{prefix} exists and is no directory", hint="choose another place")
        there = read_marker(prefix)
        if there == env and not self._force:
            return False
        by_identity = self._among_environments and ids_in_name(os.path.basename(prefix)) is not None
        unfinished = there is None and os.path.exists(os.path.join(prefix, BUILDING))
        if by_identity or unfinished or not os.listdir(prefix):
            return True
        if there is None and not os.path.isdir(os.path.join(prefix, "conda-meta")):
            raise HydrationError(f"{prefix} exists and is no environment", hint="choose another place")
        if self._force:
            return True
        found = "another environment" if there is None else "the environment {}:{} for {}".format(*there)
        raise HydrationError(
            f"{prefix} exists already",
            expected="{}:{} for {}".format(*env),
            found=found,
            hint="`--force` makes it again",
        )

    def _take_place(self) -> None:
        old = None
        with disk_errors(self.prefix):
            if os.path.lexists(self.prefix) and os.listdir(self.prefix):
                old = _work_directory(self.prefix)
                os.rename(self.prefix, os.path.join(old, "old"))
            try:
                os.rename(self.path, self.prefix)
            except OSError as exc:
                if exc.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise HydrationError(f"{self.prefix} was made by another program meanwhile") from exc
                raise
        self.path = self.prefix
        if old is not None:
            remove(old)


def remove_prefix(prefix: str) -> None:
    """Remove a directory so that it is never seen half removed.

    Raises:
        DiskError: It cannot be moved.
    """
    if _WORK_DIRECTORY in os.path.basename(prefix):
        remove(prefix)
    elif os.path.lexists(prefix):
        with disk_errors(prefix):
            old = _work_directory(prefix)
            os.rename(prefix, os.path.join(old, "old"))
        remove(old)


def sweep(directory: str, prefix: str | None = None) -> list[str]:
    """Remove what dead processes left beside environments.

    Args:
        directory: Directory of environments.
        prefix: The prefix whose kernel lock the caller holds; None if none is held.

    Returns:
        What was removed.
    """
    removed = []
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return []
    for entry in entries:
        if entry.name.startswith(_LOCK):
            KernelLock(entry.path).sweep()
            continue
        name, found, _rest = entry.name.rpartition(_WORK_DIRECTORY)
        if not found or not name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        if _is_abandoned(entry.path, sure=prefix is not None and name == "." + os.path.basename(prefix)):
            remove(entry.path)
            removed.append(entry.path)
    return removed


def _work_directory(prefix: str) -> str:
    parent, name = os.path.split(prefix)
    path = tempfile.mkdtemp(prefix=f".{name}{_WORK_DIRECTORY}", dir=parent)
    os.chmod(path, 0o777 & ~current_umask())
    return path


def _is_abandoned(path: str, *, sure: bool) -> bool:
    """Return whether a directory is unused; a new one may not have its lock yet."""
    try:
        age = time.time() - os.stat(path).st_mtime
        if not sure and age < _YOUNG:
            return False
        descriptor = os.open(os.path.join(path, BUILDING), os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        return take(descriptor, path)
    except LocksUnsupportedError:
        return age > _FORGOTTEN
    finally:
        os.close(descriptor)
