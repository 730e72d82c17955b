"""Mixed environments, the built-in way: the conda part first, then the PyPI part around what conda provides.

A PyPI package that conda provides is not installed again; requirements on it must hold for conda's version. conda
packages come first in the result, as with conda-lock.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

from packaging.utils import canonicalize_name

from asynccache.model.identity import Request
from asynccache.resolve.name_mapping import provided_by_conda, read_name_mapping
from asynccache.resolve.pypi_problem import PypiProblem, normal_name, read_mixed_problem
from asynccache.resolve.pypi_resolver import PypiTask
from asynccache.resolve.requirement_text import read_requirement
from asynccache.resolve.resolver import Problem, Solution
from asynccache.resolve.uv_resolver import UvResolver


class BuiltinMixedResolver(UvResolver):
    """Solves environments of conda and PyPI packages; `name_mapping` counts too."""

    name = "builtin"

    async def resolve(self, problem: Problem) -> Solution:
        """Find conda packages, then PyPI packages; see `Resolver.resolve` for the errors."""
        ends = time.monotonic() + problem.timeout
        pypi = await asyncio.to_thread(read_mixed_problem, problem, self._settings)
        mapping = await asyncio.to_thread(read_name_mapping, self._settings.name_mapping)
        conda = await self._conda.resolve(_conda_part(problem))
        provided = provided_by_conda(conda.packages, mapping)
        # what both ask for comes from conda, whatever the base's document says
        kept = tuple(p for p in pypi.base if normal_name(p) not in provided)
        found = await self._above(PypiTask(problem, replace(pypi, base=kept), conda, provided), ends)
        return replace(conda + found, resolver=self.name, notes=(*conda.notes, *_notes(pypi, provided)))


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


def _notes(pypi: PypiProblem, provided: dict[str, str]) -> list[str]:
    with_extras = [r.pypi_spec for r in pypi.requirements if r.extras and canonicalize_name(r.name) in provided]
    return [
        f"{spec} comes from conda, which does not know extras: ask for what they bring by name." for spec in with_extras
    ]
