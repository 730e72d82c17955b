"""Asking for what a lock says: nothing is solved, but for the Python of a lock that has PyPI packages only.

What was asked for is what files beside the lock say. Without them every package of the lock counts as asked for in its
version; then two locks with the same versions are the same request, and what is found decides.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from asynccache.errors import UsageError
from asynccache.model.package import parse_stem
from asynccache.ops.import_environment import pinned_request
from asynccache.ops.resolve_request import Wanted
from asynccache.resolve.locked import Lock, read_lock
from asynccache.resolve.requests.assemble import Assembled, Machine, assemble
from asynccache.resolve.requests.requirements import Requirements
from asynccache.resolve.resolver import Solution

if TYPE_CHECKING:
    from asynccache.ops.resolve_inputs import Inputs

_VERSION: Final = re.compile(r"=*(3\.\d+(\.\d+)?)(\.\*)?")


def wanted_of_lock(
    inputs: Inputs, locks: Sequence[tuple[str, str]], requirements: Requirements | None, options: Mapping[str, Any]
) -> Wanted:
    """Return what is asked for with a lock.

    Args:
        inputs: As the user gave them.
        locks: (path, content); there can be one only.
        requirements: What files beside the lock ask for; None without any.
        options: How requirements are assembled: the arguments of `assemble`.

    Raises:
        UsageError: Not a lock, not one for an architecture or this Python, or more than one.
    """
    if len(locks) > 1:
        raise UsageError("one environment has one lock", found=", ".join(path for path, _text in locks))
    path, text = locks[0]
    if inputs.using:
        raise UsageError(f"{path} cannot extend an environment: a lock says everything that is found")
    lock = read_lock(path, text)
    if requirements is not None:
        asked = assemble(requirements, **options)
    else:
        python = _version(inputs.python, options["machine"]) if not lock.has_python else None
        found = {arch: lock.solution(arch, python, environment=inputs.environment) for arch in options["arches"]}
        asked = _pinned(lock, found, options)
    resolver = lock.resolver(options["settings"], asked, inputs.environment)
    name = inputs.name or path
    return Wanted(name, asked, inputs.aliases, lock=resolver, unique_keys=lock.unique_keys, auth=lock.auth)


def _pinned(lock: Lock, found: Mapping[str, Solution], options: Mapping[str, Any]) -> dict[str, Assembled]:
    """Ask for every package of a lock in its version."""
    packages = [package for solution in found.values() for package in solution.packages]
    if lock.has_python:
        if options["python"]:
            raise UsageError(f"--python does not go with {lock.name}, which says which Python it has")
        request = pinned_request(packages)
        kinds = {package.kind for package in packages}
        kind = "mixed" if len(kinds) == 2 else f"{next(iter(kinds), 'conda')}-only"
        return {arch: Assembled(request, kind, arch) for arch in found}
    names = [parse_stem("pypi", package.filename) for package in packages if package.kind == "pypi"]
    pypi = {name.name: name.version for name in names}
    pypi |= {
        build.name if build.version else f"{build.name}@{build.location}": build.version or ""
        for solution in found.values()
        for build in solution.builds
    }
    return assemble(Requirements.of({"pypi": pypi}), **options)


def _version(constraint: str | None, machine: Machine) -> str:
    """Return the Python that wheels of a lock are chosen for where only their names count."""
    if constraint is None:
        return machine.python
    matched = _VERSION.fullmatch(constraint.strip())
    if matched is None:
        raise UsageError(
            f"--python {constraint} does not say which Python a lock is read for", expected="3.N, 3.N.M or 3.N.*"
        )
    return matched[1]
