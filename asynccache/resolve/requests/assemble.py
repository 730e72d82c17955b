"""Requirements become requests: pins, Python, virtual packages and sources added (contract, sections 1.2.1, 6.1.1).

A request does not name its architecture; architectures that are resolved together share one, so that they share an id.
What enters an id from the machine is in `Machine`: with the same one, ids are the same anywhere.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace

from asynccache.config import Settings
from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import Request
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.resolve.requests.metaflow_pins import metaflow_pins, pypi_pins
from asynccache.resolve.requests.pip_configuration import read_pip_configuration
from asynccache.resolve.requests.requirement_text import merge_constraints, packages_of
from asynccache.resolve.requests.requirements import Requirement, Requirements
from asynccache.resolve.requests.sources import (
    NO_DEFAULTS,
    channel_or_url,
    conda_sources,
    configured_flags,
    overridden_index,
    pypi_sources,
)
from asynccache.resolve.requests.url_credentials import split_credentials
from asynccache.resolve.requests.virtual_packages import VirtualPackage, detect_virtual_packages, sys_values


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """What enters requests from a machine; what is not given is detected when needed.

    Attributes:
        arch: conda platform of the machine.
        python: Full version of the running interpreter.
        detected: Virtual packages; None for this machine's. Detecting them may run a program for up to two seconds.
        pip_entries: pip's configuration (`read_pip_configuration`); None for this machine's.
        channels: Configured channels of a conda program; None for those of the settings.
        auth: Credentials in their addresses, in the format of the setting `auth`.
        written: Address of a channel -> as the program prints it.
    """

    arch: str = field(default_factory=current_architecture)
    python: str = field(default_factory=lambda: sys.version.split()[0].rstrip("+"))
    detected: tuple[VirtualPackage, ...] | None = None
    pip_entries: tuple[tuple[str, str], ...] | None = None
    channels: tuple[str, ...] | None = None
    auth: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    written: Mapping[str, str] = field(default_factory=dict, repr=False)

    _packages: list[tuple[VirtualPackage, ...]] = field(default_factory=list, repr=False)
    _entries: list[tuple[tuple[str, str], ...]] = field(default_factory=list, repr=False)

    @property
    def virtual_packages(self) -> tuple[VirtualPackage, ...]:
        """The machine's virtual packages."""
        if not self._packages:
            self._packages.append(detect_virtual_packages() if self.detected is None else self.detected)
        return self._packages[0]

    @property
    def pip_configuration(self) -> tuple[tuple[str, str], ...]:
        """Pip's configuration."""
        if not self._entries:
            self._entries.append(tuple(read_pip_configuration()) if self.pip_entries is None else self.pip_entries)
        return self._entries[0]


@dataclass(frozen=True, slots=True)
class Assembled:
    """The identified request for one environment.

    Attributes:
        request: The requirements, with their markers; `request.req_id` identifies them.
        environment_type: `conda-only`, `pypi-only` or `mixed`.
        arch: conda platform.
        auth: Credentials in the addresses, in the format of the setting `auth`. Never recorded.
        written: Address in the request -> the same as it was written, with its credentials. Never recorded.
        notes: Notes for the user, one sentence each.
        base: Environment that is extended, whose packages are all kept; None if there is none.
        compatible: Whether the base satisfies the request, so that nothing has to be solved.
        gpu: Whether a GPU was requested, whatever the request itself says.
        pip_flags: pip's configuration besides indexes, as flags. Not part of the request.
        left_out: Channels of the machine in the request that `nodefaults` switches off.
        short: conda package -> the exact version requested, where conda would accept every version with that prefix.
    """

    request: Request
    environment_type: str
    arch: str
    auth: Mapping[str, list[str]] = field(default_factory=dict, repr=False, compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)
    base: ResolvedEnvironment | None = field(default=None, repr=False)
    compatible: bool = False
    gpu: bool = field(default=False, compare=False)
    written: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    pip_flags: tuple[str, ...] = field(default=(), compare=False)
    left_out: tuple[str, ...] = field(default=(), compare=False)
    short: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Sources:
    """Channels and indexes of a request.

    Attributes:
        public: By category, without credentials.
        auth: Credentials in the addresses (`Assembled.auth`).
        written: Address -> as it was written (`Assembled.written`).
        notes: Notes for the user.
        pip_flags: As `Assembled.pip_flags`.
        left_out: As `Assembled.left_out`.
    """

    public: dict[str, list[str]]
    auth: dict[str, list[str]] = field(repr=False)
    written: dict[str, str] = field(repr=False)
    notes: tuple[str, ...] = ()
    pip_flags: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


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
        step: Whether the request is from a flow's step (decorators) rather than `resolve`: its text precedes the pins',
            its default Python is a minor version, and its requirements determine the type.
        gpu: Whether a GPU was asked for.
        machine: What enters the request from the machine.

    Raises:
        UsageError: Python is given both in the file and on the command line, or an architecture or datastore is
            unknown.
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
    # `resolve` determines indexes before Python is added to the requirements; other readers compute ids that way
    decided = kind or Request(values_by_category(pinned)).environment_type
    deps = values_by_category(pinned)
    deps.setdefault("conda", []).append(f"python=={wanted}")
    sys = machine_sys(machine, arches, settings, given=packages_of(deps.get("sys", ())), gpu=gpu)
    deps["sys"] = [f"{name}=={version}" for name, version in sys.items()]
    found = sources_of(requirements.sources, requirements, decided, settings, machine)
    request = Request(without_empty(deps), found.public, {c: list(v) for c, v in requirements.extras.items()})
    kind = request.environment_type
    notes = (*requirements.notes, *found.notes)
    asked = Assembled(
        request, kind, "", found.auth, notes, gpu=gpu, written=found.written, pip_flags=found.pip_flags,
        left_out=found.left_out, short=requirements.short,
    )  # fmt: skip
    return {arch: replace(asked, arch=arch) for arch in arches}


