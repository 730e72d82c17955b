"""Parsers for Metaflow's `Config`: a file's text in, keyword arguments of a decorator out (contract, section 7.8).

They make arguments of `@pypi` (requirements.txt, pyproject.toml) or `@conda` (environment.yml). The functions
`parse_..._value` fill maps that are given, as programs know them from metaflow-netflixext.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from asynccache.errors import UsageError
from asynccache.resolve.formats.environment_yml import read_environment_yml
from asynccache.resolve.formats.pyproject_toml import read_pyproject_toml
from asynccache.resolve.formats.requirements_txt import read_requirements_txt
from asynccache.resolve.requests.requirements import Requirements
from asynccache.resolve.requests.source_position import SourcePosition


def req_parser(text: str) -> dict[str, Any]:
    """Return arguments of `@pypi` for a requirements.txt.

    Raises:
        UsageError: A line that is not supported, or one that `@pypi` has no argument for.
    """
    found = _without_sys(_found(read_requirements_txt, text, "requirements.txt"))
    if found.sources.get("conda"):
        raise UsageError(
            "Only PYPI sources are allowed here: --conda-channel has no argument of @pypi", hint="use @conda(channels=)"
        )
    result: dict[str, Any] = {"python": found.python} if found.python else {}
    if found.extras:
        result["extras"] = {category: list(flags) for category, flags in found.extras.items()}
    if found.deps.get("npconda"):
        result["conda_only"] = found.packages("npconda")
    if found.sources.get("pypi"):
        result["extra_indices"] = list(found.sources["pypi"])
    return {**result, "packages": found.packages("pypi")}


def yml_parser(text: str) -> dict[str, Any]:
    """Return arguments of `@conda` for an environment.yml.

    Raises:
        UsageError: Not YAML, an item that is not supported, or one that `@conda` has no argument for.
    """
    found = _without_sys(_found(read_environment_yml, text, "environment.yml"))
    result: dict[str, Any] = {"python": found.python} if found.python else {}
    if bounds := [flag for flag in found.extras.get("pypi", ()) if flag.startswith(("--constraint ", "--hash "))]:
        raise UsageError(
            "constraints and digests of PyPI packages have no argument of @conda",
            found=", ".join(flag[:60] for flag in bounds),
            hint="use req_parser with @pypi, or resolve the file and name the environment with @named_env",
        )
    parts = {
        "channels": list(found.sources.get("conda", ())),
        "libraries": found.packages("conda"),
        "pip_packages": found.packages("pypi"),
        "pip_sources": list(found.sources.get("pypi", ())),
    }
    return {**result, **{name: part for name, part in parts.items() if part}}


def toml_parser(text: str) -> dict[str, Any]:
    """Return arguments of `@pypi` for a pyproject.toml.

    Raises:
        UsageError: Not TOML, or an entry that is not a requirement.
    """
    found = _found(read_pyproject_toml, text, "pyproject.toml")
    result: dict[str, Any] = {"python": found.python} if found.python else {}
    if found.extras:
        result["extras"] = {category: list(flags) for category, flags in found.extras.items()}
    if found.sources.get("pypi"):
        result["extra_indices"] = list(found.sources["pypi"])
    return {**result, "packages": found.packages("pypi")}


Values = dict[str, list[str]]
Constraints = dict[str, str]


def parse_req_value(
    text: str, extras: Values, sources: Values, pypi: Constraints, npconda: Constraints, sys: Constraints
) -> str | None:
    """Add what a requirements.txt asks for to maps; return the constraint of Python, None if it has none.

    Raises:
        UsageError: A line that is not supported.
    """
    found = _found(read_requirements_txt, text, "requirements.txt")
    return _added(found, extras, sources, {"pypi": pypi, "npconda": npconda, "sys": sys})


def parse_yml_value(
    text: str, extras: Values, sources: Values, conda: Constraints, pypi: Constraints, sys: Constraints
) -> str | None:
    """Add what an environment.yml asks for to maps; return the constraint of Python, None if it has none.

    Raises:
        UsageError: Not YAML, or an item that is not supported.
    """
    found = _found(read_environment_yml, text, "environment.yml")
    return _added(found, extras, sources, {"conda": conda, "pypi": pypi, "sys": sys})


def parse_toml_value(
    text: str, extras: Values, sources: Values, pypi: Constraints, *_unused: Constraints
) -> str | None:
    """Add what a pyproject.toml asks for to maps; return the constraint of Python, None if it has none.

    Raises:
        UsageError: Not TOML, or an entry that is not a requirement.
    """
    return _added(_found(read_pyproject_toml, text, "pyproject.toml"), extras, sources, {"pypi": pypi})


def _added(found: Requirements, extras: Values, sources: Values, deps: dict[str, Constraints]) -> str | None:
    for target, part in ((extras, found.extras), (sources, found.sources)):
        for category, values in part.items():
            target.setdefault(category, []).extend(values)
    for category, constraints in deps.items():
        constraints.update(found.packages(category))
    return found.python


def _found(read: Callable[[str, SourcePosition], Requirements], text: str, name: str) -> Requirements:
    found = read(text, SourcePosition(name))
    if found.auth:
        raise UsageError(
            f"{name} holds the credentials of {', '.join(sorted(found.auth))}, which would be recorded",
            hint="put them into .netrc or METAFLOW_CONDA_SRCS_AUTH_INFO",
        )
    for note in found.notes:
        warnings.warn(note, stacklevel=4)
    return found


def _without_sys(found: Requirements) -> Requirements:
    if found.deps.get("sys"):
        raise found.deps["sys"][0].place.error("System dependencies are not supported here", hint="use @sys_packages")
    return found
