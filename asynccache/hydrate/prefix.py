"""Where environments lie on this machine, what they are called, and how one is recognised (contract, section 4.4).

    <environments>/metaflow_<req_id>_<full_id>            of a step
    <environments>/metaflow_builder_<req_id>_<full_id>    a helper for resolving and building
    <environments>/metaflowtmp_<req_id>_<full_id>         `create` without a name
    <environments>/.<name>.asynccache-<...>/              being made, or being removed
    <environment>/.metaflowenv                            its identity; written last, so that with it all is there

The time of the last change of `.metaflowenv` is that of the last use. All functions block: call them in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal

from asynccache.config import Settings
from asynccache.engine.workspace import disk_errors
from asynccache.errors import HydrationError, UsageError
from asynccache.model.identity import EnvID
from asynccache.node.kernel_lock import LocksUnsupportedError, take
from asynccache.node.lock_file import lock_file

PrefixKind = Literal["step", "tmp", "builder"]
MARKER: Final = ".metaflowenv"
CREATION_LOCK: Final = "mf_env-creation.lock"
BUILDING: Final = ".asynccache-building"  # in an environment that is not complete; its holder has a kernel lock on it
REGISTRY: Final = "prefixes"
_STARTS: Final[dict[PrefixKind, str]] = {"step": "metaflow_", "tmp": "metaflowtmp_", "builder": "metaflow_builder_"}
_NAME: Final = re.compile(r"metaflow(?:tmp)?_(?:builder_)?([0-9a-f]{40})_([0-9a-f]{40})")
_ASIDE: Final = ".asynccache-"
_YOUNG: Final = 60.0  # seconds in which a directory that has no lock yet may belong to a process that makes it


def environments_directory(settings: Settings) -> Path:
    """Return where environments are made that are asked for by name."""
    return (settings.environments_dir or settings.cache_dir / "envs").absolute()


def environment_name(env_id: EnvID, kind: PrefixKind) -> str:
    """Return the directory name of an environment."""
    return f"{_STARTS[kind]}{env_id.req_id}_{env_id.full_id}"


def checked_name(name: str) -> str:
    """Return a name that an environment can have.

    Raises:
        UsageError: It is empty, begins with a dot, or contains a slash.
    """
    if not name or name.startswith(".") or "/" in name or "\0" in name:
        raise UsageError("an environment has a name it cannot have", expected="one directory name", found=repr(name))
    return name


def ids_in_name(name: str) -> tuple[str, str] | None:
    """Return (req_id, full_id) of a name that says them."""
    matched = _NAME.fullmatch(name)
    return (matched[1], matched[2]) if matched else None


def read_marker(prefix: Path) -> EnvID | None:
    """Return which environment a prefix holds; None when it is not complete or not one of ours."""
    try:
        triple = json.loads((prefix / MARKER).read_bytes())
        return EnvID(*triple)
    except (OSError, ValueError, TypeError, UsageError):
        return None


def complete_prefix(settings: Settings, env_id: EnvID) -> Path | None:
    """Return a complete environment under one of the names that steps and `create` give; None when there is none."""
    directory = environments_directory(settings)
    found = (directory / environment_name(env_id, kind) for kind in ("step", "tmp"))
    return next((prefix for prefix in found if read_marker(prefix) == env_id), None)


def write_marker(prefix: Path, env_id: EnvID) -> None:
    """Declare an environment complete."""
    path = prefix / f"{MARKER}.new"
    path.write_text(json.dumps(env_id.as_list()), encoding="ascii")
    path.replace(prefix / MARKER)


def note_use(prefix: Path) -> None:
    """Remember that an environment was used now; where that cannot be written, it is not."""
    with suppress(OSError):
        os.utime(prefix / MARKER)


def lock_name(prefix: Path) -> str:
    """Return the name of the kernel lock under which a prefix is made and removed."""
    real = Path(os.path.realpath(prefix.parent)) / prefix.name
    return "prefix-" + hashlib.sha256(os.fsencode(real)).hexdigest()[:32]


def may_be_replaced(prefix: Path, env_id: EnvID, environments: Path, *, force: bool) -> bool:
    """Tell whether a prefix is complete (False) or has to be made, with what is there removed (True).

    Raises:
        HydrationError: Something is there that is not ours to remove.
    """
    if not os.path.lexists(prefix):
        return True
    if not prefix.is_dir():
        raise HydrationError(f"{prefix} exists and is no directory", hint="choose another place")
    there = read_marker(prefix)
    if there == env_id and not force:
        return False
    by_identity = prefix.parent == environments and ids_in_name(prefix.name) is not None
    if by_identity or not any(prefix.iterdir()) or (there is None and (prefix / BUILDING).exists()):
        return True
    if there is None and not (prefix / "conda-meta").is_dir():
        raise HydrationError(f"{prefix} exists and is no environment", hint="choose another place")
    if force:
        return True
    found = "another environment" if there is None else f"the environment {there} for {there.arch}"
    raise HydrationError(
        f"{prefix} exists already", expected=f"{env_id} for {env_id.arch}", found=found, hint="`--force` makes it anew"
    )


@contextmanager
def creation_lock(directory: Path, environments: Path, timeout: float) -> Iterator[None]:
    """Keep other programs from looking at a directory of environments while it is changed.

    Where `directory` is not the environments' own, nobody else looks and nothing is locked.

    Raises:
        LockTimeoutError: Another program holds the lock for too long.
    """
    if directory != environments:
        yield
        return
    with lock_file(str(directory / CREATION_LOCK), timeout):
        yield


class Building:
    """A directory beside a prefix in which its next content is made.

    Args:
        prefix: The final place.
    """

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.path = prefix
        self._lock: int | None = None

    def begin(self) -> None:
        """Make the directory.

        Raises:
            DiskError: It cannot be made.
        """
        with disk_errors(self.prefix.parent):
            self.prefix.parent.mkdir(parents=True, exist_ok=True)
            self.path = _aside(self.prefix)
            self._lock = os.open(self.path / BUILDING, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with suppress(LocksUnsupportedError):
                take(self._lock, str(self.path))

    def emptied(self) -> None:
        """Remove what is in it, but for its lock."""
        with disk_errors(self.path):
            for path in self.path.iterdir():
                if path.name != BUILDING:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()

    def take_place(self) -> None:
        """Give it its final name; what has that name is moved aside and removed.

        Raises:
            HydrationError: Something else came to be there that is not empty.
        """
        old = None
        with disk_errors(self.prefix):
            if os.path.lexists(self.prefix) and any(self.prefix.iterdir()):
                old = _aside(self.prefix)
                self.prefix.rename(old / "old")
            try:
                self.path.rename(self.prefix)
            except OSError as exc:
                if exc.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                    raise HydrationError(f"{self.prefix} was made by another program meanwhile") from exc
                raise
        self.path = self.prefix
        if old is not None:
            shutil.rmtree(old, ignore_errors=True)

    def finish(self, env_id: EnvID) -> None:
        """Declare it complete."""
        with disk_errors(self.path):
            write_marker(self.path, env_id)
            (self.path / BUILDING).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove it, wherever it is; a complete prefix stays, and so does what was there before."""
        if self._lock is not None and read_marker(self.path) is None:
            remove(self.path)

    def close(self) -> None:
        """Give back the lock."""
        if self._lock is not None:
            os.close(self._lock)


