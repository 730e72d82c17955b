"""Using lock files as they are: read for an architecture without solving, after a check that they were made for it.

A lock file with only PyPI packages does not include Python: the helper environment is solved (contract, section 10.5),
and the lock file is read for the Python found.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format, Package
from asynccache.model.platform import current_architecture
from asynccache.resolve.conda.problem import conda_package
from asynccache.resolve.formats.locks import lock_format, read_locked
from asynccache.resolve.formats.registry import FileFormat
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.pypi.found import sorted_out
from asynccache.resolve.pypi.helper_environment import python_version, solve_helper
from asynccache.resolve.pypi.problem import ACROSS, read_pypi_problem
from asynccache.resolve.requests.assemble import Assembled
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.requests.source_position import SourcePosition
from asynccache.resolve.requests.url_credentials import logins_in
from asynccache.resolve.resolver import Problem, Resolver, Solution
from asynccache.runtime.late_loop import in_thread

_KEY: Final = "sha256"  # for packages of lock files with only PyPI packages: contract, section 2.2


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock file.

    Attributes:
        name: Its path, which errors name and relative entries are relative to.
        text: Its content.
        format: Its format.
    """

    name: str
    text: str
    format: FileFormat

    @property
    def unique_keys(self) -> dict[str, str]:
        """Keys that are part of the identity of its environments (contract, section 1.4)."""
        key = self.format.unique_key
        return {key: hashlib.sha256(self.text.encode()).hexdigest()} if key else {}

    @property
    def auth(self) -> dict[str, list[str]]:
        """Credentials in its addresses, in the format of the setting `auth`; they are never part of the result."""
        return logins_in(self.text)

    def resolver(
        self, settings: Settings, asked: Mapping[str, Assembled], environment: str | None = None
    ) -> LockedResolver:
        """Return the resolver that uses it as the solution.

        Args:
            settings: All settings.
            asked: Architecture -> request, whose credentials are used for Python's channels.
            environment: Environment of a pixi.lock.
        """
        auth = {place: login for each in asked.values() for place, login in each.auth.items()}
        settings = dataclasses.replace(settings, auth={**auth, **settings.auth})
        return LockedResolver(self, settings, environment=environment)

    @property
    def has_python(self) -> bool:
        """Whether it includes Python, which a format with only PyPI packages does not."""
        return self.format.python

    def solution(
        self, arch: str, python: str | None = None, *, environment: str | None = None, glibc: int | None = None
    ) -> Solution:
        """Return its content for an architecture; nothing is solved or fetched.

        Args:
            arch: conda platform.
            python: Version that wheels are chosen for; required if the format has only PyPI packages.
            environment: Environment of a pixi.lock; None for `default`.
            glibc: Minor version of glibc 2 that wheels are chosen for.

        Raises:
            UsageError: It is malformed, was not locked for the architecture or Python, has packages for another one,
                or sources for another architecture than this machine's.
        """
        place = SourcePosition(self.name)
        if not self.has_python and python is None:
            raise place.error("wheels can only be chosen for a Python", expected="a version such as 3.11.7")
        selection = Selection((arch,), environment, python, glibc=glibc)
        read = read_locked(self.name, self.text, self.format, selection)
        conda = [_conda(package) for package in read.packages if package.kind == "conda"]
        found = sorted_out(
            (package for package in read.packages if package.kind == "pypi"),
            [tree.build() for tree in read.trees],
            hash_key=None if self.has_python else _KEY,
        )
        if not self.format.divided:
            _check(conda, found.packages, arch, place, python)
        if found.builds and arch != current_architecture():
            raise UsageError(f"{place}: {ACROSS}", found=", ".join(build.name for build in found.builds))
        packages = (*conda, *found.packages)
        if not packages and not found.builds and self.has_python:
            raise place.error(f"it has no package for {arch}", hint="choose another architecture with --arch")
        sizes = {str(p.url): p.digests.size for p in read.packages if p.digests.size is not None}
        return Solution(packages, found.builds, "locked", sizes)


def read_lock(name: str, text: str) -> Lock:
    """Recognise a lock file by its name, else by its content.

    Raises:
        UsageError: It is not a readable lock file; the message says what it is.
    """
    text = text.removeprefix("\ufeff")
    return Lock(name, text, lock_format(name, text))


@dataclasses.dataclass(unsafe_hash=True)
class LockedResolver:
    """Uses a lock file as the solution; solves only the Python for a lock file of PyPI packages.

    Resolvers of equal lock files are equal: steps that share a lock file are resolved as one.

    Attributes:
        lock: The lock file.
        settings: All settings.
        conda: Solves the conda part; None for the built-in resolver.
        environment: Environment of a pixi.lock.
    """

    lock: Lock
    settings: Settings = dataclasses.field(hash=False)
    conda: Resolver | None = dataclasses.field(default=None, compare=False)
    environment: str | None = None

    name: ClassVar[str] = "locked"

    async def resolve(self, problem: Problem) -> Solution:
        """Return the content of the lock file; see `Resolver.resolve` and `Lock.solution` for the errors."""
        if self.lock.has_python:
            return await in_thread(self.lock.solution, problem.arch, environment=self.environment)
        if self.conda is None:
            from asynccache.resolve.conda.rattler_solver import RattlerResolver  # noqa: PLC0415 - imports a library of its own

            self.conda = RattlerResolver(self.settings)
        pypi = await in_thread(read_pypi_problem, problem, self.settings)
        conda = await solve_helper(problem, self.settings, self.conda)
        version = python_version(conda.packages)
        found = await in_thread(self.lock.solution, problem.arch, version, glibc=pypi.glibc)
        return found + conda


def _conda(package: Package) -> EnvironmentPackage:
    return conda_package(str(package.url), md5=package.digests.md5, sha256=package.digests.sha256)


def _check(
    conda: Iterable[EnvironmentPackage],
    wheels: Iterable[EnvironmentPackage],
    arch: str,
    place: SourcePosition,
    python: str | None,
) -> None:
    """Refuse a list of URLs that was made for another machine: the list does not name it."""
    packages = list(conda)
    others = [p.filename for p in packages if p.url.rsplit("/", 2)[-2] not in {arch, "noarch"}]
    if others:
        raise place.error(f"it has packages that are not for {arch}", found=", ".join(others[:5]))
    from packaging.utils import parse_wheel_filename  # noqa: PLC0415 - of lists with wheels only

    found = list(wheels)
    if not found:
        return
    version = python or next((p.filename.split("-")[1] for p in packages if p.filename.startswith("python-3")), None)
    if version is None:
        return
    ranks = PythonTarget(arch, version).ranks
    unfit = [
        p.filename for p in found if not any(t in ranks for t in parse_wheel_filename(p.filename + Format.WHEEL)[3])
    ]
    if unfit:
        raise place.error(f"it has wheels that do not fit {arch} with Python {version}", found=", ".join(unfit[:5]))
