"""The built-in resolver of conda packages: py-rattler's gateway and solver, in this process.

It needs no program, no prefix and no package archive. PyPI requirements are ignored: of a mixed request it solves the
conda part. Channels are ranked as in the request; a channel of lower rank is used if one of higher rank has no suitable
package.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from rattler import (
    Channel,
    ChannelPriority,
    GenericVirtualPackage,
    MatchSpec,
    PackageName,
    PackageRecord,
    RepoDataRecord,
    Version,
    solve,
)
from rattler.exceptions import GatewayError, InvalidMatchSpecError, InvalidVersionError, SolverError
from rattler.package import BuildString

from asynccache.config import Settings
from asynccache.errors import ResolverFailedError, UsageError
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.platform import NOARCH
from asynccache.model.url import redacted
from asynccache.resolve.conda.channel_index import ChannelIndex
from asynccache.resolve.conda.odd_records import odd_records
from asynccache.resolve.conda.problem import CondaProblem, conda_package, pinned_names, read_conda_problem, with_base
from asynccache.resolve.explain import some_of, timed_out, unknown_packages, unreachable, unsatisfiable
from asynccache.resolve.requests.requirement_text import ReadRequirement
from asynccache.resolve.requests.virtual_packages import VirtualPackage, machine_profile
from asynccache.resolve.resolver import Problem, Solution
from asynccache.runtime.clock import Deadline
from asynccache.runtime.late_loop import in_thread

# The library's error for a solve that waited for the fetch of another one.
_SHARED: Final = "coalesced request failed"
# How it reports that it cannot read one of them.
_RECORDS: Final = "extract repodata records"
_MOMENT: Final = 0.05  # seconds
_MOST_TRIES: Final = 20


class RattlerResolver:
    """Solves conda requirements. One instance shares what it fetched between concurrent solves.

    Args:
        settings: Channels, mirrors, credentials and the cache directory.
    """

    name = "rattler"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._index = ChannelIndex(settings)

    async def resolve(self, problem: Problem) -> Solution:
        """Find conda packages; see `Resolver.resolve` for the errors.

        Packages are in link order, each after its dependencies.
        """
        conda, profile = await in_thread(self._read, problem)
        if not conda.requirements and not conda.base:
            return Solution((), resolver=self.name)
        query = _Query(self._index, problem, conda, profile)
        try:
            async with asyncio.timeout(problem.timeout):
                records = await query.solve()
                notes = await query.left_out(problem.short)
        except TimeoutError:
            raise timed_out(problem.timeout, f"reading channels and solving for {problem.arch}") from None
        packages = [_package(record) for record in records]
        sizes = {package.url: record.size for package, record in zip(packages, records, strict=True) if record.size}
        needs = {
            record.name.normalized: tuple(dependency.split(" ", 1)[0] for dependency in record.depends)
            for record in records
        }
        kept = with_base(packages, conda.base)
        return Solution(tuple(kept), resolver=self.name, sizes=sizes, notes=tuple(notes), needs=needs)

    async def versions(self, problem: Problem, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the versions of packages in a problem's channels, newest first; none for an unknown name.

        Raises:
            AsyncCacheError: A channel does not answer in time, or a requirement cannot be read.
        """
        conda, profile = await in_thread(self._read, problem)
        query = _Query(self._index, problem, conda, profile)
        try:
            async with asyncio.timeout(problem.timeout):
                return await query.published(names)
        except TimeoutError:
            raise timed_out(problem.timeout, f"reading channels for {problem.arch}") from None
        except GatewayError as exc:
            raise unreachable(str(exc), conda.channels) from exc

    def _read(self, problem: Problem) -> tuple[CondaProblem, tuple[VirtualPackage, ...]]:
        # in a thread: detecting virtual packages can run a program
        conda = read_conda_problem(problem, self._settings)
        return conda, machine_profile(problem.arch, problem.request.deps.get("sys", ()), self._settings)


