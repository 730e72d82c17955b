"""The environments that are hydrated on this machine, by the names that people give them; removing one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, HydrationError, ObjectNotFoundError, raise_failures
from asynccache.hydrate import prefix as places
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.identity import EnvID
from asynccache.node.building import creation_lock, remove_prefix
from asynccache.node.disk import disk_errors
from asynccache.node.environments import MARKER, ids_in_name
from asynccache.ops.naming import shortest_name
from asynccache.ops.on_disk import OnDisk, hydrated
from asynccache.runtime.late_loop import in_thread

if TYPE_CHECKING:
    from asynccache.model.alias import Alias
    from asynccache.ops.catalog import Catalog
    from asynccache.ops.opening import Opening
from asynccache.ops.vouching import remembered


async def prefixes_of(opening: Opening, text: str) -> list[Path]:
    """Return the prefixes of an environment on this machine: the one that a text names, else all of them.

    Args:
        opening: What is known; a store is opened only if it has to be asked for a name.
        text: Any name of it.

    Raises:
        UsageError: It is not a valid name.
        ObjectNotFoundError: No environment is known under it, or it is not on this machine.
    """
    absent = ObjectNotFoundError(f"no environment {text} is on this machine", hint="`asynccache envs` lists them")
    try:
        meaning = await opening.meaning(text, local_first=True)
    except ObjectNotFoundError as exc:
        raise absent from exc
    if meaning.prefix is not None:
        return [meaning.prefix]
    found = await in_thread(hydrated, opening.settings, sizes=False)
    prefixes = [e.prefix for e in found if (e.id.req_id, e.id.full_id) == meaning.ids]
    if not prefixes:
        raise absent
    return prefixes


async def on_disk(opening: Opening, names: Sequence[str] = (), *, sizes: bool = True) -> list[OnDisk]:
    """Return the complete environments of this machine, most recently used first, with their shortest names.

    Args:
        opening: What is known; a store is opened only if it has to be asked for a name.
        names: Only those that these names identify; all if empty.
        sizes: Compute their sizes, which looks at every file.

    Raises:
        UsageError: A text is not a valid name.
        ObjectNotFoundError: No environment is known under a name, or it is not on this machine.
    """
    chosen = {prefix for name in names for prefix in await prefixes_of(opening, name)}
    found = await in_thread(hydrated, opening.settings, sizes=sizes)
    environments = places.environments_directory(opening.settings)
    rows = []
    for each in found:
        if names and each.prefix not in chosen:
            continue
        called = str(each.prefix) if each.prefix.parent != environments else each.name
        if ids_in_name(called) is not None:
            called = await shortest_name(opening.local, (each.id.req_id, each.id.full_id))
        rows.append(replace(each, called=called))
    return rows


@dataclass(frozen=True, slots=True)
class Presence(Documented):
    """What this machine knows about an environment.

    Attributes:
        names: Its aliases, except those by full id.
        prefixes: Its complete prefixes.
        default: Whether it is the default for its request on this machine.
        digest: sha256 that identifies exactly its bytes, if this machine vouches for it; otherwise empty.
    """

    names: tuple[Alias, ...]
    prefixes: tuple[Path, ...]
    default: bool
    digest: str = ""


def presence(local_catalog: Catalog, ids: Iterable[EnvID]) -> list[Presence]:
    """Return what this machine knows about environments, in the same order. Blocking."""
    names: dict[tuple[str, str], list[Alias]] = {}
    for alias, meant in local_catalog.local.names():
        names.setdefault(meant, []).append(alias)
    prefixes: dict[EnvID, list[Path]] = {}
    for each in sorted(hydrated(local_catalog.settings, sizes=False), key=lambda e: e.prefix):
        prefixes.setdefault(each.id, []).append(each.prefix)
    defaults = local_catalog.local.defaults()
    from asynccache.hydrate.other_prefix import other_prefix  # noqa: PLC0415 - other functions do without

    found = []
    for i in ids:
        vouched = remembered(local_catalog.settings.cache_dir, i)
        digest = "" if vouched is None else vouched.name
        called = tuple(names.get((i.req_id, i.full_id), ()))
        other = other_prefix(local_catalog.settings, i)
        places_of = (*prefixes.get(i, ()), *([other] if other is not None else ()))
        found.append(Presence(called, tuple(dict.fromkeys(places_of)), i in defaults, digest))
    return found


@dataclass(slots=True)
class Removed(Documented):
    """The result of removing.

    Attributes:
        prefixes: What was removed.
        failed: Name -> why it was not removed.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("prefixes as removed", "failed")

    prefixes: list[Path] = field(default_factory=list)
    failed: dict[str, AsyncCacheError] = field(default_factory=dict)

    def raise_for_failures(self) -> None:
        """Raise if something was not removed.

        Raises:
            AsyncCacheError: The failure, if it is the only one.
            PartialFailureError: Why, by name.
        """
        # each failure names its environment: one alone needs no sentence above it, even if others were removed
        raise_failures(f"{len(self.failed)} environments were not removed", self.failed, asked=len(self.failed))


async def remove(opening: Opening, names: Iterable[str], *, force: bool = False) -> Removed:
    """Remove environments by their names; one that cannot be removed does not affect the others.

    Args:
        opening: What is known; a store is opened only if it has to be asked for a name.
        names: The name or path of a prefix selects that prefix, any other name every prefix of the environment.
        force: Remove it even if a process runs from it.
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
    """Remove a hydrated environment; waits for a process that is creating it.

    Args:
        settings: All settings.
        prefix: Where it is.
        force: Remove it even if a process runs from it.

    Raises:
        HydrationError: It is in use.
        LockTimeoutError: Another process holds its lock.
        DiskError: It cannot be removed.
    """
    from asynccache.engine.workspace import Workspace  # noqa: PLC0415 - looking for environments does without

    locks = Workspace(settings.cache_dir, settings.lock_timeout).locks
    async with locks.hold(places.lock_path(prefix), label=f"the environment {prefix}"):
        users = await in_thread(users_of, prefix)
        if users and not force:
            raise HydrationError(
                f"{prefix} is in use by process {', '.join(map(str, users))}", hint="end it, or use --force"
            )
        await in_thread(_remove, settings, prefix)


def _remove(settings: Settings, prefix: Path) -> None:
    with creation_lock(os.fspath(prefix.parent), settings.lock_timeout), disk_errors(prefix):
        (prefix / MARKER).unlink(missing_ok=True)  # from now on it is incomplete
        remove_prefix(os.fspath(prefix))
    places.registered(settings, prefix).unlink(missing_ok=True)


def users_of(prefix: Path) -> list[int]:
    """Return the processes that run a program from an environment, as far as this user can see them (Linux only)."""
    found = []
    start = os.fspath(prefix) + os.sep
    with suppress(OSError):
        for entry in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - only names
            with suppress(OSError):
                if os.readlink(f"/proc/{entry}/exe").startswith(start):  # noqa: PTH115 - a link to nowhere in particular
                    found.append(int(entry))
    return found
