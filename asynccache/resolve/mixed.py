"""Mixed environments, the built-in way: the conda part first, then the PyPI part around what conda provides.

A PyPI package that conda provides is not installed again; requirements on it must hold for conda's version. conda
packages come first in the result, as with conda-lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from packaging.utils import canonicalize_name

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.identity import Request
from asynccache.model.package import Format
from asynccache.model.url import redacted
from asynccache.resolve.helper_environment import python_version
from asynccache.resolve.name_mapping import provided_by_conda, read_name_mapping
from asynccache.resolve.pypi_problem import PypiProblem, is_source_address, normal_name, read_pypi_problem
from asynccache.resolve.pypi_solver import PypiSolver, PypiTask
from asynccache.resolve.requirement_text import read_requirement
from asynccache.resolve.resolver import PrefixMaker, Problem, Resolver, Solution
from asynccache.resolve.uv_resolver import built_in_conda, maker

_LOCAL: Final = "Local PYPI packages are not supported in MIXED mode"


class BuiltinMixedResolver:
    """Solves environments of conda and PyPI packages.

    Args:
        settings: `name_mapping` besides what both parts need.
        prefix: See `UvResolver`.
        conda: Who solves the conda part; the built-in resolver when None.
    """

    def __init__(self, settings: Settings, *, prefix: PrefixMaker | None = None, conda: Resolver | None = None) -> None:
        self._settings = settings
        self._prefix = prefix
        self._conda = conda
        self._solver = PypiSolver(settings)

    @property
    def name(self) -> str:
        """`builtin`."""
        return "builtin"

    async def resolve(self, problem: Problem) -> Solution:
        """Find conda packages, then PyPI packages; see `Resolver.resolve` for the errors."""
        ends = time.monotonic() + problem.timeout
        _refuse_local(problem.request.deps.get("pypi", ()), problem)
        pypi = await asyncio.to_thread(read_pypi_problem, problem, self._settings)
        mapping = await asyncio.to_thread(read_name_mapping, self._settings.name_mapping)
        self._conda = self._conda or built_in_conda(self._settings)
        conda = await self._conda.resolve(_conda_part(problem))
        provided = provided_by_conda(conda.packages, mapping)
        # what both ask for comes from conda, whatever the base's document says
        kept = tuple(p for p in pypi.base if normal_name(p) not in provided)
        task = PypiTask(
            problem,
            replace(pypi, base=kept),
            python_version(conda.packages),
            maker(problem, conda, self._settings, self._prefix),
            provided,
        )
        found = await self._solver.solve(task, ends)
        return Solution(
            (*conda.packages, *found.packages),
            tuple(found.builds),
            self.name,
            {**conda.sizes, **found.sizes},
            (*conda.notes, *_notes(pypi, provided)),
        )


def _conda_part(problem: Problem) -> Problem:
    request = problem.request
    conda = list(request.deps.get("conda", ()))
    if not any(read_requirement(value).name == "python" for value in conda):
        conda.insert(0, "python")
    deps = {**request.deps, "conda": conda}
    return replace(
        problem,
        request=Request({c: v for c, v in deps.items() if c != "pypi"}, request.sources),
        environment_type="conda-only",
    )


def _refuse_local(values: Sequence[str], problem: Problem) -> None:
    local = [
        redacted(value)
        for value in values
        if (url := read_requirement(value, "pypi").url) and (is_source_address(url) or url.startswith("/"))
    ]
    if problem.base is not None:
        local += [
            package.filename
            for package in problem.base.packages
            if package.kind == "pypi" and (not package.downloadable or package.url_format != Format.WHEEL)
        ]
    if local:
        raise UsageError(_LOCAL, found=", ".join(local), hint="build and publish them, or ask for PyPI packages only")


def _notes(pypi: PypiProblem, provided: dict[str, str]) -> list[str]:
    with_extras = [r.pypi_spec for r in pypi.requirements if r.extras and canonicalize_name(r.name) in provided]
    return [
        f"{spec} comes from conda, which does not know extras: ask for what they bring by name." for spec in with_extras
    ]
