"""Building what was found as source only, and putting the wheels into the store beside their sources."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from asynccache.errors import BuildError
from asynccache.model.environment import EnvironmentPackage
from asynccache.ops.opening import Opening
from asynccache.resolve.build.wheel_build import WheelBuilder
from asynccache.resolve.pypi.helper_environment import builder_environment, python_version
from asynccache.resolve.pypi.problem import read_pypi_problem
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.resolver import Problem, Solution
from asynccache.runtime.late_loop import in_thread
from asynccache.runtime.scratch import scratch_directory


async def with_built_wheels(
    opening: Opening, problem: Problem, solution: Solution, packages: Sequence[EnvironmentPackage], *, locked: bool
) -> list[EnvironmentPackage]:
    """Return the packages of a solution with wheels for what it has as source only, which are in the store.

    They are built with the Python of the solution, in a prefix that is made of its conda packages when the first of
    them has to be built: what the store has needs none.

    Args:
        opening: Engine and prefixes.
        problem: What was solved.
        solution: What has to be built.
        packages: The solution's, in the order of the document.
        locked: Whether a lock names the sources.

    Raises:
        UsageError: The environment is for another architecture than this machine's.
        BuildError: A build fails, or its wheel does not fit.
        AsyncCacheError: A source cannot be fetched, the prefix not be made, or the store not be written.
    """
    settings = opening.settings
    engine = await opening.engine()
    pypi = await in_thread(read_pypi_problem, problem, settings)
    target = PythonTarget(problem.arch, python_version(packages), pypi.glibc)
    turn = asyncio.Lock()

    async def python() -> Path:
        async with turn:
            helper = await opening.prefix(builder_environment(problem.request, problem.arch, packages, settings))
        found = helper / "bin" / "python"
        if not await in_thread(found.exists):
            raise BuildError(f"{helper} has no Python to build wheels with", expected=str(found))
        return found

    async with scratch_directory("build-", engine.host.workspace.path) as directory:
        builder = WheelBuilder(
            engine.host,
            engine.store,
            engine.sources.fetcher,
            python=python,
            target=target,
            problem=pypi,
            directory=directory,
            locked=locked,
        )
        built = await builder.build(solution.builds, problem.timeout)
        wheels = [await builder.publish(each) for each in built]
    # before the conda packages of an environment of PyPI packages, else at the end (contract, section 2.1)
    place = len(packages)
    if problem.environment_type == "pypi-only":
        place = sum(package.kind == "pypi" for package in packages)
    return [*packages[:place], *wheels, *packages[place:]]
