"""Problems of PyPI packages, and the conda packages that are below them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from asynccache.config import Settings
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID, Request, full_id
from asynccache.model.platform import current_architecture
from asynccache.resolve.conda.rattler_solver import RattlerResolver
from asynccache.resolve.resolver import Problem, Solution
from tests.support.conda_table import TABLE, TablePackage, table_resolver

_LONG_AGO: Final = datetime(2015, 1, 1, tzinfo=UTC)
HELPER_TABLE: Final = (
    *TABLE,
    *(TablePackage(name, "0.43", "py_0", ("python",), published=_LONG_AGO) for name in ("wheel", "tomli")),
    TablePackage("setuptools", "81.0", "py_0", ("python",), published=_LONG_AGO),
    TablePackage("setuptools", "82.0", "py_0", ("python",), published=_LONG_AGO),
    TablePackage("needs-python", "1.0", "0", ("python",), published=_LONG_AGO),
)
HERE: Final = current_architecture()


def helper_conda(settings: Settings) -> RattlerResolver:
    """Return who solves the conda part of an environment of PyPI packages from a table."""
    return table_resolver(settings, HELPER_TABLE)


def pypi_problem(
    *pypi: str,
    indexes: Sequence[str] = (),
    python: str = "3.11.*",
    arch: str = HERE,
    glibc: str = "2.31=0",
    extras: Sequence[str] = (),
    conda: Sequence[str] = (),
    npconda: Sequence[str] = (),
    environment_type: str = "pypi-only",
    **more: Any,
) -> Problem:
    """Return a problem of PyPI packages."""
    deps = {"conda": [f"python=={python}", *conda], "pypi": list(pypi)}
    if glibc and arch.startswith("linux"):
        deps["sys"] = [f"__glibc=={glibc}"]
    if npconda:
        deps["npconda"] = list(npconda)
    flags = {"pypi": list(extras)} if extras else {}
    request = Request(deps, {"conda": ["conda-forge"], "pypi": list(indexes)}, flags)
    return Problem(request, arch, environment_type, **more)


def as_environment(problem: Problem, solution: Solution) -> ResolvedEnvironment:
    """Return a solution as an environment that another one can extend."""
    identity = full_id([(p.filename, p.published_hash) for p in solution.packages], problem.arch)
    return ResolvedEnvironment(
        EnvID(problem.request.req_id, identity, problem.arch),
        problem.request,
        solution.packages,
        datetime(2026, 1, 1),  # noqa: DTZ001 - documents carry local time without zone
        "ann",
        (problem.arch,),
        problem.environment_type,
    )
