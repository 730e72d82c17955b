"""Resolving: from what is asked for to environments that are identified, cached, published, remembered and named.

Everything that is asked for in one call is worked on at once: an environment is cached while another one is still being
solved. What is known is not solved; equal requests are one, also those of several processes of a machine; a failing
environment does not disturb the others. Each is published in this order: packages, documents, the name by full id, this
machine's list, names; so that whenever a run ends, everything that can be found is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.errors import AsyncCacheError, UsageError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import current_architecture
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_known import Known, look_up
from asynccache.ops.resolve_request import Group, ResolveOptions, Wanted, grouped
from asynccache.ops.resolve_result import Resolved, Row
from asynccache.resolve.requests.url_credentials import take_logins
from asynccache.runtime.failures import as_failure
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.tasks import run_together

if TYPE_CHECKING:
    from asynccache.engine.engine import Engine
    from asynccache.ops.resolve_solve import ChooseResolver, Solver

_LOGINS: Final = (
    "credentials in addresses are left out of the id, so programs that hash them (metaflow-netflixext) do not find it"
)
_CONTRADICTION: Final = "two requests hold different credentials for one host"


async def resolve(
    settings: Settings,
    wanted: Sequence[Wanted],
    *,
    options: ResolveOptions | None = None,
    engine: Engine | None = None,
    choose: ChooseResolver | None = None,
    emit: events.EventSink = events.ignore,
    say: Callable[[str], None] | None = None,
) -> Resolved:
    """Resolve environments, all at once.

    Args:
        settings: All settings.
        wanted: What is asked for.
        options: How.
        engine: An open engine on the store; None to open one if something has to be cached. Credentials that the
            requests bring along (`Assembled.auth`, `Wanted.auth`) reach only an engine that is opened here.
        choose: Who resolves an environment of a type; None: as the settings say.
        emit: Where events go: `ResolveStarted`, `ResolveEnded`, and those of the engine if it is opened here.
        say: Called with a sentence when a damaged list of environments was quarantined.

    Returns:
        One row for each environment and architecture. What failed is in it; `raise_for_failures` raises it.

    Raises:
        UsageError: The requests contradict each other, or the options.
    """
    options = options or ResolveOptions()
    if any(w.aliases for w in wanted) and not options.cache:
        raise UsageError(
            "a name is given to what is in the store only", hint="leave out the names, or cache the environment"
        )
    if options.create and options.dry_run:
        raise UsageError("a dry run makes no environment", hint="leave out one of the two")
    auth: dict[str, list[str]] = dict(settings.auth)
    for logins in (logins for w in wanted for logins in (w.auth, *(asked.auth for asked in w.asked.values()))):
        if host := take_logins(auth, logins):
            raise UsageError(f"{_CONTRADICTION}: {host}", hint="use one pair for a host, or resolve them apart")
    if any(pair[1:] == [""] for pair in auth.values()):
        from asynccache.engine.keyring import with_keyring  # noqa: PLC0415 - not for what is known

        auth = await in_thread(with_keyring, auth)
    settings = replace(settings, auth=auth)
    groups = grouped(wanted)
    async with Opening(settings, engine, writing=options.cache, emit=emit, say=say) as opening:
        work = _Work(opening, options, choose, emit)
        started = opening.clock.now()
        done = await run_together([work.run(group) for group in groups])
        rows = {
            (id(member), arch): replace(row, name=member.name)
            for group, rows_of in zip(groups, done, strict=True)
            for arch, row in rows_of.items()
            for member in group.members
            if arch in member.asked
        }
        return Resolved(
            [rows[id(each), arch] for each in wanted for arch in each.asked],
            opening.clock.now() - started,
            opening.fetched_bytes,
            options.dry_run,
        )


class _Work:
    """What is done for each group."""

    def __init__(
        self, opening: Opening, options: ResolveOptions, choose: ChooseResolver | None, emit: events.EventSink
    ) -> None:
        self.opening = opening
        self.options = options
        self.choose = choose
        self.emit = emit

    @cached_property
    def _solver(self) -> Solver:
        from asynccache.ops.resolve_solve import Solver  # noqa: PLC0415 - not for what is known
        from asynccache.resolve.choose import choose_resolver  # noqa: PLC0415

        return Solver(self.opening, self.options, self.choose or choose_resolver, self.emit)

    async def run(self, group: Group) -> dict[str, Row]:
        """Return a row for each architecture of a group."""
        rows = {
            arch: Row(group.name, arch, asked.request.req_id, notes=asked.notes) for arch, asked in group.asked.items()
        }
        try:
            known = await self._known(group)
            if self.options.dry_run or len(known) == len(rows):
                return await self._proceed(group, rows, known)
            async with self._turn(group) as waited:
                # whoever was waited for has just resolved the same
                return await self._proceed(group, rows, await self._known(group) if waited else known)
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is this group's failure
            failure = as_failure(exc)
            return {arch: replace(row, errors={**row.errors, "": failure}) for arch, row in rows.items()}

    async def _known(self, group: Group) -> dict[str, Known]:
        if self.options.force:
            return {}
        return await look_up(group, self.opening, local_only=self.options.local_only)

    @asynccontextmanager
    async def _turn(self, group: Group) -> AsyncIterator[bool]:
        """Let one process of this machine resolve a request at a time; yield whether another one was waited for."""
        from asynccache.engine.workspace import Workspace  # noqa: PLC0415 - not for what is known

        settings = self.opening.settings
        locks = Workspace(settings.cache_dir, settings.lock_timeout, self.emit).locks
        keys = json.dumps([group.req_id, sorted(group.unique_keys.items())])
        name = f"resolve-{hashlib.sha256(keys.encode()).hexdigest()[:32]}"
        async with locks.hold(name, label=f"the request of {group.name}") as turn:
            yield turn.waited

    async def _proceed(self, group: Group, rows: dict[str, Row], known: Mapping[str, Known]) -> dict[str, Row]:
        rows |= {
            arch: replace(
                rows[arch],
                environment=found.environment,
                known=True,
                default=found.known_locally,
                digest=await self._known_digest(found.environment),
            )
            for arch, found in known.items()
        }
        missing = [arch for arch in group.asked if arch not in known]
        for arch in missing:
            if group.asked[arch].written:
                rows[arch] = replace(rows[arch], notes=(*rows[arch].notes, _LOGINS))
        if missing:
            rows |= await self._solver.solve(group, {arch: rows[arch] for arch in missing})
        return await self._finish(group, rows, known)

    async def _finish(self, group: Group, rows: dict[str, Row], known: Mapping[str, Known]) -> dict[str, Row]:
        """Cache, publish, remember and name what was found."""
        if self.options.dry_run:
            return rows
        store = [arch for arch, row in rows.items() if row.environment and (arch not in known or group.aliases)]
        if self.options.cache and store:
            from asynccache.ops.resolve_publish import publish  # noqa: PLC0415 - not for what is known

            async with self._extracting(rows.values()):
                rows |= await publish(
                    self.opening, group, {arch: rows[arch] for arch in store}, self._parts(rows, known)
                )
        # what was found is remembered once it is in the store, or at once if it is not to be stored
        keep = [
            row.environment
            for arch, row in rows.items()
            if row.environment is not None
            and not row.errors
            and (not known[arch].known_locally if arch in known else row.published or not self.options.cache)
        ]
        named = [e for e in keep if e.id.arch in known and known[e.id.arch].named]
        keep = [e for e in keep if e not in named]
        if named:
            await self.opening.local.keep(named, default=False)
        if keep:
            parts = self._parts({e.id.arch: rows[e.id.arch] for e in keep}, known)
            await self.opening.local.keep([*keep, *parts], default=self.options.set_default)
            rows = await self._digested(rows, [e for e in (*keep, *parts) if e.id.arch not in known])
        default = {e.id.arch for e in keep} if self.options.set_default else set()
        rows = {arch: replace(r, default=r.default or arch in default) for arch, r in rows.items()}
        if group.aliases:
            rows = await self._name(group, rows)
        if self.options.create:
            rows = {arch: await self._created(row) for arch, row in rows.items()}
        return await self._packed(rows)

    @asynccontextmanager
    async def _extracting(self, rows: Iterable[Row]) -> AsyncIterator[None]:
        """Extract the packages of what is to be made here while they are brought, for the length of the block."""
        packages = [p for row in rows if row.environment and self._is_made(row) for p in row.environment.packages]
        if not packages:
            yield
            return
        from asynccache.hydrate.packages import NodePackages  # noqa: PLC0415 - only where something is made

        engine = await self.opening.engine()
        node = NodePackages(engine.host, engine.sources)
        async with node.in_use():
            with engine.taking(node.taker(packages)):
                yield

    def _is_made(self, row: Row) -> bool:
        return self.options.create and row.arch == current_architecture()

    async def _created(self, row: Row) -> Row:
        """Make an environment of this machine's architecture on disk."""
        if row.environment is None or row.errors or not self._is_made(row):
            return row
        from asynccache.ops.hydrate_environments import Creation, create  # noqa: PLC0415 - as above

        try:
            created = await create(self.opening, Creation(environment=row.environment))
        except AsyncCacheError as exc:
            return replace(row, errors={**row.errors, "create": exc})
        return replace(row, prefix=created.prefix, notes=(*row.notes, *created.notes))

    async def _known_digest(self, environment: ResolvedEnvironment) -> str:
        from asynccache.ops.vouching import remembered  # noqa: PLC0415 - with the engine's memory

        known = await in_thread(remembered, self.opening.settings.cache_dir, environment.id)
        return "" if known is None else known.name

    async def _digested(self, rows: dict[str, Row], solved: Sequence[ResolvedEnvironment]) -> dict[str, Row]:
        """Vouch for what was solved and is to be in no store, and say its digest as far as it is known."""
        from asynccache.model.environment_digest import EnvironmentDigest, common_digest  # noqa: PLC0415 - as above
        from asynccache.ops.vouching import Vouched, remember  # noqa: PLC0415

        if self.options.cache:
            return rows
        digests = [digest for e in solved if (digest := EnvironmentDigest.of(e)) is not None]
        ids = {(digest.id.req_id, digest.id.full_id) for digest in digests}
        of_one = {i: [d for d in digests if (d.id.req_id, d.id.full_id) == i] for i in ids}
        vouched = {d.id: Vouched(d, common_digest(each)) for each in of_one.values() for d in each}
        await in_thread(remember, self.opening.settings.cache_dir, vouched.values())
        return {
            arch: replace(row, digest=vouched[row.environment.id].name)
            if row.environment is not None and row.environment.id in vouched
            else row
            for arch, row in rows.items()
        }

    def _parts(self, rows: Mapping[str, Row], known: Mapping[str, Known]) -> list[ResolvedEnvironment]:
        """Return the helper environments below what was solved."""
        solved = [row.environment for arch, row in rows.items() if arch not in known and row.environment is not None]
        return self._solver.helpers.new(solved) if solved else []

    async def _packed(self, rows: dict[str, Row]) -> dict[str, Row]:
        """Make packs of what was published, last: whoever ends this has the environment all the same."""
        published = [row.environment for row in rows.values() if row.published and row.environment is not None]
        if not published or self.options.pack is False:
            return rows
        from asynccache.ops.pack_cached import pack_cached, packs_wanted  # noqa: PLC0415 - not for what is known

        if self.options.pack is None and not packs_wanted(self.opening.settings):
            return rows
        from asynccache.ops.digests import publish_digests  # noqa: PLC0415 - as above

        engine = await self.opening.engine()
        made = await pack_cached(engine.host, engine.sources, published)
        vouch = not any(row.known for row in rows.values())
        digests = await publish_digests(engine.host, engine.sources, published, packs=made.packs, vouch=vouch)
        return {
            arch: replace(
                row,
                notes=(*row.notes, *made.notes(row.environment.id)),
                digest=digests.get(row.environment.id, row.digest),
            )
            if row.environment
            else row
            for arch, row in rows.items()
        }

    async def _name(self, group: Group, rows: dict[str, Row]) -> dict[str, Row]:
        """Give names; all architectures of an id have them."""
        found = {r.environment.id.full_id: r.environment for r in rows.values() if r.environment and not r.errors}
        if any(row.errors for row in rows.values()):
            return rows
        if len(found) > 1:
            error = UsageError(
                f"{group.name} was resolved for its architectures apart, so one name cannot mean all of them",
                hint="resolve them together with --force, or give each a name of its own",
            )
            return {arch: replace(row, errors={**row.errors, "names": error}) for arch, row in rows.items()}
        catalog = await self.opening.catalog()
        environment: ResolvedEnvironment = next(iter(found.values()))
        aliased = await catalog.alias(str(environment.id), group.aliases)
        given = (*aliased.changed, *aliased.unchanged)
        return {
            arch: replace(row, aliases=given, errors={**row.errors, **aliased.failed}) for arch, row in rows.items()
        }