def clone(
    sources: ResolvedEnvironment | Mapping[str, ResolvedEnvironment],
    *,
    arches: Sequence[str],
    settings: Settings,
    machine: Machine | None = None,
) -> dict[str, Assembled]:
    """Return the requests of an existing environment, to be resolved again (`--from`).

    Requirements and sources are the environment's; virtual packages are replaced by those of the architectures, flags
    are dropped, and no pins are added.

    Args:
        sources: The environment, or one for each architecture (any of them for an architecture without).
        arches: conda platforms, resolved together.
        settings: Defaults of virtual packages.
        machine: What enters the request from the machine.

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
    """Return the default Python of a step.

    >>> default_python("3.11.7")
    '3.11.*'
    """
    return ".".join(version.split(".")[:2]) + ".*"


def step_type(requirements: Requirements, base_type: str | None = None) -> str:
    """Return the type of a flow's step from its requirements (contract, section 1.3).

    Args:
        requirements: The step's own, without Python and pins.
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
    """Return the requirements by category, with Metaflow's merged in.

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
        # a requirement with a marker stays separate: the pin has none
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
    """Return the values for a request."""
    return {category: [requirement.value for requirement in found] for category, found in deps.items()}


def sources_of(
    given: Mapping[str, Iterable[str]], requirements: Requirements, kind: str, settings: Settings, machine: Machine
) -> Sources:
    """Return the channels and indexes of a request: the given ones, and those of the machine.

    Args:
        given: By category, in the user's order.
        requirements: The requirements, with the credentials split off when they were read.
        kind: Type of the environment, which decides whether it has indexes.
        settings: Defaults of sources.
        machine: What enters the request from the machine.

    Raises:
        UsageError: A token in the path of an index.
        ConfigurationError: pip's configuration cannot be read.
    """
    sources = {"conda": conda_sources(given.get("conda", ()), settings, machine.channels)}
    note: str | None = None
    flags: list[tuple[str, dict[str, list[str]]]] = []
    if kind != "conda-only":
        for flag in configured_flags(machine.pip_configuration):
            option, blank, argument = flag.partition(" ")
            public, logins = split_credentials(argument)
            flags.append((f"{option}{blank}{public}", logins))
        sources["pypi"] = pypi_sources(given.get("pypi", ()), settings, machine.pip_configuration)
        note = overridden_index(machine.pip_configuration, settings.default_pypi_source)
    auth, written = {**machine.auth, **requirements.auth}, {**machine.written, **requirements.written}
    for place, login in (pair for _, logins in flags for pair in logins.items()):
        auth.setdefault(place, login)
    found = Sources({}, auth, written, (note,) if note else (), tuple(flag for flag, _ in flags))
    for category, addresses in sources.items():
        texts = []
        for address in addresses:
            text, logins = split_credentials(address, channel=category == "conda")
            if text != address:
                found.written.setdefault(text, address)
            texts.append(channel_or_url(text, settings.hack_channel_alias) if logins and category == "conda" else text)
            # the user's come first
            for place, login in logins.items():
                found.auth.setdefault(place, login)
        found.public[category] = list(dict.fromkeys(texts))
    asked = list(given.get("conda", ()))
    if NO_DEFAULTS not in asked:
        return found
    own = conda_sources((split_credentials(channel, channel=True)[0] for channel in asked), settings, ())
    left_out = tuple(channel for channel in found.public["conda"] if channel not in own)
    # by itself it would leave no channel at all
    return replace(found, left_out=left_out) if set(own) - {NO_DEFAULTS} else found


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
    """Return the category `sys` of a request; examines the machine only if one of the architectures is its own."""
    needed = not settings.pin_virtual_packages and machine.arch in arches
    detected = machine.virtual_packages if needed else ()
    return sys_values(arches, settings, given=given, gpu=gpu, detected=detected, machine_arch=machine.arch)


def without_empty(parts: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return the categories that hold something."""
    return {category: values for category, values in parts.items() if values}
