"""The built-in resolver of mixed environments: the conda part first, then the PyPI part around what conda provides.

A PyPI package that conda provides is not installed again; its requirements must hold for conda's version, so those that
do not hold for the version that conda would choose are added to the conda solve. What a base has from PyPI is kept:
conda may install the same project in the same version. conda packages come first in the result, as with conda-lock.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from asynccache.errors import PackageUnknownError, UnsatisfiableError, UsageError
from asynccache.model.identity import Request
from asynccache.model.package import DistributionName, parse_stem
from asynccache.model.url import redacted
from asynccache.resolve.pypi.name_mapping import provided_by_conda, read_name_mapping
from asynccache.resolve.pypi.problem import PypiProblem, normal_name, read_mixed_problem
from asynccache.resolve.pypi.resolver import PypiTask
from asynccache.resolve.pypi.uv_resolver import UvResolver
from asynccache.resolve.requests.requirement_text import (
    ReadRequirement,
    join_value,
    merge_constraints,
    read_requirement,
)
from asynccache.resolve.resolver import Problem, Solution
from asynccache.runtime.clock import Deadline
from asynccache.runtime.late_loop import in_thread

_MOST_SOLVES: Final = 4  # solves of the conda part; each adds requirements that the one before did not satisfy
# How uv reports that the only version it was given, conda's, is unsuitable.
_NO_VERSION: Final = re.compile(
    r"(?P<only>only )?(?(only)|there (?:is|are) no versions? of )"
    r"(?P<name>[A-Za-z0-9][\w.-]*)[^\s,]*(?(only) is available)"
)

Provided = Mapping[str, DistributionName]
"""Normalised name of a project -> the conda package that provides it."""


class BuiltinMixedResolver(UvResolver):
    """Solves environments of conda and PyPI packages; `name_mapping` is used too."""

    name = "builtin"

    async def resolve(self, problem: Problem) -> Solution:
        """Find conda packages, then PyPI packages; see `Resolver.resolve` for the errors."""
        ends = Deadline(problem.timeout)
        pypi = await in_thread(read_mixed_problem, problem, self._settings)
        mapping = await in_thread(read_name_mapping, self._settings.name_mapping)
        conda, provided = await self._below(problem, pypi, mapping)
        versions = {project: name.version for project, name in provided.items()}
        try:
            found = await self._above(PypiTask(problem, pypi, conda, versions), ends)
        except UnsatisfiableError as exc:
            raise _said_of_conda(exc, provided, conda, problem) from exc
        return replace(conda + found, resolver=self.name, notes=(*conda.notes, *_notes(pypi, provided)))

    async def _below(
        self, problem: Problem, pypi: PypiProblem, mapping: Mapping[str, str | None]
    ) -> tuple[Solution, Provided]:
        """Find conda packages that are compatible with the PyPI part, and what of it they provide.

        Args:
            problem: The whole problem.
            pypi: Its PyPI part.
            mapping: conda name -> PyPI name.

        Raises:
            UnsatisfiableError: What conda provides contradicts a requirement, or what the base has from PyPI.
            ResolutionError: As `Resolver.resolve` says.
        """
        fixed = {p.filename for p in (problem.base.packages if problem.base else ())}
        kept = {normal_name(p): parse_stem("pypi", p.filename).version for p in pypi.base}
        base = [ReadRequirement(name, constraint=f"=={Version(version).public}") for name, version in kept.items()]
        limits = (*pypi.requirements, *pypi.flags.bounds)
        asked = [r for r in limits if canonicalize_name(r.name) not in kept]
        entered: dict[str, str] = {}
        conda = await self._conda.resolve(_conda_part(problem, ()))
        while True:
            provided = provided_by_conda(conda.packages, mapping)
            added = provided_by_conda((p for p in conda.packages if p.filename not in fixed), mapping)
            unmet = [r for r in base if not _satisfies(r, added)] or [r for r in asked if not _satisfies(r, provided)]
            if not unmet:
                return conda, {project: name for project, name in provided.items() if project not in kept}
            enter: dict[str, str] = {}
            for requirement in (*base, *asked):
                project = canonicalize_name(requirement.name)
                enter[project] = merge_constraints(enter.get(project), requirement.constraint)
            more = {p: join_value(provided[p].name, text) for p, text in enter.items() if text and p in provided}
            if more.keys() <= entered.keys() or any(requirement.url for requirement in unmet):
                raise _contradiction(unmet, provided, conda, problem)
            entered = more | entered
            try:
                conda = await self._conda.resolve(_conda_part(problem, entered.values()))
            except (UnsatisfiableError, PackageUnknownError, UsageError) as exc:
                if unmet[0] not in base:
                    raise _contradiction(unmet, provided, conda, problem, reasons=exc.message) from exc
                has = ", ".join(f"{name} {version}" for name, version in kept.items() if name in more)
                raise UnsatisfiableError(
                    f"conda packages cannot go with what the base environment has from PyPI ({has}): {exc}",
                    hint="leave them out, ask for them from PyPI, or resolve again without the base",
                ) from exc


def _satisfies(requirement: ReadRequirement, provided: Provided) -> bool:
    """Whether conda satisfies a requirement, or does not provide it; an unreadable version satisfies any."""
    name = provided.get(canonicalize_name(requirement.name))
    if name is None:
        return True
    if requirement.url:
        return False
    try:
        return SpecifierSet(requirement.constraint).contains(Version(name.version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True


def _contradiction(
    unmet: list[ReadRequirement], provided: Provided, conda: Solution, problem: Problem, *, reasons: str = ""
) -> UnsatisfiableError:
    asked = ", ".join(redacted(requirement.pypi_spec) for requirement in unmet)
    brought = "; ".join(_brought(provided[canonicalize_name(r.name)], conda, problem) for r in unmet)
    cause = f", and conda cannot bring another:\n{reasons}" if reasons else ""
    return UnsatisfiableError(
        f"{asked} {'is' if len(unmet) == 1 else 'are'} asked of PyPI, but {brought}{cause}",
        hint="ask for the version that conda provides, or for the package that needs it as a PyPI package",
    )


def _said_of_conda(
    error: UnsatisfiableError, provided: Provided, conda: Solution, problem: Problem
) -> UnsatisfiableError:
    """Return uv's failure with an explanation if a version is missing: that conda provides another."""
    named: list[DistributionName] = []

    def of_conda(match: re.Match[str]) -> str:
        name = provided.get(canonicalize_name(match["name"]))
        if name is None:
            return match.group()
        named.append(name)
        return f"conda's {name.name} is {name.version}"

    message = _NO_VERSION.sub(of_conda, error.message)
    said = [_brought(name, conda, problem) for name in dict.fromkeys(named)]
    return UnsatisfiableError("\n".join([message, *said]), hint=error.hint)


