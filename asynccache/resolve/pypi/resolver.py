"""Environments of PyPI packages; Python itself and other conda packages come from a conda resolver.

The result lists the PyPI packages first and then the conda ones, as documents of this type do (contract, section 2.1);
which conda packages those are is said in `helper_environment`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from asynccache.config import Settings
from asynccache.engine.keyring import ask_also
from asynccache.errors import AsyncCacheError, IndexUnreachableError, IntegrityError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.identity import Request
from asynccache.model.package import Format, parse_stem
from asynccache.model.platform import current_architecture
from asynccache.resolve.program import Finished, run_program
from asynccache.resolve.pypi.helper_environment import builder_environment, python_version, solve_helper
from asynccache.resolve.pypi.placeholders import write_placeholders
from asynccache.resolve.pypi.problem import ACROSS, Logins, PypiProblem, normal_name, read_pypi_problem
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.requests.requirement_text import read_requirement
from asynccache.resolve.resolver import PrefixMaker, Problem, Resolver, Solution
from asynccache.runtime.clock import Deadline
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.scratch import scratch_directory

Command = tuple[Sequence[str | Path], Mapping[str, str]]
"""Arguments and environment of a program."""


@dataclass(frozen=True, slots=True)
class PypiTask:
    """The PyPI part of an environment, with its conda part.

    Attributes:
        problem: The whole problem.
        pypi: Its PyPI part.
        conda: The solution of its conda part.
        provided: Normalised name -> version of what conda provides, which is not part of the result.
    """

    problem: Problem
    pypi: PypiProblem
    conda: Solution
    provided: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> PythonTarget:
        """The Python that packages are chosen for."""
        return PythonTarget(self.pypi.arch, python_version(self.conda.packages), self.pypi.glibc)


_YANKED: Final = re.compile(
    r"`(?P<spec>[^`\s]+==[^`\s]+)` is yanked(?: \(reason: \"(?P<reason>[^\n]*)\"\))?"
    r"|yanked version: '(?P<name>[^']+)' candidate \(version (?P<version>\S+)[^\n]*"
    r"(?:\n\s*Reason for being yanked: (?P<why>[^\n]*))?"
)


class PypiResolver(ABC):
    """Solves PyPI requirements with a program. One instance serves several problems at once.

    Args:
        settings: `cache_dir`, `auth`, `builder_env_packages` and time limits are used.
        prefix: Creates the target's Python if a program or a source package needs it; without it the running one is
            used.
        conda: Solves the conda part.
    """

    name: str

    def __init__(self, settings: Settings, *, prefix: PrefixMaker | None = None, conda: Resolver) -> None:
        self._settings = settings
        self._prefix = prefix
        self._conda = conda
        self._logins = Logins(settings.auth)

    async def resolve(self, problem: Problem) -> Solution:
        """Find PyPI packages and the conda packages below them; see `Resolver.resolve` for the errors."""
        ends = Deadline(problem.timeout)
        pypi = await in_thread(read_pypi_problem, problem, self._settings)
        conda = await solve_helper(problem, self._settings, self._conda)
        found = await self._above(PypiTask(problem, pypi, conda), ends)
        return replace(found + conda, resolver=self.name)

    async def _above(self, task: PypiTask, ends: Deadline) -> Solution:
        """Find the PyPI packages: those of the base as recorded, first; without what conda provides.

        Args:
            task: What to solve.
            ends: The deadline.

        Raises:
            ResolutionError: As `Resolver.resolve` says.
        """
        pypi = task.pypi
        if not pypi.requirements and not pypi.base:
            return Solution(())
        async with scratch_directory(f"asynccache-{self.name}-") as directory:
            standing, kept = await in_thread(self._kept, task, directory)
            found = await self._find(task, kept, directory, ends)
        if pypi.across and (local := [build.name for build in found.builds if build.name not in standing]):
            hint = f"resolve for {current_architecture()} only, or ask for other versions"
            raise UsageError(ACROSS, found=", ".join(local), hint=hint)
        around = _around(found, pypi, standing)
        _check_digests(around, pypi)
        return around

    def _kept(self, task: PypiTask, directory: Path) -> tuple[set[str], list[str]]:
        """Return the names that the result must not repeat, and the lines that constrain the rest to them."""
        standing, lines = dict(task.provided), []
        for package in task.pypi.base:
            name = normal_name(package)
            if package.downloadable and package.url_format == Format.WHEEL and not task.problem.offline:
                lines.append(f"{name} @ {self._logins.address(package.url)}")
            else:
                # built locally, or unreachable: its dependencies are locked in the base already
                standing[name] = parse_stem("pypi", package.filename).version
        placeholders = write_placeholders(directory, standing)
        return {*standing, *map(normal_name, task.pypi.base)}, [*lines, *placeholders.values()]

    async def _run(self, command: Callable[[], Command], task: PypiTask, cwd: Path, ends: Deadline) -> Finished:
        """Run the program, and once more with credentials from the keyring if an index cannot be read.

        Args:
            command: Returns its arguments and environment.
            task: What to solve.
            cwd: Its working directory.
            ends: The deadline.

        Raises:
            ResolutionError: As `Resolver.resolve` says.
        """
        pypi = task.pypi
        arguments, env = await in_thread(command)
        finished = await run_program(
            arguments, env=env, timeout=ends.left, name=f"solving with {self.name} for {pypi.arch}", cwd=cwd
        )
        if finished.returncode == 0:
            return finished
        # in a thread: an index may be queried to see whether it refuses
        error = await in_thread(self._failure, finished, task)
        unread = isinstance(error, IndexUnreachableError) and not task.problem.offline
        if unread and await self._ask_keyrings(task):
            return await self._run(command, task, cwd, ends)
        raise error

    async def _ask_keyrings(self, task: PypiTask) -> bool:
        """Return whether a keyring has a new login: this machine's, then the helper environment's.

        Raises:
            ResolutionError: The helper environment cannot be found or created.
        """
        indexes = task.pypi.indexes
        if await in_thread(self._logins.ask_keyring, indexes):
            return True
        if not self._settings.builder_env_packages or (python := await self._make_python(task, helper=True)) is None:
            return False
        program = python.with_name("keyring")
        if not await in_thread(program.exists) or not ask_also(program):
            return False
        return await in_thread(self._logins.ask_keyring, indexes)

    @abstractmethod
    def _failure(self, finished: Finished, task: PypiTask) -> AsyncCacheError:
        """Return the error for the program's failure. Blocking."""

    @abstractmethod
    async def _find(self, task: PypiTask, kept: Sequence[str], directory: Path, ends: Deadline) -> Solution:
        """Run the program.

        Args:
            task: What to solve.
            kept: Lines that constrain the choice, such as `name @ file:///...`.
            directory: Private directory for the program's input files.
            ends: The deadline.

        Raises:
            ResolutionError: As `Resolver.resolve` says.
        """

    async def _make_python(self, task: PypiTask, *, helper: bool = False) -> Path | None:
        """Return a Python of the target's version that runs on this machine; None if prefixes cannot be created.

        Args:
            task: What to solve.
            helper: Whether it must be that of a complete helper environment.
        """
        if self._prefix is None:
            return None
        problem, conda, here = task.problem, task.conda, current_architecture()
        mixed = helper and problem.environment_type == "mixed"
        if problem.arch != here or mixed:
            # only Python itself has to run on this machine: other packages of the target may not exist for it
            request = replace(problem.request, deps={"conda": problem.request.deps.get("conda", ())})
            if mixed:
                python = [v for v in request.deps["conda"] if read_requirement(v).name == "python"]
                request = Request({"conda": python}, {"conda": request.sources.get("conda", ())})
            problem = replace(problem, arch=here, request=request, base=None)
            conda = await solve_helper(problem, self._settings, self._conda)
        made = await self._prefix(builder_environment(problem.request, here, conda.packages, self._settings))
        return made / "bin" / "python"


