"""Hydrating one environment: linked in a temporary directory, renamed to its prefix, and finally marked complete.

If several processes want one prefix, one creates it and the others wait for it and use it. However a process ends, the
prefix is complete, absent, or recognised as incomplete by the next run, which removes it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.hydrate import prefix as places
from asynccache.hydrate.bytecode import compile_tree, python_version
from asynccache.hydrate.hydrated import Hydrated, HydrateOptions, use
from asynccache.hydrate.tree import link_scripts, link_tree
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import current_architecture
from asynccache.node.building import Building
from asynccache.node.link_script import run_link_script
from asynccache.runtime.locks import Turn
from asynccache.runtime.tasks import run_together

_LOOK: Final = 0.05  # seconds between two checks for what another process creates
_WITHOUT_SCRIPTS: Final = "set link_scripts to false to do without"


Packed = Callable[[Host, Sources, ResolvedEnvironment, Path, str], Awaitable[bool]]
"""Fills a directory, whose files shall name the prefix that is given last, with a whole environment out of one object;
tells whether there was a usable one.

What it left when it says no is removed. It leaves alone the file that is in the directory at the start, and writes no
`.metaflowenv`.
"""


async def hydrate(
    host: Host,
    sources: Sources,
    environment: ResolvedEnvironment,
    prefix: Path,
    *,
    options: HydrateOptions | None = None,
    packed: Packed | None = None,
) -> Hydrated:
    """Create an environment on disk, or find that it exists.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store that has the packages, and upstream.
        environment: The environment.
        prefix: Its path; the parent is created if it does not exist.
        options: How.
        packed: Tried first, such as `from_pack`; if it has no pack, packages are used.

    Raises:
        HydrationError: What is at `prefix` is not ours, or a package cannot be linked, or its script fails.
        FetchError: No source has a package.
        IntegrityError: Every source has other bytes of a package than its digest says.
        DiskError: The disk is full or cannot be written.
        LockTimeoutError: Another process has been creating the same prefix for too long.
    """
    return await _Making(host, sources, environment, prefix, options or HydrateOptions(), packed).run()


class _MadeMeanwhileError(Exception):
    """Another process has created the environment; never leaves this module."""


class _Making:
    def __init__(
        self,
        host: Host,
        sources: Sources,
        environment: ResolvedEnvironment,
        prefix: Path,
        options: HydrateOptions,
        packed: Packed | None,
    ) -> None:
        self._host = host
        self._sources = sources
        self._environment = environment
        self._prefix = Path(os.path.abspath(prefix))  # noqa: PTH100 - takes `..` out, which absolute() does not
        self._options = options
        self._packed = packed
        self._started = host.clock.now()
        self._environments = places.environments_directory(host.settings)
        self._notes: list[str] = []
        self._held = asyncio.Event()

    async def run(self) -> Hydrated:
        if await self._exists():
            return self._used(waited=False)
        try:
            return (await run_together([self._under_lock(), self._watch()]))[0] or self._used(waited=True)
        except _MadeMeanwhileError:
            return self._used(waited=True)

    async def _exists(self) -> bool:
        """Use a complete environment, also a usable one under the other name, which then becomes the prefix."""
        if self._options.force:
            return False
        found = await self._host.threads.run(use, self._prefix, self._environment.id)
        self._prefix = found or self._prefix
        return found is not None

    async def _watch(self) -> None:
        """Check, while another process holds the lock, whether the environment exists: many waiting processes need not
        take the lock one after the other.

        Raises:
            _MadeMeanwhileError: It exists.
        """
        while not self._held.is_set():
            try:
                async with asyncio.timeout(_LOOK):
                    await self._held.wait()
            except TimeoutError:
                if await self._exists() and not self._held.is_set():
                    raise _MadeMeanwhileError from None

    async def _under_lock(self) -> Hydrated:
        prefix = self._prefix
        locks = self._host.workspace.locks
        async with locks.hold(places.lock_path(prefix), label=f"the environment {prefix}") as turn:
            self._held.set()
            if await self._exists():
                return self._used(waited=turn.waited)
            return await self._make(turn)

    def _used(self, *, waited: bool) -> Hydrated:
        seconds = self._host.clock.now() - self._started
        return Hydrated(self._prefix, self._environment.id, False, waited, False, seconds)

    async def _make(self, turn: Turn) -> Hydrated:
        threads = self._host.threads
        building = Building(
            os.fspath(self._prefix),
            places.triple(self._environment.id),
            among_environments=self._prefix.parent == self._environments,
            exclusive=turn.exclusive,
            force=self._options.force and not turn.waited,  # the process that was waited for has just created it again
        )
        size, link_type = 0, ""
        try:
            if not await threads.run(building.begin):
                return self._used(waited=turn.waited)
            path = Path(building.path)
            packed = self._packed is not None and await self._packed(
                self._host, self._sources, self._environment, path, str(self._prefix)
            )
            if not packed:
                await threads.run(building.emptied)
                tree = await link_tree(self._host, self._sources, self._environment, path, str(self._prefix))
                self._notes += tree.notes
                size, link_type = tree.bytes, tree.link_type
                await self._compile(path)
            if not await self._into_place(building):
                return self._used(waited=True)
        finally:
            await threads.certainly(building.close)
        await threads.run(places.register, self._host.settings, self._prefix)
        seconds = self._host.clock.now() - self._started
        return Hydrated(
            self._prefix,
            self._environment.id,
            created=True,
            waited=turn.waited,
            packed=packed,
            seconds=seconds,
            bytes=size,
            link_type=link_type,
            notes=tuple(self._notes),
        )

    async def _compile(self, target: Path) -> None:
        settings = self._host.settings
        wanted = settings.compile_bytecode if self._options.bytecode is None else self._options.bytecode
        version = await self._host.threads.run(python_version, target) if wanted else None
        if version is None:
            return
        if self._environment.id.arch != current_architecture():
            self._notes.append(f"byte code was not made: the environment is for {self._environment.id.arch}")
            return
        async with self._host.budgets.cpu.borrow_up_to(settings.cpu_slots) as cores:
            reason = await self._host.threads.run(compile_tree, target, version, True, settings.package_timeout, cores)
        if reason:
            self._notes.append(reason)

    async def _into_place(self, building: Building) -> bool:
        """Rename the environment to its prefix, run scripts, which may record the path, and mark it complete.

        Returns:
            False if another process has created the same in the meantime.
        """
        settings = self._host.settings
        scripts = link_scripts(self._environment, Path(building.path))
        wanted = settings.link_scripts if self._options.link_scripts is None else self._options.link_scripts
        if scripts and (not wanted or self._environment.id.arch != current_architecture()):
            names = ", ".join(name for name, _script in scripts)
            why = "the settings say so" if not wanted else f"they are for {self._environment.id.arch}"
            self._notes.append(f"the link scripts of {names} were not run: {why}")
            scripts = []
        runs = [
            partial(run_link_script, building.prefix, name, str(script), settings.package_timeout, _WITHOUT_SCRIPTS)
            for name, script in scripts
        ]
        messages = await self._host.threads.run(partial(building.complete, runs, lock_timeout=settings.lock_timeout))
        self._notes += messages or []
        return messages is not None


async def prefix_for(
    host: Host,
    sources: Sources,
    environment: ResolvedEnvironment,
    *,
    kind: places.PrefixKind = "builder",
    packed: Packed | None = None,
) -> Path:
    """Return the prefix of one of this machine's environments, created if it does not exist.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store that has the packages, and upstream.
        environment: The environment.
        kind: What it is for, which decides its name: a step, a helper, or temporary.
        packed: As for `hydrate`.

    Raises:
        AsyncCacheError: As `hydrate`.
    """
    place = places.environments_directory(host.settings) / places.environment_name(environment.id, kind)
    return (await hydrate(host, sources, environment, place, packed=packed)).prefix
