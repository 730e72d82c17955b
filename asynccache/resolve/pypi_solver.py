"""The PyPI part of an environment, solved by uv around what the environment has already."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from asynccache.config import Settings
from asynccache.errors import BuildError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format, parse_stem
from asynccache.model.platform import current_architecture
from asynccache.resolve.explain import timed_out
from asynccache.resolve.formats.pylock import read_pylock
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.place import Place
from asynccache.resolve.placeholders import write_placeholders
from asynccache.resolve.pypi_found import PypiFound, sorted_out
from asynccache.resolve.pypi_problem import ACROSS, Logins, PypiProblem, normal_name
from asynccache.resolve.python_target import PythonTarget
from asynccache.resolve.resolver import Problem
from asynccache.resolve.uv_program import Lock, UvProgram

MakePython = Callable[[], Awaitable[Path | None]]
"""Gives the target's Python, made when it was not there; None when there is no way to make it."""
_TRIES: Final = 8  # versions left out because none of their wheels fits


@dataclass(frozen=True, slots=True)
class PypiTask:
    """What is to be solved.

    Attributes:
        problem: The whole problem.
        pypi: Its PyPI part.
        python: Full version of Python.
        provided: Normalised name -> version of what conda provides; it is not among the result.
        make_python: Gives the target's Python where sources have to be asked for their metadata.
    """

    problem: Problem
    pypi: PypiProblem
    python: str
    make_python: MakePython
    provided: Mapping[str, str] = field(default_factory=dict)


class PypiSolver:
    """Solves with uv.

    Args:
        settings: See `UvProgram`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._program: UvProgram | None = None

    async def solve(self, task: PypiTask, ends: float) -> PypiFound:
        """Find PyPI packages.

        Args:
            task: What is to be solved.
            ends: `time.monotonic()` at which it must have ended.

        Raises:
            ResolutionError: As `Resolver.resolve` says.
        """
        pypi = task.pypi
        if not pypi.requirements and not pypi.base:
            return PypiFound()
        if self._program is None:
            self._program = await asyncio.to_thread(UvProgram, self._settings)
        with tempfile.TemporaryDirectory(prefix="asynccache-uv-", ignore_cleanup_errors=True) as name:
            directory = Path(name)
            known, constraints = await asyncio.to_thread(self._constraints, task, directory)
            lock = Lock(
                pypi,
                task.python,
                pypi.glibc,
                constraints=constraints,
                also=[canonicalize_name(base) for base in map(normal_name, pypi.base)],
                exclude_newer=task.problem.exclude_newer,
                offline=task.problem.offline,
                fresh=task.problem.fresh,
            )
            found = await self._with_right_python(task, lock, directory, ends)
        if pypi.across and found.builds and (local := [b.name for b in found.builds if b.name not in known]):
            hint = f"resolve for {current_architecture()} only, or ask for other versions"
            raise UsageError(ACROSS, found=", ".join(local), hint=hint)
        return _around(found, pypi, known)

    def _constraints(self, task: PypiTask, directory: Path) -> tuple[set[str], list[str]]:
        """Return the names that the result is not to name anew, and the lines that bind the rest to them."""
        logins = Logins(self._settings.auth)
        standing, lines = dict(task.provided), []
        for package in task.pypi.base:
            name = normal_name(package)
            if package.downloadable and package.url_format == Format.WHEEL and not task.problem.offline:
                lines.append(f"{name} @ {logins.address(package.url)}")
            else:
                # built here, or unreachable: what it needs is locked in the base already
                standing[name] = parse_stem("pypi", package.filename).version
        placeholders = write_placeholders(directory, standing)
        return {*standing, *map(normal_name, task.pypi.base)}, [*lines, *placeholders.values()]

    async def _with_right_python(self, task: PypiTask, lock: Lock, directory: Path, ends: float) -> PypiFound:
        """Ask sources for their metadata with the target's Python, which is made only when there are any."""
        here = "{}.{}".format(*sys.version_info) == ".".join(task.python.split(".")[:2])
        try:
            found = await self._fitting(lock, directory, ends)
        except BuildError:
            if here or task.pypi.across or (interpreter := await task.make_python()) is None:
                raise
            return await self._fitting(replace(lock, interpreter=interpreter), directory, ends)
        if here or task.pypi.across or not found.builds or (interpreter := await task.make_python()) is None:
            return found
        return await self._fitting(replace(lock, interpreter=interpreter), directory, ends)

    async def _fitting(self, lock: Lock, directory: Path, ends: float) -> PypiFound:
        """Lock; versions none of whose files fit the glibc exactly are left out and the rest is locked again."""
        if self._program is None:
            raise AssertionError  # set by solve
        pypi = lock.problem
        target = PythonTarget(pypi.arch, lock.python, lock.glibc)
        below = [*pypi.indexes, *map(_as_url, pypi.flags.find_links)]
        for attempt in range(_TRIES + 1):
            remaining = ends - time.monotonic()
            if remaining <= 0:
                raise timed_out(self._settings.resolve_timeout, f"solving with uv for {pypi.arch}")
            text = await self._program.lock(lock, directory, remaining)
            unfit = await asyncio.to_thread(_unfit, text, target, across=pypi.across)
            if not unfit or attempt == _TRIES:
                break
            lock = replace(lock, constraints=[*lock.constraints, *unfit])
        place = Place(str(directory / "pylock.toml"))
        return await asyncio.to_thread(_found, text, place, target, below)


def _found(text: str, place: Place, target: PythonTarget, below: Sequence[str]) -> PypiFound:
    archives, trees = read_pylock(text, place, Selection((target.arch,), python=target.version, glibc=target.glibc))
    return sorted_out(archives, [tree.build() for tree in trees], published_below=below)


def _as_url(link: str) -> str:
    return Path(link).absolute().as_uri() if "://" not in link else link


def _unfit(text: str, target: PythonTarget, *, across: bool) -> list[str]:
    """Return constraints against versions of which no file fits: uv was asked for a somewhat newer glibc."""
    lines = []
    for table in tomllib.loads(text).get("packages", ()):
        wheels = table.get("wheels")
        if not wheels or ("sdist" in table and not across):
            continue
        try:
            names = [unquote(str(w.get("name") or w.get("url") or w.get("path")).rpartition("/")[2]) for w in wheels]
            fits = any(tag in target.ranks for name in names for tag in parse_wheel_filename(name)[3])
        except InvalidWheelFilename:
            continue
        if not fits:
            lines.append(f"{table['name']}!={table['version']}")
    return lines


def _around(found: PypiFound, pypi: PypiProblem, known: set[str]) -> PypiFound:
    """Put the base's packages, as the base knows them, first; leave out what is provided."""
    sizes = dict(found.sizes)
    packages = [*pypi.base, *(package for package in found.packages if normal_name(package) not in known)]
    builds = [build for build in found.builds if canonicalize_name(build.name) not in known]
    return PypiFound(_in_order(packages, pypi.base), builds, {p.url: sizes[p.url] for p in packages if p.url in sizes})


def _in_order(packages: Sequence[EnvironmentPackage], base: Sequence[EnvironmentPackage]) -> list[EnvironmentPackage]:
    added = [package for package in packages if package not in base]
    return [*base, *sorted(added, key=normal_name)]
