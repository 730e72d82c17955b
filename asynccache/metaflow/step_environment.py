"""The decorator that every step of a flow gets: it runs the step in its environment.

Its name is one of those that `spin` keeps. Standard library, Metaflow, Python 3.7.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from typing import Any

from metaflow.decorators import StepDecorator
from metaflow.metadata_provider import MetaDatum

from asynccache.metaflow.decorators import require_environment
from asynccache.metaflow.environment import IDS_VARIABLE, INTERNAL

_finished: list[Any] = []  # unpacked code of runs that have ended; goes with this process


class CondaEnvInternalDecorator(StepDecorator):
    """Runs the step in its environment."""

    name = INTERNAL

    # the code package, unpacked once for all steps of a run
    _home: tempfile.TemporaryDirectory[str] | None = None
    _variables: dict[str, str] = {}

    def step_init(
        self, flow: Any, graph: Any, step: str, decos: Any, environment: Any, flow_datastore: Any, logger: Any
    ) -> None:
        """Note who gives environments."""
        require_environment(environment, self.name)
        self._environment = environment
        self._step = step
        self._store = flow_datastore

    def runtime_init(self, flow: Any, graph: Any, package: Any, run_id: str) -> None:
        """Unpack the code package: another Python must find the flow's modules, and Metaflow itself."""
        launch = self._environment.launch
        launch.run_id, launch.store = run_id, self._store
        if launch.target(self._step) is None or launch.remote(self._step):
            return
        cls = self.__class__
        if cls._home is None:
            from metaflow.packaging_sys import ContentType  # noqa: PLC0415 - where flows are launched

            cls._home = tempfile.TemporaryDirectory(prefix="metaflow-")
            package.extract_into(cls._home.name, ContentType.ALL_CONTENT)
            cls._variables = _without_marks(
                package.get_post_extract_env_vars(package.package_metadata, cls._home.name), cls._home.name
            )

    def runtime_task_created(
        self, task_datastore: Any, task_id: str, split_index: Any, input_paths: Any, is_cloned: bool, ubf_context: Any
    ) -> None:
        """Begin to create the environment if it is missing; the scheduler of tasks does not wait for it."""
        if not is_cloned and not self._outside(ubf_context):
            # the id that Metaflow passes is None unless it is known beforehand
            self._environment.launch.task_created(self._step, task_datastore.task_id)

    def runtime_step_cli(self, cli_args: Any, retry_count: int, max_user_code_retries: int, ubf_context: Any) -> None:
        """Run the task with the environment's interpreter."""
        launch = self._environment.launch
        target = None if self._outside(ubf_context) else launch.target(self._step, cli_args.task.task_id)
        cli_args.env[IDS_VARIABLE] = launch.as_variable(target)
        if target is None or launch.remote(self._step):
            return
        cli_args.env.update(self._variables)
        cli_args.env["PYTHONNOUSERSITE"] = "1"
        cli_args.env.update(launch.library_path(target))
        cli_args.entrypoint[0:1] = launch.interpreter(target)

    def task_pre_step(
        self,
        step_name: str,
        task_datastore: Any,
        meta: Any,
        run_id: str,
        task_id: str,
        flow: Any,
        graph: Any,
        retry_count: int,
        *_more: Any,
    ) -> None:
        """Let the step find the environment's programs, and record which one it is and what making it took."""
        ids = os.environ.get(IDS_VARIABLE)
        if not ids:
            return
        programs = os.path.dirname(os.path.realpath(sys.executable))
        rest = os.environ.get("PATH")
        os.environ["PATH"] = os.pathsep.join([programs, rest] if rest else [programs])
        fields = {"conda_env_id": ids, "conda_env_receipt": _receipt()}
        tags = [f"attempt_id:{retry_count}"]
        data = [MetaDatum(field=name, value=text, type=name, tags=tags) for name, text in fields.items() if text]
        meta.register_metadata(run_id, step_name, task_id, data)

    def runtime_finished(self, exception: Any) -> None:
        """End what made environments. The unpacked code is removed when this process ends: that takes seconds."""
        cls = self.__class__
        if cls._home is not None:
            _finished.append(cls._home)
            cls._home = None
        self._environment.launch.close(interrupted=isinstance(exception, KeyboardInterrupt))

    def _outside(self, ubf_context: Any) -> bool:
        """Whether this is the task that only waits for others of a group."""
        return ubf_context == "ubf_control" and not any(
            getattr(deco, "conda_env_for_control", False) for deco in self._decorators()
        )

    def _decorators(self) -> Any:
        return next((step.decorators for step in self._environment.launch.flow if step.name == self._step), ())


def _receipt() -> str:
    """Return what a node noted of making the environment that this is, as JSON; empty if nothing was."""
    from asynccache.node.environments import RECEIPT  # noqa: PLC0415 - not when a flow is only looked at

    try:
        with open(RECEIPT, encoding="utf-8") as file:
            text = file.read()
        prefix = json.loads(text)["prefix"]
        return text if os.path.realpath(prefix) == os.path.realpath(sys.prefix) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # a step that runs here


def _without_marks(variables: dict[str, str], home: str) -> dict[str, str]:
    found = {}
    for name, value in variables.items():
        if name.endswith(":"):  # says that the variable is replaced, not added to
            found[name[:-1]] = value
        elif name == "PYTHONPATH":
            found[name] = os.pathsep.join([value, home])
        else:
            found[name] = value
    return found
