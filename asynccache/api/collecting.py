"""Verbs on what a store keeps and what can be removed: gc, report, lease, leases, remove_leases, use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from asynccache.api.opened import Opened

if TYPE_CHECKING:
    from asynccache.catalog.leases import Lease, Leases
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.model.identity import EnvID
    from asynccache.model.shard import Shard
    from asynccache.ops.collect import Collected
    from asynccache.ops.collect_rules import Garbage
    from asynccache.ops.report_result import StoreReport


class CollectingVerbs(Opened):
    """Garbage collection, and what is protected from it."""

    async def gc(
        self,
        *,
        keep_days: float = 90.0,
        unreferenced: bool = False,
        also: str = "",
        grace_hours: float = 12.0,
        shard: Shard | tuple[int, int] | None = None,
        dry_run: bool = False,
        found: Callable[[Garbage], object] | None = None,
    ) -> Collected:
        """Sweep what an earlier call has marked, and mark what nothing keeps now (docs/collecting.md).

        Args:
            keep_days: What was written or used within this many days is kept.
            unreferenced: Also collect environments that no name, lease, use or run keeps; `keep_days` is at least 30
                then.
            also: Shell pattern for keys of documents and archives that may be removed although no record says that they
                are ours.
            grace_hours: How long marked objects are kept before they are swept, at least 1.
            shard: (I, N): the I-th of N ranges of the packages' keys, from 1; a call sweeps its part or marks it. What
                belongs to no range, such as environments, belongs to the first one. Nothing is swept before all parts
                are marked.
            dry_run: Only report what would be marked.
            found: Called with each candidate, in a dry run.

        Returns:
            What was marked and swept: `raise_for_failures()` raises what failed.

        Raises:
            UsageError: The rules exclude each other, or there is no such shard.
            LockTimeoutError: Another process is collecting what is left, or the first shard does not come.
            IntegrityError: An alias, lease or document cannot be read, so what it keeps is unknown.
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be read or written.
        """
        from asynccache.model.shard import Shard  # noqa: PLC0415
        from asynccache.ops.collect import collector_of  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.collect_rules import Rules  # noqa: PLC0415

        rules, part = Rules(keep_days, unreferenced, also, grace_hours), Shard.of(shard)
        collector = await collector_of(self.settings, await self._opening.store(), rules)
        if dry_run:
            return await collector.look(found or (lambda _garbage: None), shard=part)
        return await collector.run(part)

    async def report(self, *, keep_days: float = 90.0, unreferenced: bool = False) -> StoreReport:
        """Report what the store holds, what refers to it, what was done to it last, and what `gc` would mark.

        Costs the requests of a dry run of `gc`, and a few for the aliases that were written last. No archive is read.

        Args:
            keep_days: As in `gc`.
            unreferenced: As in `gc`.

        Returns:
            The figures: `raise_for_failures()` raises if something that says what is needed cannot be read.

        Raises:
            UsageError: The rules exclude each other.
            StoreNotFoundError: There is no store at the address.
            StoreError: The store cannot be read.
        """
        from asynccache.catalog.keys import CatalogKeys  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.collect import collector_of  # noqa: PLC0415
        from asynccache.ops.collect_rules import Rules  # noqa: PLC0415
        from asynccache.ops.report import report_on  # noqa: PLC0415

        settings, rules = self.settings, Rules(keep_days, unreferenced)
        store = await self._opening.store()
        keys = CatalogKeys(settings.envs_dirname)
        collector = await collector_of(settings, store, rules)
        return await report_on(store, rules, collector, keys, settings.packages_dirname, store.timestamp())

    async def lease(
        self,
        name: str,
        *environments: ResolvedEnvironment | str,
        deployer: str = "by-hand",
        flow: str = "",
        objects: Sequence[str] = (),
        arches: Iterable[str] = (),
    ) -> Lease:
        """Protect the environments of a deployed flow from collection until the lease is removed.

        Args:
            name: Name of the lease: what is deployed.
            environments: The environments, or any names of them.
            deployer: What it is deployed on.
            flow: Name of the flow.
            objects: Keys of other objects that its manifest names.
            arches: conda platforms of environments given by name; none for this machine's.

        Raises:
            UsageError: The name is empty, or there is nothing to keep.
            ObjectNotFoundError: Nothing is known under a name, or an environment has just been collected.
            StoreError: The store cannot be written.
        """
        from asynccache.catalog.keys import CatalogKeys  # noqa: PLC0415 - other verbs do without
        from asynccache.catalog.leases import Lease  # noqa: PLC0415
        from asynccache.ops.leasing import write_lease  # noqa: PLC0415

        store = await self._opening.store(writing=True)
        chosen = tuple(arches) or (None,)
        ids: list[EnvID] = []
        for each in environments:
            found = [await self._opening.find(each, a) for a in chosen] if isinstance(each, str) else [each]
            ids += [environment.id for environment in found]
        user = self.settings.username
        made = Lease.new(store, deployer, name, ids, flow=flow, objects=objects, user=user)
        await write_lease(store, CatalogKeys(self.settings.envs_dirname), made)
        return made

    async def leases(self) -> Leases:
        """Return all leases, sorted by name.

        Raises:
            StoreNotFoundError: There is no store at the address.
            IntegrityError: One cannot be read.
            StoreError: The store cannot be read.
        """
        from asynccache.catalog.leases import Leases, read_leases  # noqa: PLC0415 - other verbs do without

        store = await self._opening.store()
        return Leases(store.address, tuple([lease async for lease in read_leases(store)]))

    async def remove_leases(self, pattern: str) -> list[str]:
        """Remove leases; return the names of those that were removed.

        Args:
            pattern: A name, or a shell pattern of names.

        Raises:
            ObjectNotFoundError: There is no lease of that name.
            StoreError: The store cannot be written.
        """
        from asynccache.catalog.leases import remove_leases  # noqa: PLC0415 - other verbs do without
        from asynccache.errors import ObjectNotFoundError  # noqa: PLC0415

        store = await self._opening.store()
        gone = await remove_leases(store, pattern, self.settings.username)
        if not gone:
            raise ObjectNotFoundError(
                f"{store.address} has no lease {pattern!r}", hint="`asynccache gc --leases` lists them"
            )
        return gone

    async def use(self, *environments: ResolvedEnvironment) -> None:
        """Record that environments are used now, so that `gc` keeps them for its `keep_days`; at most once a day on one
        machine.

        Args:
            environments: The environments.

        Raises:
            StoreError: The store cannot be written.
        """
        from asynccache.catalog.keys import CatalogKeys  # noqa: PLC0415 - other verbs do without
        from asynccache.ops.leasing import use_today  # noqa: PLC0415

        store = await self._opening.store(writing=True)
        ids = [environment.id for environment in environments]
        await use_today(store, CatalogKeys(self.settings.envs_dirname), self.settings.cache_dir, ids)
