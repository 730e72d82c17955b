"""Extending a resolved environment with further requirements (contract, section 7.5).

Every locked package of the base is kept; packages are only added. The request that identifies the result is the base's
with the additions; the locked packages themselves are passed beside it, in `Assembled.base`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from asynccache.config import Settings
from asynccache.errors import UnsatisfiableError, UsageError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import Request
from asynccache.resolve.pypi.problem import Flags
from asynccache.resolve.requests.assemble import (
    Assembled,
    Machine,
    checked_arches,
    machine_sys,
    sources_of,
    values_by_category,
    with_pins,
    without_empty,
)
from asynccache.resolve.requests.base_environment import BaseEnvironment, same_virtual_packages
from asynccache.resolve.requests.markers import candidate_pythons, holds, python_allows
from asynccache.resolve.requests.requirement_text import (
    join_value,
    merge_constraints,
    packages_of,
    read_requirement,
    split_value,
    undoubled,
)
from asynccache.resolve.requests.requirements import SYS_PACKAGES, Requirement, Requirements
from asynccache.resolve.requests.virtual_packages import smaller


def extend(
    bases: Mapping[str, ResolvedEnvironment],
    requirements: Requirements,
    *,
    arches: Sequence[str],
    settings: Settings,
    datastore: str | None,
    python: str | None = None,
    step: bool = False,
    gpu: bool = False,
    name: str = "",
    machine: Machine | None = None,
) -> dict[str, Assembled]:
    """Return one request for each architecture, with the base that it extends.

    Args:
        bases: Architecture -> base environment.
        requirements: What to add; if empty, the base is the answer.
        arches: conda platforms, resolved together.
        settings: Defaults of sources and virtual packages.
        datastore: Whose pins Metaflow needs; None to leave them out.
        python: Constraint of Python from the command line.
        step: Whether the request is from a flow's step rather than `resolve`. A step's own Python is ignored with a
            note.
        gpu: Whether a GPU was asked for.
        name: The user's name for the base; by default its ids.
        machine: What of the machine enters the request.

    Returns:
        Architecture -> request. With `compatible`, the base's packages are the answer: as a new environment, or, when
        the request's id is the base's, the base itself.

    Raises:
        UsageError: No base for an architecture, a base without Python, a request for another Python, or an unknown
            virtual package.
        UnsatisfiableError: A requirement contradicts packages that the base has locked.
        ConfigurationError: pip's configuration cannot be read.
    """
    machine = machine or Machine()
    arches = checked_arches(arches)
    for arch in arches:
        if arch not in bases:
            shown = name or next((str(base.id) for base in bases.values()), "")
            message = f"exists but is not available for architecture '{arch}'" if bases else "not found"
            raise UsageError(f"Base environment '{shown}' {message}")
    if not requirements and requirements.python is None and python is None:
        return {arch: _unchanged(bases[arch], ()) for arch in arches}
    given = {requirement.name: requirement.constraint for requirement in requirements.deps.get("sys", ())}
    extra_sys = machine_sys(machine, arches, settings, given=given, gpu=gpu)
    extended = {
        arch: _extended(
            BaseEnvironment(bases[arch]), requirements, arch, settings, datastore, python, step, extra_sys, machine
        )
        for arch in arches
    }
    return {arch: replace(asked, gpu=gpu) for arch, asked in extended.items()}


def _unchanged(base: ResolvedEnvironment, notes: Iterable[str]) -> Assembled:
    return Assembled(base.request, base.environment_type, base.id.arch, notes=tuple(notes), base=base, compatible=True)


def _extended(
    base: BaseEnvironment,
    requirements: Requirements,
    arch: str,
    settings: Settings,
    datastore: str | None,
    python: str | None,
    step: bool,
    extra_sys: Mapping[str, str],
    machine: Machine,
) -> Assembled:
    environment = base.environment
    notes = [*requirements.notes, *_check_python(base, python or requirements.python, step=step)]
    _check_sys(environment.request, requirements)
    if not requirements:
        return _unchanged(environment, notes)
    # Metaflow's pins follow the base's kind: as conda packages they would duplicate what it has from PyPI
    to_pypi = environment.environment_type == "pypi-only"
    added = with_pins(requirements, datastore, to_pypi=to_pypi, user_first=step)
    _check_contradictions(base, added, arch, settings, requirements.extras.get("pypi", ()))
    base_sys = packages_of(environment.request.deps.get("sys", ()))
    sys = {
        key: smaller(base_sys[key], extra_sys[key])
        if key in base_sys and key in extra_sys
        else base_sys.get(key) or extra_sys[key]
        for key in dict.fromkeys([*base_sys, *extra_sys])
    }
    deps = _merged(environment.request, values_by_category(added))
    if not any(split_value(value)[0] == "python" for value in deps.get("conda", ())):
        deps.setdefault("conda", []).append(f"python=={base.python}")
    deps["sys"] = [join_value(key, version) for key, version in sys.items()]
    kind = _type(base, added)
    given = {
        category: [*environment.request.sources.get(category, ()), *requirements.sources.get(category, ())]
        for category in ("conda", "pypi")
    }
    sources = sources_of(given, requirements, kind, settings, machine)
    extras = {
        category: list(
            dict.fromkeys([*requirements.extras.get(category, ()), *environment.request.extras.get(category, ())])
        )
        for category in {**requirements.extras, **environment.request.extras}
    }
    request = Request(without_empty(deps), without_empty(sources.public), without_empty(extras))
    compatible = request.req_id == environment.id.req_id or (
        same_virtual_packages(base_sys, sys) and _satisfies_all(base, added, arch, settings)
    )
    notes += sources.notes
    found = Assembled(request, kind, arch, sources.auth, tuple(notes), environment, compatible)
    return replace(
        found,
        written=sources.written,
        pip_flags=sources.pip_flags,
        left_out=sources.left_out,
        short=requirements.short,
    )


def _check_python(base: BaseEnvironment, wanted: str | None, *, step: bool) -> list[str]:
    version = base.python
    if wanted is None or python_allows(wanted, version):
        return []
    if step:
        return [f"python {wanted} is ignored: the base environment has Python {version}"]
    raise UsageError(
        "the base environment has another Python than the one asked for", expected=repr(wanted), found=version
    )


def _check_sys(request: Request, requirements: Requirements) -> None:
    names = [*packages_of(request.deps.get("sys", ())), *(r.name for r in requirements.deps.get("sys", ()))]
    unknown = [name for name in names if name not in SYS_PACKAGES]
    if unknown:
        raise UsageError("Unhandled sys deps", expected=" and ".join(SYS_PACKAGES), found=", ".join(unknown))


def _that_hold(
    base: BaseEnvironment, requirements: Iterable[Requirement], arch: str, settings: Settings
) -> list[Requirement]:
    """Leave out what a marker excludes; the base's Python is exact, so no marker is ambiguous."""
    pythons = candidate_pythons(f"=={base.python}")
    return [r for r in requirements if not r.marker or holds(r.marker, arch, pythons, settings)]


