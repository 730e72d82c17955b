"""From decorators to requests: what the steps of a flow ask for, identified (contract, sections 7.2 to 7.5)."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from metaflow.metaflow_environment import InvalidEnvironmentException

from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ObjectNotFoundError
from asynccache.metaflow.decorator_arguments import Arguments
from asynccache.metaflow.errors import CondaException
from asynccache.metaflow.merge import Ask, AskError, step_ask
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import current_architecture
from asynccache.ops.environments import Environments
from asynccache.ops.resolve_request import Wanted
from asynccache.resolve.assemble import Assembled, Machine, assemble
from asynccache.resolve.requirement_text import canonical_version, merge_constraints
from asynccache.resolve.requirements import Requirements

_DEFAULT_REMOTE = "linux-64"


@dataclass(frozen=True, slots=True)
class StepAsk:
    """What one step asks for.

    Attributes:
        step: Its name.
        ask: Its decorators and those of the flow, merged.
        arch: conda platform that it runs on.
        remote: Whether it runs elsewhere.
        gpu: Whether it asks for a GPU.
    """

    step: str
    ask: Ask
    arch: str
    remote: bool
    gpu: bool

    @property
    def resolved_at_launch(self) -> bool:
        """Whether its environment is known before the flow runs."""
        return not self.ask.disabled and not self.ask.fetch_at_exec


def flow_asks(flow: Any, remote_commands: Iterable[str], steps: Iterable[str] = ()) -> list[StepAsk]:
    """Return what the steps of a flow ask for, in the flow's order.

    Args:
        flow: The flow, decorators attached.
        remote_commands: Names of decorators that run steps elsewhere.
        steps: Only these; all when empty.

    Raises:
        InvalidEnvironmentException: Decorators contradict each other.
    """
    wanted = set(steps)
    of_flow = [d.ask(canonical_version) for d in flow_level(flow)]
    commands = set(remote_commands)
    asks = []
    for step in flow:
        if wanted and step.name not in wanted:
            continue
        own = [d.ask(canonical_version) for d in step.decorators if isinstance(d, Arguments)]
        try:
            ask = step_ask(step.name, of_flow, own, merge_constraints)
        except AskError as exc:
            raise InvalidEnvironmentException(str(exc)) from exc
        elsewhere = [
            d for d in step.decorators if d.name in commands or getattr(d, "supports_conda_environment", False)
        ]
        asks.append(StepAsk(step.name, ask, _architecture(elsewhere), bool(elsewhere), _gpu(step, elsewhere)))
    return asks


def flow_level(flow: Any) -> list[Arguments]:
    """Return the decorators of a flow that concern environments."""
    by_name: Mapping[str, list[Any]] = flow._flow_decorators  # noqa: SLF001 - Metaflow has no public way
    return [d for decorators in by_name.values() for d in decorators if isinstance(d, Arguments)]


def notices(flow: Any) -> list[str]:
    """Return what a user should write instead of deprecated arguments, each once."""
    every = [*flow_level(flow), *(d for step in flow for d in step.decorators if isinstance(d, Arguments))]
    found = [decorator.notice() for decorator in every]
    return list(dict.fromkeys(text for text in found if text))


async def wanted_of_step(
    asked: StepAsk, catalog: Environments, settings: Settings, datastore_type: str, machine: Machine
) -> Wanted:
    """Return the request of a step.

    Raises:
        CondaException: Its base environment is not there.
        AsyncCacheError: It cannot be assembled, or contradicts its base.
    """
    ask = asked.ask
    requirements = Requirements.of(
        {category: dict(found) for category, found in ask.packages.items() if found},
        sources={category: list(found) for category, found in ask.sources.items() if found},
        extras={"pypi": list(ask.extras)} if ask.extras else {},
        python=ask.python,
    )
    options: dict[str, Any] = {"settings": settings, "datastore": datastore_type, "step": True, "gpu": asked.gpu}
    options["machine"] = machine
    if ask.base is not None:
        from asynccache.resolve.extend import extend  # noqa: PLC0415 - brings version parsers

        base = await base_environment(catalog, ask.base, asked.arch)
        bases = {asked.arch: base}
        return Wanted(asked.step, extend(bases, requirements, arches=[asked.arch], name=ask.base, **options))
    assembled = assemble(requirements, arches=[asked.arch], **options)
    if ask.files:
        return await asyncio.to_thread(_locked, asked, assembled, settings)
    return Wanted(asked.step, assembled, unique_keys=dict(ask.unique_keys))


async def base_environment(catalog: Environments, name: str, arch: str) -> ResolvedEnvironment:
    """Return the environment that a step names.

    Raises:
        CondaException: There is none of that name, or not for this architecture.
    """
    try:
        return await catalog.find(name, arch)
    except ObjectNotFoundError as exc:
        try:
            await catalog.lookup.named(name)
        except AsyncCacheError:
            raise CondaException(f"Base environment '{name}' not found; {exc.hint or exc}") from exc
        raise CondaException(
            f"Base environment '{name}' exists but is not available for architecture '{arch}' ({exc})"
        ) from exc


def _locked(asked: StepAsk, assembled: Mapping[str, Assembled], settings: Settings) -> Wanted:
    """Return a request whose answer stands in a lock file. Blocking."""
    from asynccache.resolve.formats.text import read_text  # noqa: PLC0415 - not in steps
    from asynccache.resolve.locked import LockedResolver, read_lock  # noqa: PLC0415 - brings readers of locks

    path = asked.ask.files[0]
    lock = LockedResolver(read_lock(path, read_text(path)), settings)
    return Wanted(asked.step, assembled, lock=lock, unique_keys=dict(asked.ask.unique_keys))


def _architecture(remote: list[Any]) -> str:
    if not remote:
        return current_architecture()
    platforms = [getattr(decorator, "target_platform", None) for decorator in remote]
    return next((p for p in platforms if isinstance(p, str) and p), _DEFAULT_REMOTE)


def _gpu(step: Any, remote: list[Any]) -> bool:
    asking = [*remote, *(d for d in step.decorators if d.name == "resources")]
    return any(d.attributes.get("gpu") not in {None, 0, "0"} for d in asking)


def task_variables(flow: Any, store: Any, run_id: str, step: str, task_id: str) -> dict[str, str]:
    """Return what may stand in the name of an environment that is looked up when a task starts.

    Args:
        flow: The flow.
        store: Metaflow's datastore of the flow, which has the run's parameters.
        run_id: The run.
        step: Name of the step.
        task_id: The task.
    """
    variables = dict(os.environ)
    variables["METAFLOW_RUN_ID"] = run_id
    variables["METAFLOW_RUN_ID_BASE"] = run_id.rsplit("-", 1)[-1] if run_id.startswith("argo-") else run_id
    variables["METAFLOW_STEP_NAME"] = step
    variables["METAFLOW_TASK_ID"] = task_id
    names = {var: parameter.name for var, parameter in flow._get_parameters()}  # noqa: SLF001 - as above
    kept = store.get_task_datastores(run_id, ["_parameters"], allow_not_done=True) if names and store else []
    for values in kept[:1]:
        for var, name in names.items():
            value = values[var] if var in values else None  # noqa: SIM401 - it has no get()
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            variables["METAFLOW_INIT_" + name.upper().replace("-", "_")] = text
    return variables