def remove(prefix: Path) -> None:
    """Remove a directory so that nobody sees it half removed."""
    with suppress(FileNotFoundError):
        if _ASIDE in prefix.name:
            shutil.rmtree(prefix, ignore_errors=True)
            return
        with disk_errors(prefix):
            aside = _aside(prefix)
            prefix.rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)


def sweep(directory: Path, prefix: Path | None = None) -> list[Path]:
    """Remove what dead processes left beside environments.

    Args:
        directory: Of environments.
        prefix: Whose kernel lock the caller holds: nobody else can be making it; None when none is held.

    Returns:
        What was removed.
    """
    removed = []
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return []
    for entry in entries:
        name, found, _rest = entry.name.rpartition(_ASIDE)
        if not found or not name.startswith(".") or not entry.is_dir(follow_symlinks=False):
            continue
        path = Path(entry.path)
        if _is_abandoned(path, sure=prefix is not None and name == f".{prefix.name}"):
            shutil.rmtree(path, ignore_errors=True)
            removed.append(path)
    return removed


def register(settings: Settings, prefix: Path) -> None:
    """Remember a prefix that does not lie among the environments, so that it is listed with them."""
    if prefix.parent == environments_directory(settings):
        return
    with disk_errors(settings.cache_dir):
        directory = settings.cache_dir / REGISTRY
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / lock_name(prefix)
        if not path.exists():
            path.write_bytes(os.fsencode(prefix))


def _aside(prefix: Path) -> Path:
    path = Path(tempfile.mkdtemp(prefix=f".{prefix.name}{_ASIDE}", dir=prefix.parent))
    path.chmod(0o777 & ~_umask())
    return path


def _umask() -> int:
    """Return this process's mask without changing it for a moment, which other threads would see."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _is_abandoned(path: Path, *, sure: bool) -> bool:
    """Tell whether nobody works in a directory; one that was just made may not have its lock yet."""
    try:
        if not sure and time.time() - path.stat().st_mtime < _YOUNG:
            return False
        file = os.open(path / BUILDING, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        return take(file, str(path))
    except LocksUnsupportedError:
        return False
    finally:
        os.close(file)
