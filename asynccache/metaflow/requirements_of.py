"""From decorators to requests: what the steps of a flow ask for, identified (contract, sections 7.2 to 7.5)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metaflow.metaflow_environment import InvalidEnvironmentException

from asynccache.metaflow.decorator_arguments import Arguments
from asynccache.metaflow.merge import Ask, AskError, step_ask

if TYPE_CHECKING:
    from asynccache.api import StepInputs

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


def flow_asks(flow: Any, remote_commands: Iterable[str]) -> list[StepAsk]:
    """Return what the steps of a flow ask for, in the flow's order.

    Args:
        flow: The flow, decorators attached.
        remote_commands: Names of decorators that run steps elsewhere.

    Raises:
        InvalidEnvironmentException: Decorators contradict each other.
    """
    from asynccache.api.flows import canonical_version, merge_constraints  # noqa: PLC0415 - where flows are launched

    of_flow = [d.ask(canonical_version) for d in flow_level(flow)]
    commands = set(remote_commands)
    asks = []
    for step in flow:
        try:
            own = [d.ask(canonical_version) for d in step.decorators if isinstance(d, Arguments)]
        except InvalidEnvironmentException as exc:
            raise InvalidEnvironmentException(f"Step '{step.name}': {exc}") from exc
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


def inputs_of(asked: StepAsk, datastore_type: str) -> StepInputs:
    """Return what a step asks for as the engine takes it.

    Args:
        asked: The step.
        datastore_type: Whose pins Metaflow needs.
    """
    from asynccache.api import StepInputs  # noqa: PLC0415 - where flows are launched

    ask = asked.ask
    return StepInputs(
        asked.step,
        asked.arch,
        datastore_type,
        packages=ask.packages,
        sources=ask.sources,
        extras=ask.extras,
        python=ask.python,
        base=ask.base,
        lock=ask.files[0] if ask.files else None,
        unique_keys=ask.unique_keys,
        gpu=asked.gpu,
    )


def _architecture(remote: list[Any]) -> str:
    if not remote:
        from asynccache.model.platform import current_architecture  # noqa: PLC0415 - where flows are launched

        return current_architecture()
    platforms = [getattr(decorator, "target_platform", None) for decorator in remote]
    return next((p for p in platforms if isinstance(p, str) and p), _DEFAULT_REMOTE)


def _gpu(step: Any, remote: list[Any]) -> bool:
    asking = [*remote, *(d for d in step.decorators if d.name == "resources")]
    return any(d.attributes.get("gpu") not in {None, 0, "0"} for d in asking)


def task_variables(flow: Any, store: Any, run_id: str, step: str, task_id: str) -> dict[str, str]:
    """Return what may appear in the name of an environment that is looked up when a task starts.

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