class _Query:
    """One solve: its channels, its specifications, and what its failure means."""

    def __init__(
        self, index: ChannelIndex, problem: Problem, conda: CondaProblem, profile: tuple[VirtualPackage, ...]
    ) -> None:
        self._index = index
        self._problem = problem
        self._conda = conda
        self._profile = profile
        self._ends = Deadline(problem.timeout)
        self._addresses = index.addresses(conda.channels)
        self._channels = index.channels(self._addresses)
        self._base_channels = index.channels(index.addresses(_channels_of(conda.base)))
        self._gateway = index.gateway(offline=problem.offline, fresh=problem.fresh)
        self._platforms: list[str] = [problem.arch, NOARCH]
        self._specs = [self._spec(requirement) for requirement in conda.requirements]
        self._virtual = [_virtual(package) for package in profile]

    def _spec(self, requirement: ReadRequirement) -> MatchSpec:
        if requirement.channel:
            requirement = replace(requirement, channel=self._index.addresses([requirement.channel])[0])
        # a build in brackets may be any text; elsewhere the library's grammar allows letters and digits only
        text = replace(requirement, build=None).conda_spec
        if requirement.build is not None:
            text += f"[build='{requirement.build}']"
        try:
            return MatchSpec(text, strict=True)
        except InvalidMatchSpecError as exc:
            raise UsageError(
                f"the requirement {redacted(requirement.conda_spec)!r} cannot be read ({redacted(str(exc))})",
                expected="a name and a version as conda writes it, such as `numpy >=1.20,<2` or `numpy ==1.26.4`",
            ) from exc

    async def solve(self) -> list[RepoDataRecord]:
        """Return the records in link order.

        Raises:
            TimeoutError: The solver reached the time limit.
            UnsatisfiableError: The requirements contradict each other.
            PackageUnknownError: No channel has a package.
            IndexUnreachableError: A channel does not answer.
        """
        try:
            return _in_link_order(await self._records())
        except GatewayError as exc:
            odd = await in_thread(odd_records, self._index.directory) if _RECORDS in str(exc) else []
            raise unreachable(str(exc), self._addresses, odd) from exc
        except SolverError as exc:
            raise await self._explained(exc) from exc

    async def _records(self) -> list[RepoDataRecord]:
        for _ in range(_MOST_TRIES):
            failures = self._index.failures
            try:
                return await self._solved()
            except GatewayError as exc:
                if self._index.without_optional(str(exc)):
                    self._gateway = self._index.gateway(offline=self._problem.offline, fresh=self._problem.fresh)
                    continue
                if _SHARED not in str(exc):
                    self._index.failed(str(exc))
                    raise
            # Another solve fetched for this one: if it failed, the reason is available in a moment; otherwise it was
            # cancelled.
            await asyncio.sleep(_MOMENT)
            if reason := self._index.failure_after(failures):
                raise unreachable(reason, self._addresses)
        raise unreachable("the solves that fetch it are cancelled one after the other", self._addresses)

    async def _solved(self) -> list[RepoDataRecord]:
        exact = [f"{name.name} =={name.version} {name.build}" for _, name in pinned_names(self._conda.base)]
        return await solve(
            sources=self._channels,
            specs=[*self._specs, *exact],
            gateway=self._gateway,
            platforms=self._platforms,  # type: ignore[arg-type]  # any platform, not only the library's list
            pinned_packages=await self._pinned(),
            virtual_packages=self._virtual,
            timeout=dt.timedelta(seconds=self._ends.left),
            channel_priority=ChannelPriority.Flexible,
            exclude_newer=_utc(self._problem.exclude_newer),
            # a channel that refers to others could change the meaning of a request
            channel_relations="disabled",
        )

    async def _pinned(self) -> list[RepoDataRecord]:
        """Return the records of the base's packages.

        Raises:
            ResolverFailedError: A channel no longer has one of them.
        """
        base = pinned_names(self._conda.base)
        if not base:
            return []
        specs = [f"{name.name} =={name.version} {name.build}" for _, name in base]
        found = await self._listed([*self._channels, *self._base_channels], specs)
        records = {((p := _package(record)).filename, p.published_hash): record for record in found}
        missing = [package.filename for package, _ in base if (package.filename, package.published_hash) not in records]
        if missing:
            raise ResolverFailedError(
                "packages of the environment that is extended are no longer in their channels, so what they need is"
                " unknown",
                found=", ".join(missing),
                hint="resolve the whole environment again",
            )
        return [records[package.filename, package.published_hash] for package, _ in base]

    async def _explained(self, error: SolverError) -> BaseException:
        if "cancelled" in str(error):
            return TimeoutError()
        real = [r for r in self._conda.requirements if not r.name.startswith("__")]
        try:
            listed = await self._gateway.names(
                [*self._channels, *self._base_channels],
                self._platforms,  # type: ignore[arg-type]
                channel_relations="disabled",
            )
            known = {name.normalized for name in listed}
            if missing := sorted({r.name for r in real if r.name.lower() not in known}):
                return unknown_packages(missing, known, self._addresses, self._problem.arch)
            published = await self.published([r.name for r in real if f"found for {r.name} " in str(error)])
        except GatewayError as exc:
            return unreachable(str(exc), self._addresses)
        exact = {r.name: r.constraint[2:] for r in real if re.fullmatch(r"==[\w.]+", r.constraint)}
        return unsatisfiable(
            str(error),
            arch=self._problem.arch,
            virtual_packages=self._profile,
            published=published,
            exact=exact,
            requested={r.name: r.conda_spec for r in real if r.constraint or r.build is not None},
        )

    async def published(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Return the versions of packages, newest first.

        Raises:
            GatewayError: A channel does not answer.
        """
        versions: dict[str, list[str]] = {}
        for name in names:
            known = {record.version for record in await self._listed(self._channels, [name])}
            versions[name] = list(dict.fromkeys(str(version) for version in sorted(known, reverse=True)))
        return versions

    async def left_out(self, short: Mapping[str, str]) -> list[str]:
        """Return a sentence for each exact version that is a prefix of other published ones.

        Args:
            short: Package -> version.
        """
        try:
            published = await self.published(list(short)) if short else {}
        except GatewayError:
            return []  # it serves a note only
        notes = []
        for name, asked in short.items():
            others = [v for v in published[name] if v.startswith(f"{asked}.") and Version(v) != Version(asked)]
            if others:
                notes.append(
                    f"{name}={asked} leaves out {len(others)} version{'s' if len(others) > 1 else ''} that conda would"
                    f" take: {some_of(others)}"
                )
        return notes

    async def _listed(self, channels: Sequence[Channel], specs: Sequence[str]) -> list[RepoDataRecord]:
        """Return the records that channels have, without dependencies."""
        found = await self._gateway.query(
            channels,
            self._platforms,  # type: ignore[arg-type]
            specs,
            recursive=False,
            channel_relations="disabled",
        )
        return [record for records in found for record in records]


def _package(record: RepoDataRecord) -> EnvironmentPackage:
    return conda_package(
        record.url,
        md5=record.md5.hex() if record.md5 else None,
        sha256=record.sha256.hex() if record.sha256 else None,
    )


def _in_link_order(records: Sequence[RepoDataRecord]) -> list[RepoDataRecord]:
    by_name = {record.name.normalized: record for record in records}
    ordered = PackageRecord.sort_topologically(list(records))
    return [by_name[record.name.normalized] for record in ordered]


def _channels_of(base: Iterable[EnvironmentPackage]) -> list[str]:
    return list(dict.fromkeys(package.url.rsplit("/", 2)[0] for package in base))


def _virtual(package: VirtualPackage) -> GenericVirtualPackage:
    try:
        version = Version(package.version)
    except InvalidVersionError as exc:
        raise UsageError(
            f"the virtual package {package.name} has a version that conda cannot read", found=repr(package.version)
        ) from exc
    return GenericVirtualPackage(PackageName(package.name), version, BuildString(package.build))


def _utc(moment: dt.datetime | None) -> dt.datetime | None:
    # the library takes the clock's digits for UTC, whatever the zone
    return moment.astimezone(dt.UTC) if moment else None
