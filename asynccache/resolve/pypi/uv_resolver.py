"""Environments of PyPI packages, solved by uv around what the environment has already."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from asynccache.errors import AsyncCacheError, BuildError, UsageError
from asynccache.resolve.explain import timed_out
from asynccache.resolve.formats.pylock import read_pylock
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.program import Finished
from asynccache.resolve.pypi.found import sorted_out
from asynccache.resolve.pypi.problem import normal_name
from asynccache.resolve.pypi.resolver import Command, PypiResolver, PypiTask, yanked
from asynccache.resolve.pypi.uv_failures import failure
from asynccache.resolve.pypi.uv_program import UvProgram, build_constraints
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.requests.source_position import SourcePosition
from asynccache.resolve.resolver import Solution
from asynccache.runtime.clock import Deadline
from asynccache.runtime.late_loop import in_thread

# The glibc versions that uv has a name for; for another one the next higher is requested, and the answer checked.
_GLIBC: Final = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
_TRIES: Final = 8  # rounds of leaving out versions whose wheels do not fit


class UvResolver(PypiResolver):
    """Solves PyPI requirements with uv, which gets the metadata of source packages with the target's Python."""

    name = "uv"

    async def _find(self, task: PypiTask, kept: Sequence[str], directory: Path, ends: Deadline) -> Solution:
        """Lock; the target's Python, if it is not the running one, is created only if there are sources."""
        running = task.target.release == sys.version_info[:2] or task.pypi.across
        try:
            found = await self._fitting(task, kept, directory, ends)
        except BuildError:
            if running or (interpreter := await self._make_python(task)) is None:
                raise
        else:
            if running or not found.builds or (interpreter := await self._make_python(task)) is None:
                return found
        return await self._fitting(task, kept, directory, ends, interpreter)

    async def _fitting(
        self, task: PypiTask, kept: Sequence[str], directory: Path, ends: Deadline, interpreter: Path | None = None
    ) -> Solution:
        """Lock; versions without a file that fits the glibc exactly are left out, and the rest is locked again."""
        program = await in_thread(UvProgram, self._settings, self._logins)
        pypi, constraints = task.pypi, list(kept)

        def command() -> Command:
            return self._arguments(program, task, directory, constraints, interpreter), program.environment(pypi)

        for attempt in range(_TRIES + 1):
            if ends.passed:
                raise timed_out(self._settings.resolve_timeout, f"solving with uv for {pypi.arch}")
            finished = await self._run(command, task, directory, ends)
            text = finished.stdout
            unfit = await in_thread(_unfit, text, task.target, across=pypi.across)
            if not unfit or attempt == _TRIES:
                break
            constraints += unfit
        place = SourcePosition(str(directory / "pylock.toml"))
        below = [*pypi.indexes, *map(_as_url, pypi.flags.find_links)]
        found = await in_thread(_found, text, place, task.target, below)
        return replace(found, notes=yanked(finished))

    def _failure(self, finished: Finished, task: PypiTask) -> AsyncCacheError:
        return failure(finished, task, self._logins)

    def _arguments(
        self,
        program: UvProgram,
        task: PypiTask,
        directory: Path,
        constraints: Sequence[str],
        interpreter: Path | None,
    ) -> list[str | Path]:
        pypi, problem = task.pypi, task.problem
        requirements, bounds = directory / "requirements.in", directory / "constraints.txt"
        requirements.write_text("\n".join([*pypi.lines(self._logins), *map(normal_name, pypi.base)]) + "\n", "utf-8")
        bounds.write_text("\n".join([*constraints, *pypi.flags.constraints]) + "\n", "utf-8")
        arguments: list[str | Path] = [
            program.path,
            "pip",
            "compile",
            *program.flags,
            "--format",
            "pylock.toml",
            "--no-header",
            "--no-annotate",
            "--python",
            interpreter or sys.executable,
            "--python-version",
            task.target.version,
            "--python-platform",
            _platform(task.target),
            "--constraints",
            bounds,
            "--build-constraints",
            build_constraints(directory),
        ]
        if pypi.across:
            arguments.append("--no-build")
        arguments += program.index_flags(pypi)
        if pypi.flags.prereleases:
            arguments += ["--prerelease", "allow"]
        if problem.exclude_newer is not None:
            arguments += ["--exclude-newer", problem.exclude_newer.isoformat()]
        if problem.offline:
            arguments.append("--offline")
        elif problem.fresh:
            arguments.append("--refresh")
        return [*arguments, requirements]


def _found(text: str, place: SourcePosition, target: PythonTarget, below: Sequence[str]) -> Solution:
    selection = Selection((target.arch,), python=target.version, glibc=target.glibc)
    try:
        archives, trees = read_pylock(text, place, selection)
        return sorted_out(archives, [tree.build() for tree in trees], published_below=below)
    except UsageError as exc:
        # the lock file is ours, which the user never sees
        message = exc.message.replace(f"{place}, ", "").replace(str(place), "uv's lock")
        raise UsageError(message, expected=exc.expected, found=exc.found, hint=exc.hint) from exc


def _as_url(link: str) -> str:
    return Path(link).absolute().as_uri() if "://" not in link else link


def _unfit(text: str, target: PythonTarget, *, across: bool) -> list[str]:
    """Return constraints against versions without a suitable file: uv was asked for a somewhat newer glibc."""
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


def nearest_glibc(minor: int) -> int:
    """Return the lowest glibc version that uv has a name for and that is not lower than the given one.

    >>> nearest_glibc(27), nearest_glibc(31), nearest_glibc(99)
    (28, 31, 40)
    """
    return next((known for known in _GLIBC if known >= minor), _GLIBC[-1])


def _platform(target: PythonTarget) -> str:
    if target.arch.startswith("osx"):
        return "aarch64-apple-darwin" if target.machine == "arm64" else "x86_64-apple-darwin"
    if target.machine not in {"x86_64", "aarch64"}:
        raise UsageError(
            "uv cannot solve for an architecture", expected="linux-64, linux-aarch64 or macOS", found=target.arch
        )
    return f"{target.machine}-manylinux_2_{nearest_glibc(target.glibc_minor)}"
