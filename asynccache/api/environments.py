"""Verbs on environments: find, show, list, get, alias, history, rollback, diff, export, import."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from os import PathLike, fspath
from typing import TYPE_CHECKING

from asynccache.api.environment_results import History, RolledBack, Shown, Taken
from asynccache.api.opened import Opened
from asynccache.model.alias import Alias
from asynccache.model.platform import checked_architecture, wanted_architecture

if TYPE_CHECKING:
    from asynccache.catalog.diff import Difference
    from asynccache.catalog.export import Export
    from asynccache.catalog.listing import Listed
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.ops.catalog import Aliased
    from asynccache.ops.import_environment import Imported


class EnvironmentVerbs(Opened):
    """Operations on environments as documents and aliases: none of them touches a prefix.

    A name is anything that identifies an environment: `team/env:TAG` (`latest` without a tag), `REQ:FULL`, a full id,
    the step of a run, the path of a document.
    """

    async def find(self, name: str, *, arch: str | None = None, local_only: bool = False) -> ResolvedEnvironment:
        """Return the environment that a name of any kind identifies (see `asynccache env --help`).

        Args:
            name: An alias, ids, the step of a run, an environment on this machine, or the path of a document.
            arch: conda platform; None for this machine's.
            local_only: Do not ask the store.

        Raises:
            UsageError: The text is not a valid name.
            ObjectNotFoundError: No environment is known under it, or none for this architecture.
            StoreError: The store cannot be used.
        """
        return await self._opening.find(name, arch, local_only=local_only)

    async def show(self, name: str, *, arch: str | None = None) -> Shown:
        """Return an environment and all its aliases (see `asynccache env show`).

        Reports inconsistencies in its document.

        Args:
            name: Any name of it.
            arch: conda platform; None for this machine's.

        Raises:
            UsageError: See `find`.
            ObjectNotFoundError: See `find`.
            StoreError: The store cannot be used.
        """
        environment = await self.find(name, arch=arch)
        catalog = await self._opening.catalog()
        names = tuple(await catalog.names_of((environment.id.req_id, environment.id.full_id)))
        return Shown(environment, names, *await catalog.digests_of(environment, name))

    async def list_environments(
        self,
        pattern: str | None = None,
        *,
        arch: str | None = None,
        by: str | None = None,
        local: bool = True,
        remote: bool = True,
    ) -> AsyncGenerator[Listed]:
        """Yield the environments in this machine's list and in the store, most recently resolved first.

        Args:
            pattern: Shell pattern for an alias or id, or the beginning of one; None for all.
            arch: conda platform; None for all.
            by: Only environments that this user resolved.
            local: Whether to include this machine's list.
            remote: Whether to include the store.

        Raises:
            UsageError: There is no such architecture.
            IntegrityError: This machine's list is damaged.
            StoreError: The store cannot be listed.
        """
        catalog = await self._opening.catalog() if remote else self._opening.local
        wanted = None if arch is None else checked_architecture(arch)
        for row in await catalog.listed(wanted, local=local, remote=remote):
            if (by is None or row.by == by) and (pattern is None or row.matches(pattern)):
                yield row

    async def get(self, name: str, *, arch: str | None = None, default: bool = True) -> Taken:
        """Add an environment, for all architectures that it was resolved for, to this machine's list.

        Reports inconsistencies in its documents.

        Args:
            name: Any name of it.
            arch: conda platform; None for this machine's.
            default: Make it the local default for its requirements.

        Raises:
            UsageError: See `find`.
            ObjectNotFoundError: See `find`.
            DiskError: The list cannot be written.
            StoreError: The store cannot be used.
        """
        catalog = await self._opening.catalog()
        taken = await catalog.get(name, wanted_architecture(arch), default=default)
        return Taken(tuple(taken), catalog.manifest.path, default)

    async def keep(self, *environments: ResolvedEnvironment, default: bool = False) -> None:
        """Add environments to this machine's list.

        Args:
            environments: The environments.
            default: Make each the default for its request on this machine.

        Raises:
            DiskError: The list cannot be written.
            LockTimeoutError: Another program holds the list's lock.
        """
        await self._opening.local.keep(environments, default=default)

    async def alias(self, name: str, *names: str) -> Aliased:
        """Give an environment aliases, for all users of the store (see `asynccache env alias`).

        Args:
            name: Any name of it; one that only this machine knows is published first.
            names: Aliases to assign, `NAME[:TAG]`; the tags `latest`, `candidate` and `stable` can be moved later.

        Returns:
            What was assigned, failures included: `raise_for_failures()` raises them.

        Raises:
            UsageError: A text is not a valid name.
            ObjectNotFoundError: There is no such environment.
            StoreError: The store does not have all of its packages, or cannot be written.
        """
        return await (await self._opening.catalog(writing=True)).alias(name, names)

    async def history(self, name: str, *, repair: bool = False) -> History:
        """Return every move of an alias: when, by whom, from, to.

        Args:
            name: An alias whose tag can be moved.
            repair: First rebuild the chain of a broken history from what is left of it.

        Raises:
            UsageError: It is not an alias, or one that is permanent.
            ObjectNotFoundError: The store has no such alias.
            IntegrityError: The history was changed.
            StoreError: The store cannot be read.
        """
        moves = await (await self._opening.catalog(writing=repair)).history(name, repair=repair)
        return History(Alias.parse(name), tuple(moves))

    async def rollback(self, name: str, *, to: int | None = None) -> RolledBack:
        """Move an alias back to an earlier environment; the history records this as a new move.

        Args:
            name: An alias whose tag can be moved.
            to: Number of the move to go back to; None for the last but one.

        Raises:
            UsageError: It is not an alias, is permanent, or has no such move.
            ObjectNotFoundError: The store has no such alias.
            StoreError: The store cannot be written.
        """
        now, before = await (await self._opening.catalog()).rollback(name, to)
        return RolledBack(Alias.parse(name), now, before)

    async def diff(self, first: str, second: str, *, arch: str | None = None) -> Difference:
        """Compare two environments package by package, with sizes from the store.

        Args:
            first: Any name of one.
            second: Any name of the other.
            arch: conda platform; None for this machine's.

        Raises:
            UsageError: See `find`.
            ObjectNotFoundError: See `find`.
            StoreError: The store cannot be used.
        """
        from asynccache.catalog.diff import compare  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.environment_packages import needs_of  # noqa: PLC0415

        before, after = await self.find(first, arch=arch), await self.find(second, arch=arch)
        needs = await needs_of(await self._opening.store(), self.settings.packages_dirname, [before, after])
        return compare(before, after, {(n.package.url, n.package.filename): n.bytes for n in needs.all if n.found})

    async def export(self, name: str, fmt: str = "explicit", *, arch: str | None = None) -> Export:
        """Write an environment in the format of another tool.

        Args:
            name: Any name of it.
            fmt: `explicit`, `conda-lock`, `pixi-lock`, `pylock.toml`, `environment.yml` or `json`.
            arch: conda platform; None for this machine's.

        Returns:
            The text, and what the format cannot express.

        Raises:
            UsageError: There is no such format, or the environment has nothing that it can hold; see `find` as well.
            ObjectNotFoundError: See `find`.
            StoreError: The store cannot be used.
        """
        from asynccache.catalog.export import export  # noqa: PLC0415 - other verbs do without

        return export(await self.find(name, arch=arch), fmt)

    async def import_environment(
        self,
        file: str | PathLike[str],
        *,
        names: Iterable[str] = (),
        arches: Iterable[str] = (),
        specs: Iterable[str] = (),
        sources: Iterable[str] = (),
        environment: str | None = None,
        python: str | None = None,
    ) -> Imported:
        """Create an environment from a lock file, a list or an exported document: cache its packages, publish it and
        give it aliases.

        The setting `preferred_format` says which format of conda packages is stored besides the published one.

        Args:
            file: Path; `-` for standard input.
            names: Aliases to assign, `NAME[:TAG]`.
            arches: conda platforms, which get one common id; none for this machine's.
            specs: What was asked for, `CATEGORY::VALUE`; if empty, the list itself.
            sources: Channels and indexes that go with `specs`, `CATEGORY::VALUE`.
            environment: Environment to take from a pixi.lock; None for `default`.
            python: Python version that wheels in a lock file are chosen for; None for the running one.

        Returns:
            What was created, with the aliases that could not be assigned: `raise_for_failures()` raises those failures.

        Raises:
            UsageError: The file, an alias, a requirement or an architecture is invalid.
            PartialFailureError: Packages could not be cached; nothing is published and no alias assigned.
            StoreError: The store cannot be used.
        """
        from asynccache.ops.import_environment import Import, import_file  # noqa: PLC0415 - other verbs do without

        asked = Import(
            fspath(file), tuple(names), tuple(arches), tuple(specs), tuple(sources), environment, python
        )  # fmt: skip
        engine, catalog = await self._opening.engine(writing=True), await self._opening.catalog(writing=True)
        imported = await import_file(engine, catalog, asked)
        for note in imported.notes:
            self._note(note)
        return imported
