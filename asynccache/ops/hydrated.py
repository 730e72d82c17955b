"""The environments that are hydrated on this machine: which there are, how large, when last used; removing one.

Listed are those of the environments directory, whoever made them, and prefixes elsewhere that this program made. All
functions but the coroutines block.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from asynccache.config import Settings
from asynccache.engine.workspace import Workspace
from asynccache.errors import AsyncCacheError, HydrationError, ObjectNotFoundError, PartialFailureError
from asynccache.hydrate import prefix as places
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented, document, plain
from asynccache.model.identity import EnvID
from asynccache.node.building import creation_lock, remove_prefix
from asynccache.node.disk import disk_errors
from asynccache.node.environments import MARKER, ids_in_name
from asynccache.ops.naming import shortest_name

if TYPE_CHECKING:
    from asynccache.model.alias import Alias
    from asynccache.ops.environments import Environments
    from asynccache.ops.opening import Opening


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A hydrated environment.

    Attributes:
        prefix: Where.
        id: Which.
        last_used: Seconds since the epoch.
        bytes: Of its files.
        own_bytes: Of those that nothing else on this machine shares: what removing it would free.
        files: How many it has.
        called: The shortest name by which commands find it; empty when it was not looked up.
    """

    prefix: Path
    id: EnvID
    last_used: float
    bytes: int = 0
    own_bytes: int = 0
    files: int = 0
    called: str = ""

    @property
    def name(self) -> str:
        """Directory name."""
        return self.prefix.name

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        used = datetime.fromtimestamp(self.last_used, UTC).isoformat(timespec="seconds")
        return document(self, "name", "called", "prefix", "id", "bytes", "own_bytes", "files", last_used=used)


def hydrated(settings: Settings, *, sizes: bool = True) -> list[OnDisk]:
    """Return the complete environments of this machine, the last used first.

    Args:
        settings: All settings.
        sizes: Look at every file to say how large they are.
    """
    found = []
    for prefix in _prefixes(settings):
        env_id = places.read_marker(prefix)
        if env_id is None:
            continue
        with suppress(OSError):
            used = (prefix / MARKER).stat().st_mtime
            found.append(OnDisk(prefix, env_id, used, *(_sizes(prefix) if sizes else (0, 0, 0))))
    return sorted(found, key=lambda e: -e.last_used)


async def prefixes_of(opening: Opening, text: str) -> list[Path]:
    """Return where an environment is on this machine: the one place that a text names, else every one.

    Args:
        opening: What is known; a store is opened only where it has to be asked for a name.
        text: Any name of it.

    Raises:
        UsageError: It is no name.
        ObjectNotFoundError: Nothing is known under it, or it is not on this machine.
    """
    absent = ObjectNotFoundError(f"no environment {text} is on this machine", hint="`asynccache envs` lists them")
    try:
        meaning = await opening.meaning(text, here_first=True)
    except ObjectNotFoundError as exc:
        raise absent from exc
    if meaning.prefix is not None:
        return [meaning.prefix]
    found = await asyncio.to_thread(hydrated, opening.settings, sizes=False)
    prefixes = [e.prefix for e in found if (e.id.req_id, e.id.full_id) == meaning.ids]
    if not prefixes:
        raise absent
    return prefixes


async def on_disk(opening: Opening, names: Sequence[str] = (), *, sizes: bool = True) -> list[OnDisk]:
    """Return the complete environments of this machine, the last used first, with the shortest names they go by.

    Args:
        opening: What is known; a store is opened only where it has to be asked for a name.
        names: Only those that these names mean; all when there is none.
        sizes: Look at every file to say how large they are.

    Raises:
        UsageError: A text is no name.
        ObjectNotFoundError: Nothing is known under a name, or it is not on this machine.
    """
    chosen = {prefix for name in names for prefix in await prefixes_of(opening, name)}
    found = await asyncio.to_thread(hydrated, opening.settings, sizes=sizes)
    environments = places.environments_directory(opening.settings)
    rows = []
    for each in found:
        if names and each.prefix not in chosen:
            continue
        called = str(each.prefix) if each.prefix.parent != environments else each.name
        if ids_in_name(called) is not None:
            called = await shortest_name(opening.here, (each.id.req_id, each.id.full_id))
        rows.append(replace(each, called=called))
    return rows


@dataclass(frozen=True, slots=True)
class Presence(Documented):
    """What this machine knows of an environment.

    Attributes:
        names: How it is called, those by full id left out.
        prefixes: Where it is complete.
        default: Whether it is what its request means on this machine.
    """

    names: tuple[Alias, ...]
    prefixes: tuple[Path, ...]
    default: bool