def _check_contradictions(
    base: BaseEnvironment,
    added: Mapping[str, Sequence[Requirement]],
    arch: str,
    settings: Settings,
    flags: Iterable[str],
) -> None:
    reasons = []
    for category in ("conda", "npconda", "pypi"):
        for requirement in _that_hold(base, added.get(category, ()), arch, settings):
            locked = base.contradiction(read_requirement(requirement.value, category), category)
            if locked is not None:
                asked = undoubled(join_value(requirement.name, requirement.constraint))
                reasons.append(requirement.place.said(f"{asked} is asked for, the base environment has {locked}"))
    reasons += [
        f"{bound.pypi_spec} is a constraint, the base environment has {locked}"
        for bound in Flags.read(flags).bounds
        if (locked := base.contradiction(bound, "pypi")) is not None
    ]
    if reasons:
        raise UnsatisfiableError(
            "the base environment keeps all its packages, which contradict what is asked for on top: "
            + "; ".join(reasons),
            hint="leave these out, or resolve again without the base",
        )


def _satisfies_all(
    base: BaseEnvironment, added: Mapping[str, Sequence[Requirement]], arch: str, settings: Settings
) -> bool:
    for category in ("conda", "npconda", "pypi"):
        known = [read_requirement(value, category) for value in base.environment.request.deps.get(category, ())]
        for requirement in _that_hold(base, added.get(category, ()), arch, settings):
            if not base.meets(read_requirement(requirement.value, category), category, known):
                return False
    return True


def _merged(request: Request, added: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Merge values into a request's, per name and marker."""
    result: dict[str, list[str]] = {}
    for category in {**request.deps, **added}:
        merged: dict[tuple[str, str], str] = {}
        for value in [*request.deps.get(category, ()), *added.get(category, ())]:
            name, constraint, marker = split_value(value)
            key = (name, marker)
            merged[key] = merge_constraints(merged[key], constraint) if key in merged else constraint
        result[category] = [join_value(name, constraint, marker) for (name, marker), constraint in merged.items()]
    return result


def _type(base: BaseEnvironment, added: Mapping[str, Sequence[Requirement]]) -> str:
    if base.environment.environment_type == "pypi-only" and not added.get("conda"):
        return "pypi-only"
    values = {kind: [requirement.value for requirement in added.get(kind, ())] for kind in ("conda", "pypi")}
    for package in base.environment.packages:
        values[package.kind].append(package.filename)
    return Request(values).environment_type
