"""Prefixes on a node: one process makes one, the others wait for it; whatever ends a process, none is half made.

Names, locks and the marker are those of the engine (asynccache/hydrate/prefix.py), so that both can share a directory.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from typing import Any, Callable, Iterator

from asynccache.boot.errors import BootError
from asynccache.node.kernel_lock import Holder, LocksUnsupportedError, held, take

MARKER = ".metaflowenv"
BUILDING = ".asynccache-building"
_ASIDE = ".asynccache-"


def environments_directory(wanted: str | None) -> str:
    """Return a directory for environments that can be written: the wanted one, the user's cache, or one here."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    candidates = [wanted] if wanted else [os.path.join(cache, "asynccache", "envs"), os.path.abspath("asynccache_envs")]
    for directory in candidates:
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as exc:
            reason = exc.strerror
            continue
        if os.access(directory, os.W_OK | os.X_OK):
            return os.path.abspath(directory)
        reason = "it cannot be written"
    raise BootError(f"no directory for environments: {candidates[-1]} ({reason}); name another one")


def read_marker(prefix: str) -> tuple[str, ...] | None:
    """Return (req_id, full_id, arch) of a complete prefix, None when it is not complete."""
    try:
        with open(os.path.join(prefix, MARKER), "rb") as file:
            triple = json.loads(file.read().decode("ascii"))
        return tuple(str(part) for part in triple)
    except (OSError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def locked(prefix: str, timeout: float, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the kernel lock of a prefix; the kernel gives it back whatever happens to this process.

    Raises:
        LockTimeoutError: Another process holds it for too long.
        DiskError: The lock cannot be made.
    """
    real = os.path.join(os.path.realpath(os.path.dirname(prefix)), os.path.basename(prefix))
    name = "prefix-" + hashlib.sha256(os.fsencode(real)).hexdigest()[:32]
    path = os.path.join(os.path.dirname(os.path.dirname(prefix)), "locks", name)
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except OSError:
        path = os.path.join(os.path.dirname(prefix), "." + name)

    def waiting(holder: Holder, seconds: float) -> None:
        say(f"waiting for {holder}, which makes the same environment ({seconds:.0f} s)")

    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(held(path, timeout, f"the environment {prefix}", waiting))
        except LocksUnsupportedError as exc:
            say(f"warning: {exc.message}: tasks that start at once make the same environment")
        yield


class Building:
    """A directory beside a prefix in which it is made, known as such by a kernel lock inside.

    Args:
        prefix: The final place; the caller holds its lock.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._sweep()
        parent, name = os.path.split(prefix)
        try:
            self.path = tempfile.mkdtemp(prefix=f".{name}{_ASIDE}", dir=parent)
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(self.path, 0o777 & ~mask)
            self._lock = os.open(os.path.join(self.path, BUILDING), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise BootError(f"{parent} cannot be written ({exc.strerror})") from exc
        with contextlib.suppress(LocksUnsupportedError):
            take(self._lock, self.path)

    def emptied(self) -> None:
        """Remove what is in it but the lock."""
        for name in os.listdir(self.path):
            if name != BUILDING:
                _remove(os.path.join(self.path, name))

    def place(self) -> None:
        """Give it its final name in place of an incomplete one."""
        try:
            if os.path.lexists(self.prefix):
                old = tempfile.mkdtemp(
                    prefix=f".{os.path.basename(self.prefix)}{_ASIDE}", dir=os.path.dirname(self.prefix)
                )
                os.rename(self.prefix, os.path.join(old, "old"))
                _remove(old)
            os.rename(self.path, self.prefix)
        except OSError as exc:
            raise BootError(f"{self.prefix} cannot be put at its place ({exc.strerror})") from exc
        self.path = self.prefix

    def finish(self, triple: tuple[str, str, str], *, sync: bool) -> None:
        """Declare it complete; with `sync` only when all of it is on disk."""
        if sync:
            os.sync()
        path = os.path.join(self.path, MARKER)
        with open(path + ".new", "w") as file:
            json.dump(list(triple), file)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.rename(path + ".new", path)
        os.unlink(os.path.join(self.path, BUILDING))

    def close(self) -> None:
        """Remove it unless it is complete, and give back its lock."""
        if read_marker(self.path) is None:
            _remove(self.path)
        os.close(self._lock)

    def _sweep(self) -> None:
        """Remove what dead processes left of this prefix, whose lock is held: nobody else can be making it."""
        parent, name = os.path.split(self.prefix)
        start = f".{name}{_ASIDE}"
        for found in os.listdir(parent):
            if found.startswith(start):
                _remove(os.path.join(parent, found))


def link_here(prefix: str, triple: tuple[str, str, str], directory: str) -> None:
    """Leave what the task's command looks for: `_env_id`, `_env_path` and `__conda_python` (contract, section 9.2)."""
    with open(os.path.join(directory, "_env_id"), "w") as file:
        json.dump(list(triple), file)
    with open(os.path.join(directory, "_env_path"), "w") as file:
        file.write(prefix)
    link = os.path.join(directory, "__conda_python")
    for _attempt in range(2):
        try:
            os.symlink(os.path.join(prefix, "bin", "python"), link)
        except OSError as exc:
            if exc.errno != errno.EEXIST:
                raise
            os.unlink(link)
        else:
            return


def _remove(path: Any) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.unlink(path)
