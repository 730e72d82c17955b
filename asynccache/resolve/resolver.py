"""The seam between what is asked and who finds it: a problem goes in, a solution comes out.

One implementation per program or library that can solve. A resolver reads indexes, never package archives, and decides
nothing about identity, caching or names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Protocol

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import Request


@dataclass(frozen=True, slots=True)
class Problem:
    """One environment to find, for one architecture.

    Attributes:
        request: The requirements as they are identified; markers still in them.
        arch: conda platform.
        environment_type: `conda-only`, `pypi-only` or `mixed`.
        base: Environment whose locked packages must all be kept; None for none.
        exclude_newer: Leave out what was published later; has a zone. None for no such policy.
        timeout: Seconds that solving may take.
        offline: Do not contact channels or indexes.
        fresh: Do not take what an index said before as its present state.
        helpers: Who knows helper environments; None for nobody.
        pip_flags: What this machine's pip is configured with, as flags that count beside those of the request.
        left_out: Channels of the request that `nodefaults` in it switches off.
        short: conda package -> the one version asked for, where conda would take every one that begins so.
    """

    request: Request
    arch: str
    environment_type: str
    base: ResolvedEnvironment | None = None
    exclude_newer: datetime | None = None
    timeout: float = 600.0
    offline: bool = False
    fresh: bool = False
    helpers: HelperEnvironments | None = field(default=None, compare=False, repr=False)
    pip_flags: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    short: Mapping[str, str] = field(default_factory=dict)

    def refuse_limits(self, resolver: str, hint: str, *, offline: bool = False) -> None:
        """Refuse limits on what is asked that a program cannot keep.

        Args:
            resolver: Its name.
            hint: What to do instead.
            offline: Whether it can work offline.

        Raises:
            UsageError: What is published later is to be left out, or nobody is to be asked.
        """
        if self.exclude_newer is not None:
            raise UsageError(f"{resolver} cannot leave out what was published after a date", hint=hint)
        if self.offline and not offline:
            raise UsageError(f"{resolver} cannot work offline", hint=hint)


@dataclass(frozen=True, slots=True)
class SourceBuild(Documented):
    """A package of a solution that is published, or is, as source only: a wheel has to be built of it.

    Attributes:
        name: Normalised name.
        version: As the resolver found it; None if only a build tells.
        location: URL of an sdist, `git+https://...@COMMIT`, or a `file://` URL of a directory or archive; without
            credentials.
        subdirectory: Of a repository or archive; empty for its root.
        sha256: Of an archive; None for a directory or repository.
        size: Bytes of an archive, None if unknown.
        md5: Of an archive whose index says no sha256.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("name", "version", "location", "package")

    name: str
    version: str | None
    location: str
    subdirectory: str = ""
    sha256: str | None = None
    size: int | None = None
    md5: str | None = None

    @property
    def package(self) -> str:
        """Name and version, as file names have them."""
        return "-".join(part for part in (self.name, self.version) if part)


@dataclass(frozen=True, slots=True)
class Solution:
    """What a resolver found.

    Attributes:
        packages: In installation order; conda packages carry md5, and sha256 where the index says it.
        builds: What has to be built into wheels before the environment is complete.
        resolver: Name of who found it.
        sizes: URL -> bytes, where the index says it.
        notes: Notes for the user, one sentence each.
        needs: Name of a conda package -> names of what it depends on, where the resolver tells it.
    """

    packages: tuple[EnvironmentPackage, ...]
    builds: tuple[SourceBuild, ...] = ()
    resolver: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __add__(self, other: Solution) -> Solution:
        """Return both, the left one's packages first; it says who resolved."""
        return Solution(
            (*self.packages, *other.packages),
            (*self.builds, *other.builds),
            self.resolver,
            {**self.sizes, **other.sizes},
            (*self.notes, *other.notes),
            {**self.needs, **other.needs},
        )


class Resolver(Protocol):
    """Who solves."""

    @property
    def name(self) -> str:
        """The name that settings know it by."""
        ...

    async def resolve(self, problem: Problem) -> Solution:
        """Find packages.

        Raises:
            UnsatisfiableError: The requirements contradict each other.
            PackageUnknownError: None of the sources has a package that is asked for.
            IndexUnreachableError: A source does not answer.
            ResolveTimeoutError: It took longer than the problem allows.
            ResolverFailedError: The program crashed.
            ResolverMissingError: The program is not on this machine.
            UsageError: A requirement that this resolver cannot understand or must refuse.
        """
        ...


class HelperEnvironments(Protocol):
    """Who knows the conda packages that are below environments of PyPI packages (contract, section 5.2)."""

    async def below(self, problem: Problem, solve: Callable[[], Awaitable[Solution]]) -> Solution:
        """Return a helper environment that is known for a problem, else what `solve` finds.

        Args:
            problem: Asks for the helper environment, not for what is above it.
            solve: Finds it.

        Raises:
            AsyncCacheError: As `Resolver.resolve`, or what is known cannot be read.
        """
        ...


PrefixMaker = Callable[[ResolvedEnvironment], Awaitable[Path]]
"""Returns the prefix of a resolved environment, made when it was not there, for what needs its Python; raises an
`AsyncCacheError` when it could not be made."""