def _around(found: Solution, pypi: PypiProblem, standing: Collection[str]) -> Solution:
    added = [package for package in found.packages if normal_name(package) not in standing]
    packages = (*pypi.base, *sorted(added, key=normal_name))
    builds = tuple(build for build in found.builds if canonicalize_name(build.name) not in standing)
    urls = {package.url for package in packages}
    sizes = {url: size for url, size in found.sizes.items() if url in urls}
    return Solution(packages, builds, sizes=sizes, notes=found.notes)


def _check_digests(found: Solution, pypi: PypiProblem) -> None:
    """Check that what was found has one of the required digests.

    Raises:
        IntegrityError: It does not.
    """
    hashes = pypi.flags.hashes
    added = [package for package in found.packages if package not in pypi.base] if hashes else []
    files = [(package.filename, normal_name(package), package.hashes.get(str(Format.WHEEL))) for package in added]
    files += [(build.package, canonicalize_name(build.name), build.sha256) for build in found.builds]
    wrong = [
        f"{file} (sha256 {digest or 'not said'})"
        for file, name, digest in files
        if name in hashes and digest not in hashes[name]
    ]
    if wrong:
        raise IntegrityError(
            "what was found has none of the digests that the requirements allow",
            found=", ".join(wrong),
            hint="write those of all files of a version (`pip-compile --generate-hashes`), or leave them out",
        )


def yanked(finished: Finished) -> tuple[str, ...]:
    """Return a sentence for each chosen version that was yanked, in the words of uv and pip."""
    found = [
        (match["spec"] or f"{match['name']}=={match['version']}", match["reason"] or match["why"])
        for match in _YANKED.finditer(f"{finished.stderr}\n{finished.stdout}")
    ]
    return tuple(
        dict.fromkeys(
            f"{spec} is yanked: its authors took it back{f' ({reason.strip()})' if reason else ''}"
            for spec, reason in found
        )
    )
