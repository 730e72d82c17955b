"""The conda part of an environment of PyPI packages: Python, and what builds need (contract, sections 2.1, 5.2, 10.7).

Documents of such environments list, after the PyPI packages, all packages of a helper environment: python, pip, wheel,
tomli, setuptools<82, uv, the setting `builder_env_packages` and what they depend on. They are part of the full id, so
the same ones are used, although asynccache does not need pip or uv from conda.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from asynccache.config import Settings
from asynccache.errors import PackageUnknownError, ResolverFailedError, UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import EnvID, Request, full_id
from asynccache.model.package import parse_stem
from asynccache.node.settings_table import default_builder_packages
from asynccache.resolve.requests.requirement_text import join_value, read_requirement, split_value
from asynccache.resolve.resolver import Problem, Resolver, Solution

HELPERS: Final = ("pip", "wheel", "tomli", "setuptools==<82", "uv")


def helper_request(request: Request, settings: Settings) -> Request:
    """Return the conda request for a request of PyPI packages, with markers."""
    conda = []
    for value in request.deps.get("conda", ()):
        name, constraint, marker = split_value(value)
        # `3.11` means any 3.11, as it does for users
        if name == "python" and constraint.count(".") == 1 and "*" not in constraint and constraint[-1:].isdigit():
            plain = constraint.lstrip("=")
            constraint = f"{plain}.*" if plain[:1].isdigit() else constraint
        conda.append(join_value(name, constraint, marker))
    names = {split_value(value)[0].rpartition("::")[2] for value in conda}
    if "python" not in names:
        conda.insert(0, "python")
    conda += [value for value in (*HELPERS, *settings.builder_env_packages) if split_value(value)[0] not in names]
    deps = {
        "conda": conda,
        **{category: list(request.deps[category]) for category in ("npconda", "sys") if request.deps.get(category)},
    }
    sources = {"conda": list(request.sources["conda"])} if request.sources.get("conda") else {}
    return Request(deps, sources)


async def solve_helper(problem: Problem, settings: Settings, conda: Resolver) -> Solution:
    """Find the conda part of an environment of PyPI packages: a known one, if the problem can look it up.

    If no channel has the default of `builder_env_packages`, the environment is found without it, with a note.

    Raises:
        UsageError: A non-Python package (`npconda`) needs Python.
        ResolutionError: As `Resolver.resolve` says.
    """
    await _refuse_python(problem, conda)
    try:
        return await _solved(problem, settings, conda)
    except PackageUnknownError as exc:
        packages = settings.builder_env_packages
        if not any(split_value(value)[0] in exc.message for value in packages):
            raise
        if packages != default_builder_packages():
            raise PackageUnknownError(
                f"{exc.message}; the setting builder_env_packages asks for {', '.join(packages)}", hint=exc.hint
            ) from exc
        note = (
            f"{', '.join(packages)} is in none of the channels and left out of the environment that builds wheels:"
            " GOOGLE_APPLICATION_CREDENTIALS is set, which adds it; the setting builder_env_packages says otherwise."
        )
    found = await _solved(problem, replace(settings, builder_env_packages=[]), conda)
    return replace(found, notes=(*found.notes, note))


async def _solved(problem: Problem, settings: Settings, conda: Resolver) -> Solution:
    asked = replace(problem, request=helper_request(problem.request, settings), environment_type="conda-only")
    if problem.helpers is None:
        return await conda.resolve(asked)
    return await problem.helpers.below(asked, lambda: conda.resolve(asked))


async def _refuse_python(problem: Problem, conda: Resolver) -> None:
    request = problem.request
    values = request.deps.get("npconda", ())
    if not values:
        return
    deps = {"npconda": list(values), "sys": list(request.deps.get("sys", ()))}
    alone = Request(deps, {"conda": list(request.sources.get("conda", ()))})
    solution = await conda.resolve(replace(problem, request=alone, environment_type="conda-only", base=None))
    if any(parse_stem("conda", package.filename).name == "python" for package in solution.packages):
        raise UsageError(
            "Non-python conda packages of a PyPI environment need python",
            found=", ".join(values),
            hint="ask for them as conda packages, which makes the environment mixed",
        )


def python_version(packages: Sequence[EnvironmentPackage]) -> str:
    """Return the version of Python among conda packages, such as `3.11.7`.

    Raises:
        ResolverFailedError: It is not among them.
    """
    for package in packages:
        if package.kind == "conda":
            name = parse_stem("conda", package.filename)
            if name.name == "python":
                return name.version
    raise ResolverFailedError("the conda part of an environment has no python", expected="python among its packages")


def builder_environment(
    request: Request, arch: str, packages: Sequence[EnvironmentPackage], settings: Settings
) -> ResolvedEnvironment:
    """Return the conda part as an environment of its own, whose prefix builds wheels and runs pip.

    Args:
        request: Request of the whole environment.
        arch: conda platform.
        packages: Packages of a solution; PyPI packages are ignored.
        settings: Settings with which the solution was found.
    """
    conda = tuple(package for package in packages if package.kind == "conda")
    names = {parse_stem("conda", package.filename).name for package in conda}
    # what no channel has was left out, and is not part of the request
    further = [value for value in settings.builder_env_packages if read_requirement(value).name in names]
    asked = helper_request(request, replace(settings, builder_env_packages=further))
    identity = full_id([(package.filename, package.published_hash) for package in conda], arch)
    return ResolvedEnvironment(
        EnvID(asked.req_id, identity, arch),
        asked,
        conda,
        datetime.now(),  # noqa: DTZ005 - documents carry local time without zone, which other readers sort
        settings.username,
        (arch,),
        asked.environment_type,
    )
