"""The in-memory twin of a resolver: solves conda requirements from a table of packages, without files or network.

It understands what the seam asks of every resolver (channels and their order, virtual packages, a base that is kept, a
date, a time limit, offline use) and finds a solution by trying the newest versions first. It is meant for tables of
some hundred packages.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from rattler import MatchSpec, PackageRecord, Version
from rattler.exceptions import InvalidMatchSpecError
from rattler.package import BuildString

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.platform import NOARCH
from asynccache.resolve.channel_index import channel_addresses
from asynccache.resolve.conda_problem import CondaProblem, conda_package, pinned_names, read_conda_problem, with_base
from asynccache.resolve.explain import timed_out, unknown_packages, unreachable, unsatisfiable
from asynccache.resolve.resolver import PrefixMaker, Problem, Solution
from asynccache.resolve.virtual_packages import VirtualPackage, machine_profile


@dataclass(frozen=True, slots=True)
class TablePackage:
    """A row of the table.

    Attributes:
        name: Package name.
        version: As conda writes it.
        build: Build string.
        depends: What it needs, as conda writes it: `python >=3.11,<3.12.0a0`.
        subdir: conda platform, or `noarch`.
        channel: Name or address.
        published: When; has a zone. None when unknown.
        size: Bytes of the archive.
    """

    name: str
    version: str
    build: str = "0"
    depends: tuple[str, ...] = ()
    subdir: str = NOARCH
    channel: str = "conda-forge"
    published: datetime | None = None
    size: int = 1000

    @property
    def filename(self) -> str:
        """File name without extension."""
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def md5(self) -> str:
        """Digest of the archive; made up from the name."""
        return hashlib.md5(self.filename.encode(), usedforsecurity=False).hexdigest()

    @property
    def sha256(self) -> str:
        """Digest of the archive; made up from the name."""
        return hashlib.sha256(self.filename.encode()).hexdigest()

    def at(self, address: str) -> EnvironmentPackage:
        """Return the package as a channel at an address publishes it."""
        return conda_package(f"{address}/{self.subdir}/{self.filename}.conda", md5=self.md5, sha256=self.sha256)


@dataclass(frozen=True, slots=True)
class _Candidate:
    row: TablePackage
    address: str
    record: PackageRecord


class MemoryResolver:
    """Solves from a table.

    Args:
        settings: `channels`, `channel_alias` and the virtual packages count.
        table: The packages of all channels.
        unreachable: Channels that do not answer.
        kept: Channels of which an index was kept, for offline use; None for all.
        seconds: How long a solve takes.
        prefix: Not needed; every resolver is made with the same arguments.
    """

    def __init__(
        self,
        settings: Settings,
        table: Iterable[TablePackage] = (),
        *,
        unreachable: Collection[str] = (),
        kept: Collection[str] | None = None,
        seconds: float = 0.0,
        prefix: PrefixMaker | None = None,
    ) -> None:
        del prefix
        self._settings = settings
        self._table = tuple(table)
        self._unreachable = unreachable
        self._kept = kept
        self._seconds = seconds
        self.problems: list[Problem] = []

    @property
    def name(self) -> str:
        """`memory`."""
        return "memory"

    async def resolve(self, problem: Problem) -> Solution:
        """Find conda packages; see `Resolver.resolve` for the errors."""
        self.problems.append(problem)
        conda = read_conda_problem(problem, self._settings)
        profile = await asyncio.to_thread(
            machine_profile, problem.arch, problem.request.deps.get("sys", ()), self._settings
        )
        try:
            async with asyncio.timeout(problem.timeout):
                await asyncio.sleep(self._seconds)
                return await asyncio.to_thread(self._solved, problem, conda, profile)
        except TimeoutError:
            raise timed_out(problem.timeout, f"solving for {problem.arch}") from None

    def _solved(self, problem: Problem, conda: CondaProblem, profile: Sequence[VirtualPackage]) -> Solution:
        for channel in conda.channels:
            if problem.offline and self._kept is not None and channel not in self._kept:
                raise unreachable(f"no usable repodata cache for {channel}", conda.channels)
            if not problem.offline and channel in self._unreachable:
                raise unreachable(f"{channel} does not answer", [channel])
        by_name = self._candidates(problem, conda)
        missing = sorted({r.name for r in conda.requirements if not r.name.startswith("__")} - by_name.keys())
        if missing:
            raise unknown_packages(missing, by_name.keys(), conda.channels, problem.arch)
        wanted: list[tuple[str, str | None]] = [
            (replace(r, channel=None).conda_spec, r.channel) for r in conda.requirements
        ]
        wanted += [(f"{name.name} =={name.version} {name.build}", None) for _, name in pinned_names(conda.base)]
        search = _Search(by_name, profile, time.monotonic() + problem.timeout)
        chosen = search.extended({}, wanted)
        if chosen is None:
            raise unsatisfiable(search.reason, arch=problem.arch, virtual_packages=profile)
        ordered = _in_link_order(chosen)
        packages = [candidate.row.at(candidate.address) for candidate in ordered]
        sizes = {package.url: c.row.size for package, c in zip(packages, ordered, strict=True)}
        return Solution(tuple(with_base(packages, conda.base)), resolver=self.name, sizes=sizes)

    def _candidates(self, problem: Problem, conda: CondaProblem) -> dict[str, list[_Candidate]]:
        """Return what can be chosen by name, best first: channel by rank, then version, then build."""
        by_name: dict[str, list[_Candidate]] = {}
        for channel in conda.channels:
            address = channel_addresses(channel, self._settings.channel_alias)[0]
            for row in self._table:
                here = row.channel == channel and row.subdir in {problem.arch, NOARCH}
                late = problem.exclude_newer is not None and (
                    row.published is None or row.published > problem.exclude_newer
                )
                if here and not late:
                    record = _record(row.name, row.version, row.build, row.subdir)
                    by_name.setdefault(row.name, []).append(_Candidate(row, address, record))
        order = {channel: rank for rank, channel in enumerate(conda.channels)}
        for found in by_name.values():
            found.sort(key=lambda c: (Version(c.row.version), c.row.build), reverse=True)
            found.sort(key=lambda c: order[c.row.channel])
        return by_name


class _Search:
    """Depth first: one requirement after the other, best candidate first."""

    def __init__(self, by_name: Mapping[str, list[_Candidate]], profile: Sequence[VirtualPackage], ends: float) -> None:
        self._by_name = by_name
        self._virtual = {
            package.name: _record(package.name, package.version, package.build, NOARCH) for package in profile
        }
        self._ends = ends
        self.reason = ""

    def extended(
        self, chosen: dict[str, _Candidate], wanted: Sequence[tuple[str, str | None]]
    ) -> dict[str, _Candidate] | None:
        """Return what was chosen and candidates for what is wanted beside it, None when there is no solution.

        Args:
            chosen: Candidate by name.
            wanted: Specification without channel, and the channel it must come from.

        Raises:
            TimeoutError: Time is up.
            UsageError: A requirement that cannot be read.
        """
        if time.monotonic() > self._ends:
            raise TimeoutError
        if not wanted:
            return chosen
        (text, channel), rest = wanted[0], wanted[1:]
        spec = _match_spec(text)
        name = text.split()[0].lower()
        if name.startswith("__"):
            record = self._virtual.get(name)
            if record is not None and spec.matches(record):
                return self.extended(chosen, rest)
            self.reason = f"No candidates were found for {text}."
            return None
        if name in chosen:
            if _fits(chosen[name], spec, channel):
                return self.extended(chosen, rest)
            self.reason = f"{text} conflicts with {chosen[name].row.filename}"
            return None
        candidates = [c for c in self._by_name.get(name, []) if _fits(c, spec, channel)]
        if not candidates:
            self.reason = f"No candidates were found for {text}."
        for candidate in candidates:
            needed: list[tuple[str, str | None]] = [(depend, None) for depend in candidate.row.depends]
            if (found := self.extended({**chosen, name: candidate}, [*rest, *needed])) is not None:
                return found
        return None


def _fits(candidate: _Candidate, spec: MatchSpec, channel: str | None) -> bool:
    return (channel is None or candidate.row.channel == channel) and spec.matches(candidate.record)


def _record(name: str, version: str, build: str, subdir: str) -> PackageRecord:
    return PackageRecord(name, version, BuildString(build), 0, subdir)


def _match_spec(text: str) -> MatchSpec:
    try:
        return MatchSpec(text, strict=False)
    except InvalidMatchSpecError as exc:
        raise UsageError(f"the requirement {text!r} cannot be read ({exc})") from exc


def _in_link_order(chosen: Mapping[str, _Candidate]) -> list[_Candidate]:
    ordered: dict[str, _Candidate] = {}

    def visit(name: str, above: frozenset[str]) -> None:
        if name in ordered or name not in chosen or name in above:
            return
        for depend in chosen[name].row.depends:
            visit(depend.split()[0].lower(), above | {name})
        ordered[name] = chosen[name]

    for name in sorted(chosen):
        visit(name, frozenset())
    return list(ordered.values())