def _brought(name: DistributionName, conda: Solution, problem: Problem) -> str:
    """Return which version conda provides, and which of the requested packages needs it.

    >>> asked = Problem(Request({"conda": ["app"]}), "linux-64", "conda-only")
    >>> _brought(DistributionName("six", "1.17", "0"), Solution((), needs={"app": ("lib",), "lib": ("six",)}), asked)
    'conda brings six 1.17 (for app, which needs lib, which needs six)'
    """
    deps = problem.request.deps
    asked = [read_requirement(value).name for value in (*deps.get("conda", ()), *deps.get("npconda", ()))]
    paths = deque([root] for root in dict.fromkeys(asked))
    seen = set(asked)
    while paths:
        path = paths.popleft()
        if path[-1] == name.name:
            why = f"for {', which needs '.join(path)}" if len(path) > 1 else "which the conda part asks for"
            return f"conda brings {name.name} {name.version} ({why})"
        paths.extend([*path, below] for below in conda.needs.get(path[-1], ()) if below not in seen)
        seen.update(conda.needs.get(path[-1], ()))
    return f"conda brings {name.name} {name.version}"


def _conda_part(problem: Problem, pins: Iterable[str]) -> Problem:
    request = problem.request
    conda = [*request.deps.get("conda", ()), *pins]
    if not any(read_requirement(value).name == "python" for value in conda):
        conda.insert(0, "python")
    deps = {**request.deps, "conda": conda}
    return replace(
        problem,
        request=Request({c: v for c, v in deps.items() if c != "pypi"}, request.sources),
        environment_type="conda-only",
    )


def _notes(pypi: PypiProblem, provided: Provided) -> list[str]:
    with_extras = [r.pypi_spec for r in pypi.requirements if r.extras and canonicalize_name(r.name) in provided]
    notes = [
        f"{spec} comes from conda, which does not know extras: ask for what they bring by name." for spec in with_extras
    ]
    if hashed := [name for name in pypi.flags.hashes if name in provided]:
        notes.append(f"The digests of {', '.join(hashed)} count for PyPI's files only: conda brings it.")
    return notes
