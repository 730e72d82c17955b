"""What every resolver of conda packages needs to know about a problem, parsed once and in one place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.config import Settings
from asynccache.errors import ResolverFailedError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import DistributionName, parse_stem, split_filename
from asynccache.model.url import redacted
from asynccache.resolve.requests.markers import without_markers
from asynccache.resolve.requests.requirement_text import (
    ReadRequirement,
    join_value,
    read_requirement,
    split_value,
    undoubled,
)
from asynccache.resolve.requests.sources import NO_DEFAULTS, channel_of, default_channels
from asynccache.resolve.requests.url_credentials import expanded
from asynccache.resolve.resolver import Problem

_NO_CHANNELS: Final = {NO_DEFAULTS, ""}
_SHORT_PYTHON: Final = re.compile(r"\s*(==?)?\s*\d+(\.\d+)?")
_TOKEN: Final = re.compile(r"(://[^/]+)/t/[^/]+")


@dataclass(frozen=True, slots=True)
class CondaProblem:
    """The conda part of a problem, without markers.

    Attributes:
        arch: conda platform.
        requirements: Parsed requirements, those of `conda` before those of `npconda`.
        values: The same as texts for programs: `pandas>=1.0`, `six==1.16`, `x`.
        channels: Names and addresses, best first; those named only in a requirement come last.
        own_channels: The channels in the request itself.
        sys: Virtual package -> version without build, as the request has it.
        base: conda packages that must be kept.
        alone: Whether a program's configured channels are ignored.
    """

    arch: str
    requirements: tuple[ReadRequirement, ...]
    values: tuple[str, ...]
    channels: tuple[str, ...]
    own_channels: tuple[str, ...]
    sys: dict[str, str]
    base: tuple[EnvironmentPackage, ...]
    alone: bool = False

    @property
    def names_channels(self) -> bool:
        """Whether a requirement names a channel."""
        return any(requirement.channel for requirement in self.requirements)


def read_conda_problem(problem: Problem, settings: Settings) -> CondaProblem:
    """Read the conda part of a problem.

    Raises:
        UsageError: A marker or requirement is invalid, or the base has conda packages that no channel has.
    """
    deps = without_markers(problem.request, problem.arch, settings).deps
    values = [_with_any_patch(value) for value in (*deps.get("conda", ()), *deps.get("npconda", ()))]
    requirements = tuple(map(read_requirement, values))
    sources = problem.request.sources.get("conda", ())
    own = [c for c in sources if c not in {*_NO_CHANNELS, *problem.left_out}]
    own = [channel_of(expanded(channel)) for channel in own or default_channels(settings)]
    named = [requirement.channel for requirement in requirements if requirement.channel]
    base = tuple(package for package in (problem.base.packages if problem.base else ()) if package.kind == "conda")
    if local := [package.filename for package in base if not package.downloadable]:
        raise UsageError(
            "Local packages are not allowed in Conda", found=", ".join(local), hint="extend an environment without them"
        )
    sys = {name: text.lstrip("=").partition("=")[0] for name, text, _ in map(split_value, deps.get("sys", ()))}
    channels = tuple(dict.fromkeys([*own, *named]))
    return CondaProblem(
        problem.arch,
        requirements,
        tuple(map(undoubled, values)),
        channels,
        tuple(dict.fromkeys(own)),
        sys,
        base,
        alone=NO_DEFAULTS in sources,
    )


def _with_any_patch(value: str) -> str:
    """Read `python==3.11` as every 3.11, for every resolver: that is what users mean by it.

    >>> _with_any_patch("python==3.11"), _with_any_patch("python==>=3.9,==3.11"), _with_any_patch("python==3.11.4")
    ('python==3.11.*', 'python==>=3.9,==3.11.*', 'python==3.11.4')
    """
    name, constraint, marker = split_value(value)
    if name.rpartition("::")[2] != "python":
        return value
    clauses = [
        "|".join(f"{each}.*" if _SHORT_PYTHON.fullmatch(each) else each for each in clause.split("|"))
        for clause in constraint.split(",")
    ]
    return join_value(name, ",".join(clauses), marker)


def conda_package(url: str, *, md5: str | None, sha256: str | None) -> EnvironmentPackage:
    """Return the package for an entry of an index or a program.

    Args:
        url: URL of the archive; user information and tokens in it are dropped.
        md5: 32 hexadecimal digits, None or empty if not known.
        sha256: 64 hexadecimal digits, None or empty if not known.

    Raises:
        ResolverFailedError: The URL is not that of a conda archive.
    """
    address = _TOKEN.sub(r"\1", redacted(url))
    try:
        stem, fmt = split_filename(unquote(urlsplit(address).path.rpartition("/")[2]))
        parse_stem("conda", stem)
    except UsageError as exc:
        raise ResolverFailedError(
            f"the resolver answered with {address!r}, which is not the address of a conda package"
        ) from exc
    hashes = {key: digest.lower() for key, digest in ((fmt.value, md5), ("sha256", sha256)) if digest}
    return EnvironmentPackage("conda", stem, address, fmt.value, hashes)


def with_base(packages: Iterable[EnvironmentPackage], base: Sequence[EnvironmentPackage]) -> list[EnvironmentPackage]:
    """Return a solution with the base's packages as the base records them, including what is cached.

    Raises:
        ResolverFailedError: A package of the base is missing.
    """
    known = {package.filename: package for package in base}
    result = [known.get(package.filename, package) for package in packages]
    if lost := sorted(known.keys() - {package.filename for package in result}):
        raise ResolverFailedError(
            "the solution does not keep all packages of the environment that it extends", found=", ".join(lost)
        )
    return result


def pinned_names(base: Sequence[EnvironmentPackage]) -> list[tuple[EnvironmentPackage, DistributionName]]:
    """Return the base's packages with their names, versions and builds."""
    return [(package, parse_stem("conda", package.filename)) for package in base]
