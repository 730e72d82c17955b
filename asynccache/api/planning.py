"""What verbs would do, before they do it (see `asynccache plan`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from os import PathLike, fspath
from typing import TYPE_CHECKING

from asynccache.api.hydrating import UNUSED_AFTER
from asynccache.api.opened import Opened
from asynccache.api.packages import listed_packages, selection_of
from asynccache.api.store import audit_selection, check_apart
from asynccache.errors import UsageError

if TYPE_CHECKING:
    from asynccache.engine.pipeline import Job
    from asynccache.model.environment import ResolvedEnvironment
    from asynccache.model.package import Format, Package
    from asynccache.model.shard import Shard
    from asynccache.ops.audit_result import AuditFinding
    from asynccache.ops.collect_rules import Garbage
    from asynccache.ops.plan import Planned
    from asynccache.ops.replicated import ReplicaFinding
    from asynccache.ops.warm import Target
    from asynccache.store.stored import StoredArchive


class Planning(Opened):
    """The verbs that can be planned. Each takes the arguments of the verb of `Session` with its name, and raises as it
    does.

    Listings and documents are read, and a few objects to measure the store's speed; nothing is written to the store.

    Args:
        session: The session whose store is planned for.
    """

    def __init__(self, session: Opened) -> None:
        super().__init__(session.settings, say=session._note)  # noqa: SLF001 - of another one of these
        self._opening = session._opening  # noqa: SLF001

    async def cache(
        self,
        *urls: str,
        packages: Iterable[Package] = (),
        lists: Iterable[str | PathLike[str]] = (),
        arches: Iterable[str] = (),
        environment: str | None = None,
        python: str | None = None,
        extras: Iterable[str] = (),
        groups: Iterable[str] = (),
        skip_sources: bool = False,
        keep_published: bool = False,
    ) -> Planned:
        """See `Session.cache`."""
        from asynccache.ops.plan import planning  # noqa: PLC0415 - one of them is asked for
        from asynccache.ops.plan_packages import plan_cache  # noqa: PLC0415

        everything = await listed_packages(
            self._note, *urls, packages=packages, lists=lists, arches=arches, environment=environment, python=python,
            extras=extras, groups=groups, skip_sources=skip_sources,
        )  # fmt: skip
        async with planning(self._opening, "cache", writing=True) as ledger:
            await plan_cache(ledger, everything, keep_published=keep_published)
            return await ledger.planned()

    async def backfill(
        self,
        to: Format | str,
        *,
        pattern: str | None = None,
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        keys: str | PathLike[str] = "",
        resume: bool = False,
        dry_run: bool = False,
        report: bool = False,
        found: Callable[[Job], object] | None = None,
    ) -> Planned:
        """See `Session.backfill`."""
        from asynccache.ops.plan import planning  # noqa: PLC0415 - as above
        from asynccache.ops.plan_packages import plan_backfill  # noqa: PLC0415

        del found
        selection = selection_of(to, pattern, shard, run_id, fspath(keys))
        async with planning(self._opening, "backfill") as ledger:
            await plan_backfill(ledger, selection, resume=resume, dry_run=dry_run, report=report)
            return await ledger.planned()

    async def backfill_run(
        self, to: Format | str, count: int = 1, *, pattern: str | None = None, run_id: str = "", keys: str = ""
    ) -> Planned:
        """Adding up what shards have done is not planned.

        Raises:
            UsageError: Always.
        """
        del to, count, pattern, run_id, keys
        raise _only_adds_up()

    async def verify(
        self,
        pattern: str | None = None,
        *,
        sample: float = 1.0,
        seed: str = "",
        quarantine: bool = False,
        adopt: bool = False,
        check_with: str | None = None,
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        checked: Callable[[StoredArchive], object] | None = None,
        total: Callable[[int, int], object] | None = None,
    ) -> Planned:
        """See `Session.verify`."""
        from asynccache.model.shard import Shard  # noqa: PLC0415 - as above
        from asynccache.ops.plan import planning  # noqa: PLC0415
        from asynccache.ops.plan_store import plan_verify  # noqa: PLC0415
        from asynccache.ops.verify import Sample  # noqa: PLC0415

        del checked, total
        wanted = Sample(pattern, sample, seed, Shard.of(shard), run_id)
        async with planning(self._opening, "verify") as ledger:
            await plan_verify(ledger, wanted, quarantine=quarantine, adopt=adopt, check_with=check_with)
            return await ledger.planned()

    async def verify_run(
        self,
        count: int = 1,
        pattern: str | None = None,
        *,
        sample: float = 1.0,
        seed: str = "",
        quarantine: bool = False,
        adopt: bool = False,
        check_with: str | None = None,
        run_id: str = "",
    ) -> Planned:
        """Adding up what shards have read is not planned.

        Raises:
            UsageError: Always.
        """
        del count, pattern, sample, seed, quarantine, adopt, check_with, run_id
        raise _only_adds_up()

    async def audit(
        self,
        *,
        read_data: float = 0.0,
        seed: str = "",
        repair: bool = False,
        others: Sequence[str] = (),
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        report: bool = False,
        found: Callable[[AuditFinding], object] | None = None,
        checked: Callable[[StoredArchive], object] | None = None,
        total: Callable[[int, int], object] | None = None,
    ) -> Planned:
        """See `Session.audit`."""
        from asynccache.ops.plan import planning  # noqa: PLC0415 - as above
        from asynccache.ops.plan_store import plan_audit  # noqa: PLC0415

        del found, checked, total
        selection = audit_selection(read_data, seed, shard, run_id, repair=repair, report=report)
        async with planning(self._opening, "audit") as ledger:
            await plan_audit(ledger, selection, len(others))
            return await ledger.planned()

    async def audit_run(
        self,
        count: int = 1,
        *,
        read_data: float = 0.0,
        seed: str = "",
        repair: bool = False,
        run_id: str = "",
        found: Callable[[AuditFinding], object] | None = None,
    ) -> Planned:
        """Adding up what shards have found is not planned.

        Raises:
            UsageError: Always.
        """
        del count, read_data, seed, repair, run_id, found
        raise _only_adds_up()

    async def replicate(
        self,
        source: str,
        *,
        environments: Sequence[str] = (),
        aliases: bool = False,
        move_aliases: bool = False,
        shard: Shard | tuple[int, int] | None = None,
        run_id: str = "",
        dry_run: bool = False,
        found: Callable[[ReplicaFinding], object] | None = None,
    ) -> Planned:
        """See `Session.replicate`."""
        from asynccache.model.shard import Shard  # noqa: PLC0415 - as above
        from asynccache.ops.plan import planning  # noqa: PLC0415
        from asynccache.ops.plan_replicate import plan_replicate  # noqa: PLC0415

        del found
        root, part = self.settings.other_root(source), Shard.of(shard)
        async with planning(self._opening, "replicate", writing=True) as ledger:
            check_apart(root, ledger.store.root)
            await plan_replicate(
                ledger, root, environments, aliases=aliases, move_aliases=move_aliases, shard=part, run_id=run_id,
                dry_run=dry_run,
            )  # fmt: skip
            return await ledger.planned()

    async def replicate_run(
        self, source: str, count: int, *, environments: Sequence[str] = (), aliases: bool = False, run_id: str = ""
    ) -> Planned:
        """Adding up what shards have copied is not planned.

        Raises:
            UsageError: Always.
        """
        del source, count, environments, aliases, run_id
        raise _only_adds_up()

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
    ) -> Planned:
        """See `Session.gc`."""
        from asynccache.model.shard import Shard  # noqa: PLC0415 - as above
        from asynccache.ops.collect import collector_of  # noqa: PLC0415
        from asynccache.ops.collect_rules import Rules  # noqa: PLC0415
        from asynccache.ops.plan import planning  # noqa: PLC0415
        from asynccache.ops.plan_collect import plan_gc  # noqa: PLC0415

        del found
        rules, part = Rules(keep_days, unreferenced, also, grace_hours), Shard.of(shard)
        async with planning(self._opening, "gc") as ledger:
            await plan_gc(
                ledger, lambda store: collector_of(self.settings, store, rules, waits=False), part, dry_run=dry_run
            )
            return await ledger.planned()

    async def warm(
        self,
        *environments: ResolvedEnvironment | str,
        arches: Iterable[str] = (),
        to: Target = "both",
        verify: bool = True,
        pack: bool | None = None,
        shard: Shard | tuple[int, int] | None = None,
    ) -> Planned:
        """See `Session.warm`."""
        from asynccache.model.shard import Shard  # noqa: PLC0415 - as above
        from asynccache.ops.plan import planning  # noqa: PLC0415
        from asynccache.ops.plan_warm import plan_warm  # noqa: PLC0415

        part = Shard.of(shard)
        async with planning(self._opening, "warm", writing=True) as ledger:
            await plan_warm(ledger, environments, tuple(arches), to=to, verify=verify, pack=pack, shard=part)
            return await ledger.planned()

    async def clean(
        self,
        *,
        older_than: float | None = None,
        keep_bytes: int | None = None,
        keep: Iterable[str] = (),
        dry_run: bool = False,
    ) -> Planned:
        """See `Session.clean`."""
        from asynccache.ops.clean import clean  # noqa: PLC0415 - as above
        from asynccache.ops.hydrated import prefixes_of  # noqa: PLC0415
        from asynccache.ops.plan import of_removals  # noqa: PLC0415

        del dry_run
        if older_than is None and keep_bytes is None:
            older_than = UNUSED_AFTER
        kept = {prefix for name in keep for prefix in await prefixes_of(self._opening, name)}
        found = await clean(self.settings, older_than=older_than, keep_bytes=keep_bytes, keep=kept, dry_run=True)
        return of_removals(found)

    async def clean_store(self, *, older_than: float | None = None, dry_run: bool = False) -> Planned:
        """See `Session.clean_store`."""
        from asynccache.ops.leftovers import LEFT_AFTER  # noqa: PLC0415 - as above
        from asynccache.ops.plan import planning  # noqa: PLC0415
        from asynccache.ops.plan_store import plan_clean_store  # noqa: PLC0415

        async with planning(self._opening, "clean") as ledger:
            await plan_clean_store(ledger, LEFT_AFTER if older_than is None else older_than, dry_run=dry_run)
            return await ledger.planned()


def _only_adds_up() -> UsageError:
    return UsageError("adding up what shards have done has no plan", hint="leave out `plan`, or --merge")
