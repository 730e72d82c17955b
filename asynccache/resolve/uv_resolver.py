"""Environments of PyPI packages, solved by uv; Python itself and what else comes from conda by a conda resolver.

The result lists the PyPI packages first and then the conda ones, as documents of this type do (contract, section 2.1);
which conda packages those are is said in `helper_environment`.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from asynccache.config import Settings
from asynccache.model.platform import current_architecture
from asynccache.resolve.helper_environment import builder_environment, python_version, solve_helper
from asynccache.resolve.pypi_problem import read_pypi_problem
from asynccache.resolve.pypi_solver import MakePython, PypiSolver, PypiTask
from asynccache.resolve.resolver import PrefixMaker, Problem, Resolver, Solution


class UvResolver:
    """Solves PyPI requirements. One instance serves several problems at once.

    Args:
        settings: `cache_dir`, `auth`, `builder_env_packages` and time limits count.
        prefix: Makes the target's Python where a source package has to be asked for its metadata with another Python
            than the running one; without it the running one asks.
        conda: Who solves the conda part; the built-in resolver when None.
    """

    def __init__(self, settings: Settings, *, prefix: PrefixMaker | None = None, conda: Resolver | None = None) -> None:
        self._settings = settings
        self._prefix = prefix
        self._conda = conda
        self._solver = PypiSolver(settings)

    @property
    def name(self) -> str:
        """`uv`."""
        return "uv"

    async def resolve(self, problem: Problem) -> Solution:
        """Find PyPI packages and the conda packages below them; see `Resolver.resolve` for the errors."""
        ends = time.monotonic() + problem.timeout
        pypi = await asyncio.to_thread(read_pypi_problem, problem, self._settings)
        self._conda = self._conda or built_in_conda(self._settings)
        conda = await solve_helper(problem, self._settings, self._conda)
        task = PypiTask(
            problem, pypi, python_version(conda.packages), maker(problem, conda, self._settings, self._prefix)
        )
        found = await self._solver.solve(task, ends)
        return Solution(
            (*found.packages, *conda.packages),
            tuple(found.builds),
            self.name,
            {**conda.sizes, **found.sizes},
            conda.notes,
        )


def built_in_conda(settings: Settings) -> Resolver:
    """Return the built-in resolver of conda packages."""
    from asynccache.resolve.rattler_solver import RattlerResolver  # noqa: PLC0415 - brings a library of its own

    return RattlerResolver(settings)


def maker(problem: Problem, conda: Solution, settings: Settings, prefix: PrefixMaker | None) -> MakePython:
    """Return who makes the Python of a conda solution, when a source package needs it.

    Args:
        problem: What is solved.
        conda: Its conda part.
        settings: All settings.
        prefix: Makes prefixes; None for nobody.
    """

    async def make() -> Path | None:
        if prefix is None or problem.arch != current_architecture():
            return None
        made = await prefix(builder_environment(problem.request, problem.arch, conda.packages, settings))
        return made / "bin" / "python"

    return make
