"""What steps of flows ask for, as plain values, and the requests that it amounts to (contract, sections 7.2 to 7.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from asynccache.config import Settings
from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import Request
from asynccache.ops.catalog import Catalog
from asynccache.ops.opening import Opening
from asynccache.ops.resolve_known import look_up
from asynccache.ops.resolve_request import Wanted, grouped
from asynccache.ops.vouching import trusted
from asynccache.resolve.requests.assemble import Machine, assemble
from asynccache.resolve.requests.requirements import Requirements
from asynccache.runtime.late_loop import in_thread


@dataclass(frozen=True, slots=True)
class StepInputs:
    """One environment, as a step of a flow asks for it.

    Attributes:
        name: The step's; how rows and errors call it.
        arch: conda platform.
        datastore: Metaflow's datastore, whose pins are added: `local`, `s3`, `azure` or `gs`.
        packages: Category -> name -> constraint.
        sources: Category -> channels or indexes, those that count first in front.
        extras: Flags for the resolver of PyPI packages, with their dashes.
        python: Constraint of Python.
        base: Name of an environment that is extended, or used when nothing is asked for on top.
        lock: Path of a lock that says what is found.
        unique_keys: What else makes it its own.
        gpu: Whether the step asks for a GPU.
        aliases: Names to give.
    """

    name: str
    arch: str
    datastore: str
    packages: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    sources: Mapping[str, Sequence[str]] = field(default_factory=dict)
    extras: Sequence[str] = ()
    python: str | None = None
    base: str | None = None
    lock: str | None = None
    unique_keys: Mapping[str, str] = field(default_factory=dict)
    gpu: bool = False
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a request.

    Attributes:
        name: As it was asked for.
        arch: conda platform.
        request: What it amounts to.
        group: Number of what is resolved as one: equal requests have the same.
        environment: What it means now; None if it has to be resolved.
        compatible: Whether a base environment meets the request as it is.
    """

    name: str
    arch: str
    request: Request
    group: int
    environment: ResolvedEnvironment | None
    compatible: bool

    def as_document(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "name": self.name,
            "arch": self.arch,
            "req_id": self.request.req_id,
            "full_id": None if self.environment is None else self.environment.id.full_id,
            "compatible": self.compatible,
        }


async def wanted_of_step(inputs: StepInputs, settings: Settings, catalog: Catalog, machine: Machine) -> Wanted:
    """Return the request of a step.

    Args:
        inputs: What the step asks for.
        settings: All settings.
        catalog: Where its base environment is looked for.
        machine: What of this machine enters the request.

    Raises:
        ObjectNotFoundError: Its base environment is not there.
        AsyncCacheError: It cannot be assembled, or contradicts its base.
    """
    extras = {"pypi": inputs.extras}
    requirements = Requirements.of(inputs.packages, sources=inputs.sources, extras=extras, python=inputs.python)
    options: dict[str, Any] = {"arches": [inputs.arch], "settings": settings, "machine": machine}
    options |= {"datastore": inputs.datastore, "step": True, "gpu": inputs.gpu}
    if inputs.base is not None:
        from asynccache.resolve.extend import extend  # noqa: PLC0415 - imports version parsers

        bases = {inputs.arch: await _base(catalog, inputs.base, inputs.arch)}
        return Wanted(inputs.name, extend(bases, requirements, name=inputs.base, **options), inputs.aliases)
    asked = assemble(requirements, **options)
    lock, auth = None, {}
    if inputs.lock is not None:
        from asynccache.resolve.formats.text import read_text  # noqa: PLC0415 - not for most steps
        from asynccache.resolve.locked import read_lock  # noqa: PLC0415 - imports readers of locks

        text = await in_thread(read_text, inputs.lock)
        read = read_lock(inputs.lock, text)
        lock, auth = read.resolver(settings, asked), read.auth
    return Wanted(inputs.name, asked, inputs.aliases, lock=lock, unique_keys=dict(inputs.unique_keys), auth=auth)


async def _base(catalog: Catalog, name: str, arch: str) -> ResolvedEnvironment:
    from asynccache.ops.naming import meaning_of  # noqa: PLC0415 - most steps name nothing

    try:
        return await trusted(catalog.settings, await catalog.find(name, arch))
    except ObjectNotFoundError as exc:
        try:
            await meaning_of(catalog, name)
        except (ObjectNotFoundError, UsageError):
            raise ObjectNotFoundError(f"Base environment '{name}' not found; {exc.hint or exc}") from exc
        raise ObjectNotFoundError(
            f"Base environment '{name}' exists but is not available for architecture '{arch}' ({exc})"
        ) from exc


async def known_of(opening: Opening, wanted: Sequence[Wanted], *, local_only: bool = False) -> list[Known]:
    """Return what is known of requests, a row for each and each of its architectures, in order.

    Args:
        opening: What is known; a store is opened only where it has to be asked.
        wanted: What is asked for.
        local_only: Look on this machine only.

    Raises:
        StoreError: The store cannot be opened or listed.
    """
    rows: dict[tuple[int, str], Known] = {}
    for number, group in enumerate(grouped(wanted)):
        found = await look_up(group, opening, local_only=local_only)
        for member in group.members:
            for arch, asked in group.asked.items():
                known = found.get(arch)
                environment = None if known is None else known.environment
                compatible = member.asked[arch].compatible if arch in member.asked else False
                rows[id(member), arch] = Known(member.name, arch, asked.request, number, environment, compatible)
    return [rows[id(each), arch] for each in wanted for arch in each.asked]


def missing_pins(environment: ResolvedEnvironment, datastore: str) -> list[str]:
    """Return what Metaflow needs in a step and an environment out of a lock, to which nothing can be added, has not."""
    from asynccache.resolve.requests.metaflow_pins import metaflow_pins, pypi_pins  # noqa: PLC0415 - only for locks

    names = {package.name for package in environment.packages}
    return [name for name in pypi_pins(metaflow_pins(datastore)) if name not in names]
