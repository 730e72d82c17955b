"""Requirements become requests: pins, Python, virtual packages and sources added (contract, sections 1.2.1, 6.1.1).

A request does not name its architecture; architectures that are resolved together share one, so that they share an id.
What enters an id from the machine stands in `Machine`: give the same one, and the ids are the same anywhere.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import Request
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.resolve.metaflow_pins import metaflow_pins, pypi_pins
from asynccache.resolve.pip_configuration import read_pip_configuration
from asynccache.resolve.request_sources import conda_sources, pypi_sources
from asynccache.resolve.requirement_text import merge_constraints, packages_of
from asynccache.resolve.requirements import Requirement, Requirements
from asynccache.resolve.url_credentials import split_credentials
from asynccache.resolve.virtual_packages import VirtualPackage, detect_virtual_packages, sys_values


@dataclass(frozen=True, eq=False)
class Machine:
    """What of a machine enters requests; what is not given is found out when it is needed.

    Attributes:
        arch: conda platform of the machine.
        python: Full version of the running interpreter.
        detected: Virtual packages; None: this machine's. Finding them out may run a program for up to two seconds.
        pip_entries: pip's configuration (`read_pip_configuration`); None: this machine's.
        channels: Channels that a conda program is configured with; None: those of the settings.
    """

    arch: str = field(default_factory=current_architecture)
    python: str = field(default_factory=lambda: platform.python_version().rstrip("+"))
    detected: tuple[VirtualPackage, ...] | None = None
    pip_entries: tuple[tuple[str, str], ...] | None = None
    channels: tuple[str, ...] | None = None

    @cached_property
    def virtual_packages(self) -> tuple[VirtualPackage, ...]:
        """What the machine has."""
        return detect_virtual_packages() if self.detected is None else self.detected

    @cached_property
    def pip_configuration(self) -> tuple[tuple[str, str], ...]:
        """Pip's configuration."""
        return tuple(read_pip_configuration()) if self.pip_entries is None else self.pip_entries


