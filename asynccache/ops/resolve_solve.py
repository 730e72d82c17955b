"""Solving what is not known: from a request to an identified environment, for all its architectures at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.errors import AsyncCacheError, ResolveTimeoutError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.ops.identify import UNIDENTIFIED, identified
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_helpers import Helpers
from asynccache.ops.resolve_request import Group, ResolveOptions, publication_limit
from asynccache.ops.resolve_result import Row
from asynccache.resolve.requests.assemble import Assembled
from asynccache.resolve.resolver import PrefixMaker, Problem, Resolver, Solution
from asynccache.runtime.late_loop import in_thread, loop_begins
from asynccache.runtime.tasks import run_works
from asynccache.store import layout

ChooseResolver = Callable[[Settings, str, PrefixMaker], Resolver]
"""From the settings, the type of an environment and who makes prefixes to a resolver."""
_GRACE: Final = 30.0  # seconds beyond its limit after which a resolver that does not keep it is given up
_NAMED: Final = 5  # packages that a note names
_CPU_BUILD: Final = re.compile(r"(^|[-_.+])cpu([-_.]|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Found:
    """What one architecture came to, after some seconds."""

    solution: Solution
    seconds: float = 0.0


class Solver:
    """Solves groups. Resolvers are shared by all of them, so that an index is read once.

    Args:
        opening: What is opened when it is needed.
        options: How to resolve.
        choose: Who resolves what.
        emit: Where `ResolveStarted` and `ResolveEnded` go.

    Attributes:
        helpers: The helper environments of all that is solved.
    """

    def __init__(
        self, opening: Opening, options: ResolveOptions, choose: ChooseResolver, emit: events.EventSink
    ) -> None:
        self.helpers = Helpers(opening, options)
        self._opening = opening
        self._settings = opening.settings
        self._options = options
        self._choose = choose
        self._emit = emit
        self._resolvers: dict[str, Resolver] = {}
        self._choosing = asyncio.Lock()

    async def solve(self, group: Group, rows: dict[str, Row]) -> dict[str, Row]:
        """Fill rows with environments, or with what failed.

        Args:
            group: What is asked for.
            rows: Architecture -> an empty row, of all that are to be solved; they get one common id.
        """
        outcomes = await run_works(rows, lambda arch: self._solution(group, arch))
        results = dict(zip(rows, outcomes, strict=True))
        failed = {arch: r for arch, r in results.items() if isinstance(r, AsyncCacheError)}
        rows |= {arch: replace(rows[arch], errors={"": error}) for arch, error in failed.items()}
        found = {arch: r for arch, r in results.items() if isinstance(r, _Found)}
        if failed and group.together:
            note = f"{group.name} is not recorded for {', '.join(found)}, since {', '.join(failed)} failed"
            return rows | {arch: replace(rows[arch], notes=(*rows[arch].notes, note)) for arch in found}
        unbuilt = {arch: r for arch, r in found.items() if r.solution.builds and self._options.dry_run}
        if unbuilt:
            rows |= {arch: _described(rows[arch], r) for arch, r in found.items()}
            return rows
        environments = [await self._environment(group, arch, r.solution) for arch, r in found.items()]
        locked = group.lock is not None
        identified = self._identified(environments, locked=locked)
        for environment in await self._known(identified) if environments else []:
            arch = environment.id.arch
            unsaid = [p.filename for p in found[arch].solution.packages if _lacks_digest(p, locked=locked)]
            notes = _notes(group.asked[arch], environment, unsaid)
            row = _described(rows[arch], found[arch])
            rows[arch] = replace(row, environment=environment, builds=(), notes=(*row.notes, *notes))
        return rows

    async def _solution(self, group: Group, arch: str) -> _Found:
        asked = group.asked[arch]
        if asked.compatible and asked.base is not None:
            return _Found(Solution(asked.base.packages))
        resolver = group.lock or await self._resolver(asked.environment_type)
        await loop_begins()
        clock = asyncio.get_running_loop()
        started = clock.time()
        packages = None
        self._emit(events.ResolveStarted(group.name, arch, resolver.name))
        try:
            async with asyncio.timeout(self._settings.resolve_timeout + _GRACE):
                solution = await resolver.resolve(self._problem(asked))
            packages = len(solution.packages) + len(solution.builds)
        except TimeoutError:
            raise ResolveTimeoutError(
                f"resolving {group.name} for {arch} took longer than {self._settings.resolve_timeout:g} seconds",
                hint="raise resolve_timeout, or ask for fewer packages",
            ) from None
        finally:
            seconds = clock.time() - started
            self._emit(events.ResolveEnded(group.name, arch, packages, seconds))
        return _Found(solution, seconds)

    def _problem(self, asked: Assembled) -> Problem:
        settings = self._settings
        return Problem(
            asked.request,
            asked.arch,
            asked.environment_type,
            base=asked.base,
            exclude_newer=publication_limit(settings.exclude_newer),
            timeout=settings.resolve_timeout,
            offline=settings.offline,
            fresh=self._options.force and not settings.offline,
            helpers=self.helpers,
            pip_flags=asked.pip_flags,
            left_out=asked.left_out,
            short=asked.short,
        )

    async def _resolver(self, environment_type: str) -> Resolver:
        async with self._choosing:
            found = self._resolvers.get(environment_type)
            if found is None:
                if self._settings.conda_local_path is not None:
                    from asynccache.ops.local_distribution import (  # noqa: PLC0415 - few teams keep one
                        install_local_distribution,
                    )

                    await install_local_distribution(self._opening)
                # in a thread: looking for programs runs some of them
                found = await in_thread(self._choose, self._settings, environment_type, self._opening.prefix)
                self._resolvers[environment_type] = found
            return found

    async def _environment(self, group: Group, arch: str, solution: Solution) -> ResolvedEnvironment:
        asked, locked = group.asked[arch], group.lock is not None
        packages = _with_base_objects(solution.packages, asked.base)
        if solution.builds:
            if not self._options.cache:
                raise UsageError(
                    f"{group.name} needs wheels that are built from source, and the store is where they are kept",
                    found=", ".join(build.name for build in solution.builds),
                    hint="cache the environment, or ask for versions that are published as wheels",
                )
            from asynccache.ops.resolve_wheels import with_built_wheels  # noqa: PLC0415 - rarely needed

            packages = await with_built_wheels(self._opening, self._problem(asked), solution, packages, locked=locked)
        if not self._options.dry_run:
            packages = await self._with_digests(packages, locked=locked)
        by = self._settings.username
        if asked.compatible and asked.base is not None:
            by = f"{by} (compatible with {asked.base.id})"
        return ResolvedEnvironment(
            EnvID(asked.request.req_id, UNIDENTIFIED, arch),
            asked.request,
            tuple(packages),
            datetime.now(),  # noqa: DTZ005 - documents carry local time without zone, which other readers sort
            by,
            (arch,),
            asked.environment_type,
            accurate_source=asked.base is None,
            unique_keys=group.unique_keys,
        )

    async def _with_digests(self, packages: Sequence[EnvironmentPackage], *, locked: bool) -> list[EnvironmentPackage]:
        """Cache packages whose digest no index says as the identity needs it: md5 of conda, sha256 of PyPI packages."""
        unknown = [p for p in packages if _lacks_digest(p, locked=locked)]
        if not unknown:
            return list(packages)
        engine = await self._opening.engine()
        report = await engine.cache([p.to_package() for p in unknown], keep_published=True)
        report.raise_for_failures()
        keys = {outcome.url: [form.key for form in outcome.forms] for outcome in report.outcomes}
        result = []
        for package in packages:
            known = package
            for key in keys.get(str(package.to_package().url), ()) if package in unknown else ():
                parts = layout.parse_key(key, self._settings.packages_dirname)
                if parts is not None:
                    known = known.with_cached(str(parts.format), key)
            result.append(known)
        return result

    def _identified(self, environments: Sequence[ResolvedEnvironment], *, locked: bool) -> list[ResolvedEnvironment]:
        if any(_lacks_digest(p, locked=locked) for e in environments for p in e.packages):
            return list(environments)  # of a dry run; the rows say so
        return identified(environments)

    async def _known(self, environments: Sequence[ResolvedEnvironment]) -> list[ResolvedEnvironment]:
        """Put what is known under the same ids in the place of what was found: it knows where its packages are."""
        opening, options = self._opening, self._options
        alone = options.dry_run or options.local_only or not options.cache
        catalog = opening.local if alone else await opening.catalog()
        known = [None if e.id.full_id == UNIDENTIFIED else await catalog.lookup.by_id(e.id) for e in environments]
        if all(
            k is not None and k.resolved_archs == e.resolved_archs for k, e in zip(known, environments, strict=True)
        ):
            return [k for k in known if k is not None]
        return list(environments)


def _described(row: Row, found: _Found) -> Row:
    solution = found.solution
    return replace(
        row,
        resolver=solution.resolver,
        seconds=found.seconds,
        sizes=solution.sizes,
        builds=solution.builds,
        notes=(*row.notes, *solution.notes),
    )


def _notes(asked: Assembled, environment: ResolvedEnvironment, unsaid: Sequence[str]) -> list[str]:
    notes = []
    driver = any(value.startswith("__cuda") for value in asked.request.deps.get("sys", ()))
    cpu = [p.filename for p in environment.packages if _CPU_BUILD.search(p.filename)]
    if cpu and (asked.gpu or driver):
        sentence = (
            f"A GPU was asked for, but {', '.join(cpu)} {'is a build' if len(cpu) == 1 else 'are builds'} for CPUs only"
        )
        advice = (
            "." if driver else ", since no __cuda was: sys_default_gpu_packages can say which driver such steps have."
        )
        notes.append(sentence + advice)
    if environment.id.full_id == UNIDENTIFIED:
        notes.append(
            "The full id is not known: some index does not say the digests that it is made of, which a run that caches"
            f" finds (of {_listed(unsaid)})."
        )
    elif unsaid:
        notes.append(
            f"No index says the digest that counts of {_listed(unsaid)}: it was taken from what was downloaded."
        )
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _lacks_digest(package: EnvironmentPackage, *, locked: bool) -> bool:
    """Whether the digest that counts for the identity is yet to be found.

    Those of PyPI packages of a lock never count (contract, section 1.4).
    """
    if package.published_hash is not None:
        return False
    return package.kind == "conda" or (not locked and "sha256" not in package.hashes and "md5" in package.hashes)


def _with_base_objects(
    packages: Sequence[EnvironmentPackage], base: ResolvedEnvironment | None
) -> list[EnvironmentPackage]:
    """Take the package objects of a base, which know where their archives are (contract, section 5.2)."""
    known = {(p.kind, p.filename): p for p in base.packages} if base is not None else {}
    result = []
    for package in packages:
        of_base = known.get((package.kind, package.filename), package)
        same = of_base.published_hash in {None, package.published_hash} or package.published_hash is None
        result.append(of_base if same else package)
    return result
