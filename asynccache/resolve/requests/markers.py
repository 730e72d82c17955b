"""Environment markers, evaluated for a target that is not this machine (contract, section 10.1).

The value of a marker must not depend on the machine that resolves: its variables come from the architecture, overridden
by the setting `sys_markers`, and from every Python that the request allows. A marker with different values for these is
refused, because one environment cannot satisfy both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.identity import Request
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.requests.requirement_text import join_value, read_requirement, split_value

if TYPE_CHECKING:
    from packaging.markers import Marker
    from packaging.specifiers import SpecifierSet

# The versions of Python that the contract tries.
_MINORS: Final = range(7, 16)
_PATCHES: Final = range(26)
_VARIABLE: Final = re.compile(r"\b(os|os\.name|sys|platform|implementation|extra|python)[a-z_.]*")
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_PYTHON_VARIABLES: Final = ("python_version", "python_full_version", "implementation_version")


def without_markers(request: Request, arch: str, settings: Settings) -> Request:
    """Return the request for a solver: requirements whose marker holds, without the marker; others are left out.

    The request's identity is that of the request with its markers: identify `request`, solve the result.

    Args:
        request: The identified request.
        arch: conda platform to solve for.
        settings: Provides `sys_markers`.

    Raises:
        UsageError: A marker is malformed, needs a value that no architecture implies, or is true for some of the
            Pythons that the request allows and false for others.
    """
    values = [value for category in ("conda", "pypi", "pip") for value in request.deps.get(category, ())]
    if not any(split_value(value)[2] for value in values):
        return request
    pythons = candidate_pythons(python_constraint(request))
    answers: dict[str, bool] = {}
    deps: dict[str, Sequence[str]] = dict(request.deps)
    for category in ("conda", "pypi", "pip"):
        if category not in deps:
            continue
        kept = []
        for value in deps[category]:
            name, constraint, marker = split_value(value)
            if marker and marker not in answers:
                answers[marker] = holds(marker, arch, pythons, settings)
            if not marker:
                kept.append(value)
            elif answers[marker]:
                kept.append(join_value(name, constraint))
        # markers of two lines of one package may leave the same text
        deps[category] = list(dict.fromkeys(kept))
    return replace(request, deps=deps)


def python_constraint(request: Request) -> str:
    """Return the Python constraint of a request: clauses with operators; empty if it has none."""
    for value in request.deps.get("conda", ()):
        read = read_requirement(value)
        if read.name == "python" and not read.marker:
            return read.constraint
    return ""


def candidate_pythons(constraint: str) -> list[str]:
    """Return the Pythons from 3.7.0 to 3.15.25 that a constraint allows; an exact version is returned as it is.

    Args:
        constraint: Clauses with operators, such as `>=3.8,<3.9` or `==3.11.*`; `==3.11` means `==3.11.*`.

    Raises:
        UsageError: It is malformed, or allows none.

    >>> candidate_pythons(">=3.8.24,<3.9"), candidate_pythons("==3.6.15")
    (['3.8.24', '3.8.25'], ['3.6.15'])
    """
    allowed = _allowed(constraint)
    found = [
        version
        for minor in _MINORS
        for version in (f"3.{minor}.{patch}" for patch in _PATCHES)
        if any(alternative.contains(version) for alternative in allowed)
    ]
    if found:
        return found
    if exact := re.fullmatch(r"[\s,]*={0,3}(\d+(\.\d+)*)[\s,]*", constraint):
        return [exact[1]]
    raise UsageError(
        "no Python version satisfies the request, so its markers cannot be evaluated",
        expected="a range between 3.7 and 3.15, or one exact version",
        found=repr(constraint[:60]),
    )


def _as_pep440(clause: str) -> str:
    minor = re.fullmatch(r"={0,3}(\d+(?:\.\d+)?)", clause)
    if minor:
        return f"=={minor[1]}.*"
    # conda's readers allow a star after an inequality, where it means nothing
    ordered = re.fullmatch(r"([<>]=?)(.*?)(\.\*)?", clause)
    if ordered:
        return ordered[1] + ordered[2]
    return clause if clause[0] in "=<>!~" else f"=={clause}"


def marker_environment(arch: str, python: str, settings: Settings) -> dict[str, str]:
    """Return the values of the marker variables for an architecture and a Python `3.N.M`.

    Raises:
        UsageError: The architecture has no markers.
    """
    return {**PythonTarget(arch, python).markers, **settings.sys_markers.get(arch, {})}


def holds(marker: str, arch: str, pythons: Sequence[str], settings: Settings) -> bool:
    """Evaluate a marker for an architecture and all the Pythons that may be chosen.

    Args:
        marker: Such as `sys_platform == "linux"`.
        arch: conda platform.
        pythons: Versions `3.N.M`; at least one.
        settings: Provides `sys_markers`.

    Raises:
        UsageError: It is malformed, needs a value that no architecture implies, or is not the same for all.
    """
    from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415 - few requests have a marker

    try:
        parsed = Marker(marker)
    except InvalidMarker:
        raise UsageError(f"{marker[:120]!r} is no environment marker") from None
    variables = {match.group() for match in _VARIABLE.finditer(_QUOTED.sub("", marker))}
    if not variables & set(_PYTHON_VARIABLES):
        pythons = pythons[:1]
    answers: dict[bool, str] = {}
    for python in pythons:
        values = marker_environment(arch, python, settings)
        _check_values(marker, arch, variables, values)
        answers.setdefault(_evaluate(parsed, marker, values), python)
    if len(answers) > 1:
        raise UsageError(
            f"Ambiguous package marker {marker!r}: true for Python {answers[True]}, false for Python {answers[False]}",
            hint="narrow the version of Python, for example to one minor version",
        )
    return next(iter(answers))


def _check_values(marker: str, arch: str, variables: Iterable[str], values: Mapping[str, str]) -> None:
    for variable in sorted(variables):
        name = variable.replace("os.name", "os_name").replace("sys.platform", "sys_platform")
        if not values.get(name):
            raise UsageError(
                f"the marker {marker!r} is not supported: the architecture {arch} does not imply {name}",
                hint=f"set it in sys_markers for {arch}, or leave the marker out"
                if name != "extra"
                else "write the requirement without it",
            )


def _evaluate(parsed: Marker, marker: str, values: Mapping[str, str]) -> bool:
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName  # noqa: PLC0415 - as above
    from packaging.specifiers import InvalidSpecifier  # noqa: PLC0415
    from packaging.version import InvalidVersion  # noqa: PLC0415

    try:
        return parsed.evaluate({**values, "extra": ""})
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion, InvalidSpecifier) as exc:
        raise UsageError(f"the marker {marker!r} is not supported ({exc})") from exc


def python_allows(constraint: str, version: str) -> bool:
    """Return whether a constraint allows a version of Python.

    Raises:
        UsageError: The constraint is malformed.
    """
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415 - as above

    try:
        return any(alternative.contains(Version(version), prereleases=True) for alternative in _allowed(constraint))
    except InvalidVersion:
        raise _malformed(constraint) from None


def _allowed(constraint: str) -> list[SpecifierSet]:
    """Return the alternatives between the `|` of a constraint."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - as above

    try:
        return [
            SpecifierSet(",".join(_as_pep440(clause.strip()) for clause in alternative.split(",") if clause.strip()))
            for alternative in constraint.split("|")
        ]
    except InvalidSpecifier:
        raise _malformed(constraint) from None


def _malformed(constraint: str) -> UsageError:
    return UsageError(
        "the version of Python is malformed", expected="3.11, 3.11.* or >=3.8,<3.12", found=repr(constraint[:60])
    )
