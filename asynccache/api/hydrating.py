"""Verbs on environments on this machine: create, create_all, run, shell, on_disk, presence, remove, clean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Final

from asynccache.api.opened import Opened
from asynccache.runtime.late_loop import in_thread

if TYPE_CHECKING:
    from asynccache.hydrate.activate import Activation
    from asynccache.hydrate.hydrated import HydrateOptions
    from asynccache.hydrate.prefix import PrefixKind
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.ops.clean import Cleaned
    from asynccache.ops.create_environments import Attempt, Attempts
    from asynccache.ops.hydrate_environments import Created, WithKernel
    from asynccache.ops.hydrated import Presence, Removed
    from asynccache.ops.on_disk import OnDisk

UNUSED_AFTER: Final = 30 * 86400.0  # seconds


class HydratingVerbs(Opened):
    """Operations on environments on this machine.

    An environment is given by any name of it (see `find`). Store and engine are opened only when they are needed: an
    environment that exists is used without them.
    """

    async def create(
        self,
        environment: ResolvedEnvironment | str,
        prefix: str | PathLike[str] | None = None,
        *,
        name: str | None = None,
        arch: str | None = None,
        kind: PrefixKind = "tmp",
        exist_ok: bool = True,
        pathspec: bool = False,
        into_dir: str | PathLike[str] | None = None,
        strict: bool = True,
        kernel: bool = False,
        options: HydrateOptions | None = None,
    ) -> Created:
        """Create an environment on disk, or find that it exists (see `asynccache create`).

        Args:
            environment: The environment, or any name of it.
            prefix: The path; None for a name made of its ids among this machine's environments.
            name: Name among this machine's environments, instead of one made of its ids.
            arch: conda platform of an environment given by name; None for this machine's.
            kind: Whose naming scheme applies if no name is given: `tmp`, or `step` as for steps of flows. An
                environment that exists under the other name is used.
            exist_ok: Accept an existing prefix of that name if it is this environment.
            pathspec: `environment` must be a step's pathspec, whose code `into_dir` then gets.
            into_dir: Working directory to prepare: the environment's Python, its variables, and the step's code.
            strict: Fail when neither the step's code nor the run's Metaflow can be obtained.
            kernel: Install a Jupyter kernel; what it needs is resolved on top.
            options: `HydrateOptions(force=..., link_scripts=..., bytecode=...)`.

        Returns:
            Its prefix, its interpreter, and what was done.

        Raises:
            UsageError: Arguments contradict each other, or the text is not a valid name.
            ObjectNotFoundError: No environment is known under the name.
            HydrationError: What is at the prefix is not ours, or a package cannot be linked.
            FetchError: No source has a package, or the step's code is missing.
            IntegrityError: Every source has other bytes of a package than its digest says.
            LockTimeoutError: Another process has been creating the same prefix for too long.
            DiskError: The disk is full or cannot be written.
        """
        from asynccache.hydrate.hydrated import HydrateOptions  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.hydrate_environments import Creation, create  # noqa: PLC0415
        from asynccache.runtime.arenas import share_arenas  # noqa: PLC0415

        share_arenas()  # before the first thread
        with_kernel: WithKernel | None = None
        if kernel:
            from asynccache.ops.kernel_environment import with_kernel  # noqa: PLC0415 - solving is loaded for it only
        wanted = Creation(
            environment=environment,
            arch=arch,
            kind=kind,
            name=name,
            prefix=None if prefix is None else Path(prefix),
            exist_ok=exist_ok,
            pathspec=pathspec,
            into_dir=None if into_dir is None else Path(into_dir),
            strict=strict,
            kernel=with_kernel,
            options=options or HydrateOptions(),
        )
        return await create(self._opening, wanted)

    async def create_all(
        self,
        *environments: ResolvedEnvironment | str | tuple[ResolvedEnvironment | str, str | PathLike[str] | None],
        into: str | PathLike[str] | None = None,
        arch: str | None = None,
        pathspec: bool = False,
        options: HydrateOptions | None = None,
        done: Callable[[Attempt], object] | None = None,
    ) -> Attempts:
        """Create several environments on disk, or find that they exist, with one engine (see `asynccache create`).

        Each appears whole or not at all, and one that fails does not stop the others. A package that several need is
        fetched and extracted once.

        Args:
            environments: The environments, or any names of them; `(NAME, PREFIX)` to give one a prefix.
            into: Directory for environments without a prefix, under names derived from theirs (`team/env:v1` in
                `team_env_v1`); relative prefixes are relative to it. None for this machine's environments, as with
                `create`.
            arch: conda platform of environments given by name; None for this machine's.
            pathspec: Each is given by a step's pathspec.
            options: `HydrateOptions(force=..., link_scripts=..., bytecode=...)`.
            done: Called with each result as it is ready.

        Returns:
            The outcome of each, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: No environment is given, or different environments would be created at one path.
        """
        from asynccache.hydrate.hydrated import HydrateOptions  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.create_environments import create_environments, place_of  # noqa: PLC0415
        from asynccache.ops.hydrate_environments import Creation  # noqa: PLC0415
        from asynccache.runtime.arenas import share_arenas  # noqa: PLC0415

        share_arenas()  # before the first thread
        wanted = []
        for each in environments:
            environment, prefix = each if isinstance(each, tuple) else (each, None)
            place = place_of(environment, into, prefix)
            chosen = options or HydrateOptions()
            wanted.append(Creation(environment=environment, arch=arch, prefix=place, pathspec=pathspec, options=chosen))
        return await create_environments(self._opening, wanted, done)

    async def run(
        self,
        environment: ResolvedEnvironment | str,
        words: Sequence[str],
        *,
        environ: Mapping[str, str] | None = None,
    ) -> Activation:
        """Return what to execute to run a command in an environment, which is created if it is not on this machine.

        Args:
            environment: The environment, or any name of it; the name of a directory of this machine's environments
                takes precedence.
            words: The command.
            environ: Variables to start from; None for this process's.

        Raises:
            UsageError: There is no command, or the text is not a valid name.
            AsyncCacheError: As `create`.
        """
        return (await self._activated(environment, environ)).running(words)

    async def shell(
        self,
        environment: ResolvedEnvironment | str,
        *,
        shell: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Activation:
        """Return what to execute to open a shell in an environment (see `run`).

        Args:
            environment: The environment, or any name of it; the name of a directory of this machine's environments
                takes precedence.
            shell: Path of the shell; None for that in `SHELL`.
            environ: Variables to start from; None for this process's.

        Raises:
            AsyncCacheError: As `create`.
        """
        activation = await self._activated(environment, environ)
        program = shell or (os.environ if environ is None else environ).get("SHELL") or "/bin/sh"
        return await in_thread(activation.shell, program)

    async def _activated(self, environment: ResolvedEnvironment | str, environ: Mapping[str, str] | None) -> Activation:
        from asynccache.hydrate.activate import activate  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.hydrate_environments import prefix_to_run  # noqa: PLC0415

        prefix = await prefix_to_run(self._opening, environment)
        return await in_thread(activate, prefix, self.settings, os.environ if environ is None else environ)

    async def on_disk(self, *environments: str, sizes: bool = True) -> list[OnDisk]:
        """Return the complete environments of this machine, most recently used first.

        Args:
            environments: Only those that these names identify; all if empty.
            sizes: Compute their sizes, which looks at every file.

        Raises:
            UsageError: A text is not a valid name.
            ObjectNotFoundError: No environment is known under a name.
        """
        from asynccache.ops.hydrated import on_disk  # noqa: PLC0415 - other verbs do without

        return await on_disk(self._opening, environments, sizes=sizes)

    async def presence(self, *environments: ResolvedEnvironment) -> list[Presence]:
        """Return what this machine knows about environments: their aliases and where they are hydrated.

        Args:
            environments: The environments.

        Raises:
            IntegrityError: This machine's list is damaged.
        """
        from asynccache.ops.hydrated import presence  # noqa: PLC0415 - other verbs do without

        return await in_thread(presence, self._opening.local, [each.id for each in environments])

    async def remove(self, *environments: str, force: bool = False) -> Removed:
        """Remove environments from this machine; their documents and packages stay in the store.

        Args:
            environments: The name or path of a prefix selects that prefix, any other name every prefix of the
                environment.
            force: Remove it even if a process runs from it.

        Returns:
            What was removed, failures included: `raise_for_failures()` raises them.
        """
        from asynccache.ops.hydrated import remove  # noqa: PLC0415 - other verbs do without

        return await remove(self._opening, environments, force=force)

    async def clean(
        self,
        *,
        older_than: float | None = None,
        keep_bytes: int | None = None,
        keep: Iterable[str] = (),
        dry_run: bool = False,
    ) -> Cleaned:
        """Free disk space: environments by their last use, then packages that no environment shares.

        Args:
            older_than: Seconds since the last use; None for 30 days unless `keep_bytes` is given.
            keep_bytes: Bytes that may be left; None for no such limit.
            keep: Environments to keep whenever they were used, by any name.
            dry_run: Remove nothing.

        Returns:
            What was removed, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: A text is not a valid name.
            ObjectNotFoundError: No environment is known under a name.
            LockTimeoutError: Other processes have been hydrating for too long.
            DiskError: The package directory cannot be written.
        """
        from asynccache.ops.clean import clean  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.hydrated import prefixes_of  # noqa: PLC0415

        if older_than is None and keep_bytes is None:
            older_than = UNUSED_AFTER
        kept = {prefix for name in keep for prefix in await prefixes_of(self._opening, name)}
        return await clean(self.settings, older_than=older_than, keep_bytes=keep_bytes, keep=kept, dry_run=dry_run)