@dataclass(frozen=True, slots=True)
class Assembled:
    """One environment to find, identified.

    Attributes:
        request: The requirements, with their markers; `request.req_id` identifies them.
        environment_type: `conda-only`, `pypi-only` or `mixed`.
        arch: conda platform.
        auth: Host -> [user, password] that the addresses held; in the shape of the setting `auth`. Never recorded.
        notes: What the user should be told, a sentence each.
        base: Environment whose packages are all kept; None when nothing is extended.
        compatible: Whether the base's packages are the answer already, so that nothing has to be solved.
        gpu: Whether a GPU was asked for, whatever the request says of it.
    """

    request: Request
    environment_type: str
    arch: str
    auth: Mapping[str, list[str]] = field(default_factory=dict, repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    base: ResolvedEnvironment | None = field(default=None, repr=False)
    compatible: bool = False
    gpu: bool = field(default=False, compare=False)


def assemble(
    requirements: Requirements,
    *,
    arches: Sequence[str],
    settings: Settings,
    datastore: str | None,
    python: str | None = None,
    step: bool = False,
    gpu: bool = False,
    machine: Machine | None = None,
) -> dict[str, Assembled]:
    """Return one request for each architecture; the requests are equal.

    Args:
        requirements: What files or decorators ask for.
        arches: conda platforms, resolved together.
        settings: Defaults of sources and virtual packages.
        datastore: `local`, `s3`, `azure` or `gs`, whose pins Metaflow needs; None to leave them out.
        python: Constraint of Python from the command line.
        step: Whether a flow's step asks (decorators) rather than `resolve`: its text precedes the pins', its default
            Python is a minor version, and what it asks for decides on the type.
        gpu: Whether a GPU was asked for.
        machine: What of the machine enters the request.

    Raises:
        UsageError: Python stands in the file and on the command line, an unknown architecture or datastore.
        ConfigurationError: pip's configuration cannot be read.
    """
    machine = machine or Machine()
    arches = checked_arches(arches)
    if python is not None and requirements.python is not None:
        raise UsageError("the version of Python is given twice", expected="in the file or with --python", found="both")
    wanted = python or requirements.python
    if wanted is None:
        wanted = default_python(machine.python) if step else machine.python
    kind = step_type(requirements) if step else None
    to_pypi = kind == "pypi-only" if step else not requirements.deps.get("conda")
    pinned = with_pins(requirements, datastore, to_pypi=to_pypi, user_first=step)
    # `resolve` decides on indexes before Python is among the requirements; other readers compute ids that way
    decided = kind or Request(values_by_category(pinned)).environment_type
    deps = values_by_category(pinned)
    deps.setdefault("conda", []).append(f"python=={wanted}")
    sys = machine_sys(machine, arches, settings, given=packages_of(deps.get("sys", ())), gpu=gpu)
    deps["sys"] = [f"{name}=={version}" for name, version in sys.items()]
    sources: dict[str, Sequence[str]] = {
        "conda": conda_sources(requirements.sources.get("conda", ()), settings, machine.channels)
    }
    if decided != "conda-only":
        sources["pypi"] = pypi_sources(requirements.sources.get("pypi", ()), settings, machine.pip_configuration)
    public, auth = without_credentials(sources, requirements.auth)
    request = Request(without_empty(deps), public, {c: list(v) for c, v in requirements.extras.items()})
    kind = request.environment_type
    return {arch: Assembled(request, kind, arch, auth, requirements.notes, gpu=gpu) for arch in arches}


def clone(
    sources: ResolvedEnvironment | Mapping[str, ResolvedEnvironment],
    *,
    arches: Sequence[str],
    settings: Settings,
    machine: Machine | None = None,
) -> dict[str, Assembled]:
    """Return requests for what an environment was asked for, to be resolved again (`--from`).

    Requirements and sources are the environment's; its virtual packages are replaced by those of the architectures,
    its flags are dropped, and no pins are added.

    Args:
        sources: The environment, or one for each architecture (any of them for an architecture without).
        arches: conda platforms, resolved together.
        settings: Defaults of virtual packages.
        machine: What of the machine enters the request.

    Raises:
        UsageError: No environment, or an unknown architecture.
    """
    machine = machine or Machine()
    arches = checked_arches(arches)
    by_arch = {sources.id.arch: sources} if isinstance(sources, ResolvedEnvironment) else dict(sources)
    if not by_arch:
        raise UsageError("no environment was given whose requirements could be resolved again")
    sys = machine_sys(machine, arches, settings, given={}, gpu=False)
    result = {}
    for arch in arches:
        request = by_arch.get(arch, next(iter(by_arch.values()))).request
        deps = {category: list(values) for category, values in request.deps.items() if category != "sys"}
        deps["sys"] = [f"{name}=={version}" for name, version in sys.items()]
        again = Request(without_empty(deps), {c: list(v) for c, v in request.sources.items()})
        result[arch] = Assembled(again, again.environment_type, arch)
    return result


def default_python(version: str) -> str:
    """Return the Python of a step that asks for none.

    >>> default_python("3.11.7")
    '3.11.*'
    """
    return ".".join(version.split(".")[:2]) + ".*"


def step_type(requirements: Requirements, base_type: str | None = None) -> str:
    """Return the type that a flow's step has by what it asks for (contract, section 1.3).

    Args:
        requirements: The step's own, Python and pins not counted.
        base_type: Type of the environment that it extends; None for none.
    """
    asked = {"conda-only"} if requirements.deps.get("conda") else set()
    if requirements.deps.get("pypi"):
        asked.add("pypi-only")
    if base_type in {"conda-only", "pypi-only"}:
        asked.add(base_type)
    if len(asked) == 2:
        return "mixed"
    if not asked:
        return "conda-only"
    return base_type or asked.pop()


def with_pins(
    requirements: Requirements, datastore: str | None, *, to_pypi: bool, user_first: bool
) -> dict[str, list[Requirement]]:
    """Return the requirements by category, those of Metaflow merged in.

    Raises:
        UsageError: An unknown datastore.
    """
    deps = {category: list(found) for category, found in requirements.deps.items()}
    if datastore is None:
        return deps
    pins = metaflow_pins(datastore)
    category, pins = ("pypi", pypi_pins(pins)) if to_pypi else ("conda", pins)
    asked = deps.get(category, [])
    merged = []
    for name, constraint in pins.items():
        # what is asked for under a marker stays a requirement of its own: the pin holds without it
        user = next((r for r in asked if r.name == name and not r.marker), None)
        if user is None:
            merged.append(Requirement(name, constraint))
            continue
        asked.remove(user)
        both = (user.constraint, constraint) if user_first else (constraint, user.constraint)
        merged.append(Requirement(name, merge_constraints(*both), place=user.place))
    deps[category] = [*merged, *asked]
    return deps


def values_by_category(deps: Mapping[str, Iterable[Requirement]]) -> dict[str, list[str]]:
    """Return the values that stand in a request."""
    return {category: [requirement.value for requirement in found] for category, found in deps.items()}


def without_credentials(
    sources: Mapping[str, Iterable[str]], auth: Mapping[str, list[str]]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Split the credentials off sources that the machine's configuration named; what the user gave comes first.

    Raises:
        UsageError: A token in the path of an address.
    """
    public: dict[str, list[str]] = {}
    known = dict(auth)
    for category, addresses in sources.items():
        texts = []
        for address in addresses:
            text, host, pair = split_credentials(address)
            texts.append(text)
            if pair is not None:
                known.setdefault(host, pair)
        public[category] = list(dict.fromkeys(texts))
    return public, known


def checked_arches(arches: Sequence[str]) -> tuple[str, ...]:
    """Return architectures, each once.

    Raises:
        UsageError: None, or an unknown one.
    """
    if not arches:
        raise UsageError("no architecture was given to resolve for", expected="linux-64, osx-arm64, ...")
    return tuple(dict.fromkeys(checked_architecture(arch) for arch in arches))


def machine_sys(
    machine: Machine, arches: Sequence[str], settings: Settings, *, given: Mapping[str, str], gpu: bool
) -> dict[str, str]:
    """Return the category `sys` of a request; looks at the machine only when one of the architectures is its own."""
    needed = not settings.pin_virtual_packages and machine.arch in arches
    detected = machine.virtual_packages if needed else ()
    return sys_values(arches, settings, given=given, gpu=gpu, detected=detected, here=machine.arch)


def without_empty(parts: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the categories that hold something."""
    return {category: values for category, values in parts.items() if values}