def presence(here: Environments, ids: Iterable[EnvID]) -> list[Presence]:
    """Return what this machine knows of environments, in their order. Blocking."""
    names: dict[tuple[str, str], list[Alias]] = {}
    for alias, meant in here.here.names():
        names.setdefault(meant, []).append(alias)
    prefixes: dict[EnvID, list[Path]] = {}
    for each in sorted(hydrated(here.settings, sizes=False), key=lambda e: e.prefix):
        prefixes.setdefault(each.id, []).append(each.prefix)
    defaults = here.here.defaults()
    return [
        Presence(tuple(names.get((i.req_id, i.full_id), ())), tuple(prefixes.get(i, ())), i in defaults) for i in ids
    ]


@dataclass(slots=True)
class Removed:
    """What removing did.

    Attributes:
        prefixes: What was removed.
        failed: Name -> why it was not.
    """

    prefixes: list[Path] = field(default_factory=list)
    failed: dict[str, AsyncCacheError] = field(default_factory=dict)

    def raise_for_failures(self) -> None:
        """Raise when something was not removed.

        Raises:
            AsyncCacheError: The failure, when it is the only one.
            PartialFailureError: Why, by name.
        """
        if len(self.failed) == 1:
            raise next(iter(self.failed.values()))
        if self.failed:
            raise PartialFailureError(f"{len(self.failed)} environments were not removed", self.failed)

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        return {"removed": plain(self.prefixes), **({"failed": plain(self.failed)} if self.failed else {})}


async def remove(opening: Opening, names: Iterable[str], *, force: bool = False) -> Removed:
    """Remove environments by their names; what cannot be removed does not disturb the rest.

    Args:
        opening: What is known; a store is opened only where it has to be asked for a name.
        names: The name or path of a prefix means that one, any other name every prefix of the environment.
        force: Also when a process runs out of it.
    """
    done = Removed()
    for name in names:
        try:
            for prefix in await prefixes_of(opening, name):
                await remove_environment(opening.settings, prefix, force=force)
                done.prefixes.append(prefix)
        except AsyncCacheError as exc:
            done.failed[name] = exc
    return done


async def remove_environment(settings: Settings, prefix: Path, *, force: bool = False) -> None:
    """Remove a hydrated environment; waits for a process that makes it.

    Args:
        settings: All settings.
        prefix: Where it is.
        force: Also when a process runs out of it.

    Raises:
        HydrationError: It is in use.
        LockTimeoutError: Another process holds it.
        DiskError: It cannot be removed.
    """
    locks = Workspace(settings.cache_dir, settings.lock_timeout).locks
    async with locks.hold(places.lock_path(prefix), label=f"the environment {prefix}"):
        users = await asyncio.to_thread(users_of, prefix)
        if users and not force:
            raise HydrationError(
                f"{prefix} is in use by process {', '.join(map(str, users))}", hint="end it, or use --force"
            )
        await asyncio.to_thread(_remove, settings, prefix)


def _remove(settings: Settings, prefix: Path) -> None:
    with creation_lock(os.fspath(prefix.parent), settings.lock_timeout), disk_errors(prefix):
        (prefix / MARKER).unlink(missing_ok=True)  # from here on it is incomplete
        remove_prefix(os.fspath(prefix))
    places.registered(settings, prefix).unlink(missing_ok=True)


def users_of(prefix: Path) -> list[int]:
    """Return the processes that run a program of an environment, as far as this user can see them (Linux only)."""
    found = []
    start = os.fspath(prefix) + os.sep
    with suppress(OSError):
        for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - only names
            with suppress(OSError):
                if os.readlink(f"/proc/{entry}/exe").startswith(start):  # noqa: PTH115 - a link to nowhere in particular
                    found.append(int(entry))
    return found


def _prefixes(settings: Settings) -> Iterator[Path]:
    environments = places.environments_directory(settings)
    with suppress(OSError):
        yield from sorted(p for p in environments.iterdir() if not p.name.startswith(".") and p.is_dir())
    with suppress(OSError):
        for entry in sorted((settings.cache_dir / places.REGISTRY).iterdir()):
            prefix = Path(os.fsdecode(entry.read_bytes()))
            if prefix.is_dir():
                yield prefix
            else:
                entry.unlink(missing_ok=True)  # removed by hand


def _sizes(prefix: Path) -> tuple[int, int, int]:
    total = own = count = 0
    seen: set[int] = set()
    pending = [os.fspath(prefix)]
    while pending:
        with suppress(OSError), os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(entry.path)
                    continue
                status = entry.stat(follow_symlinks=False)
                count += 1
                if not stat.S_ISREG(status.st_mode) or status.st_ino in seen:
                    continue
                if status.st_nlink > 1:
                    seen.add(status.st_ino)
                else:
                    own += status.st_size
                total += status.st_size
    return total, own, count
