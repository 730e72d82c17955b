"""The environment types `conda` and `pypi` of Metaflow: each step in an environment of its own.

Instances are made in every process that runs a flow, also in the Python of a step: nothing is read and no engine is
imported before a flow is launched or deployed.
"""

from __future__ import annotations

import json
import os
from typing import Any, Iterator, Sequence

from metaflow.metaflow_environment import MetaflowEnvironment

IDS_VARIABLE = "_METAFLOW_CONDA_ENV"
INTERNAL = "conda_env_internal"


class CondaEnvironment(MetaflowEnvironment):
    """Resolves what the steps of a flow ask for, and gives each its interpreter."""

    TYPE = "conda"

    def __init__(self, flow: Any) -> None:
        super().__init__(flow)
        self._flow = flow
        self._datastore_type = "local"
        self._launch: Any = None

    @property
    def base_env(self) -> Any:
        """The environment that this one builds on."""
        return MetaflowEnvironment(self._flow)

    @property
    def launch(self) -> Any:
        """The flow's environments, where it is launched; imports the engine.

        Raises:
            CondaException: This Python has not what the engine needs.
        """
        if self._launch is None:
            from asynccache.metaflow.engine_available import require_engine  # noqa: PLC0415 - not in steps

            require_engine()
            from asynccache.metaflow.launch import Launch  # noqa: PLC0415 - not in steps

            self._launch = Launch(self._flow, self._datastore_type)
        return self._launch

    def set_local_root(self, local_root: str) -> None:
        """Accept what Metaflow's own decorators pass to their environment; it is not needed."""

    def validate_environment(self, logger: Any, datastore_type: str) -> None:
        """Note the datastore; nothing else happens in the many processes that call this."""
        self._datastore_type = datastore_type

    def init_environment(self, echo: Any) -> None:
        """Resolve and cache what the flow needs, before it runs or is deployed.

        Raises:
            MetaflowException: Something cannot be obtained; says what and for which step.
        """
        self.launch.prepare(echo)

    def decospecs(self) -> tuple[str, ...]:
        """Return the decorator that every step gets."""
        return (INTERNAL, *super().decospecs())

    def executable(self, step_name: str, default: str | None = None) -> str:
        """Return the interpreter of a step on a node, as its command names it."""
        if self.target(step_name) is None:
            return super().executable(step_name, default)
        from asynccache.metaflow.node_commands import EXECUTABLE  # noqa: PLC0415 - not in steps

        return EXECUTABLE

    def bootstrap_commands(self, step_name: str, datastore_type: str) -> list[str]:
        """Return the commands that make a step's environment on a node."""
        target = self.target(step_name)
        if target is None:
            return list(super().bootstrap_commands(step_name, datastore_type))
        from asynccache.metaflow.node_commands import node_commands  # noqa: PLC0415 - not in steps

        return node_commands(target)

    def target(self, step_name: str) -> Sequence[str] | None:
        """Return the ids of a step's environment (req_id, full_id, arch).

        An environment that is looked up when the task starts is (name, `_fetch_exec`, ""). None for a step without.
        """
        if all(step.name != step_name for step in self._flow):
            return None  # Metaflow's own, such as _parameters
        if self._launch is not None and self._launch.prepared:
            return self._launch.target(step_name)
        if IDS_VARIABLE in os.environ:  # in the process that submits one task
            return ids_from(os.environ[IDS_VARIABLE])
        return self.launch.known_target(step_name)

    def get_env_id(self, conda: Any, step_name: str) -> Any:
        """Return ids, or the name of an environment that is looked up later, or None."""
        target = self.target(step_name)
        return None if target is None else target[0] if target[1] == "_fetch_exec" else tuple(target)

    def get_env_id_noconda(self, step_name: str) -> Any:
        """Return what `get_env_id` returns."""
        return self.get_env_id(None, step_name)

    def add_to_package(self) -> Iterator[tuple[Any, ...]]:
        """Yield what nodes need besides the code: the environments of this flow, and no others."""
        yield from super().add_to_package()
        if self._launch is not None:
            yield from self._launch.package_files()

    def pylint_config(self) -> list[str]:
        """Let modules be missing here that are in a step's environment."""
        return [*super().pylint_config(), "--disable=F0401"]

    @classmethod
    def get_client_info(cls, flow_name: str, metadata: dict[str, str]) -> Any:
        """Return what is known of the environment that a task ran in."""
        ids = ids_from(metadata.get("conda_env_id", ""))
        if ids is None:
            return {}
        from asynccache.metaflow.client_info import client_info  # noqa: PLC0415 - not in steps

        return client_info(ids, metadata)


class PypiEnvironment(CondaEnvironment):
    """The same under the name that suits flows of PyPI packages."""

    TYPE = "pypi"


def ids_from(text: str) -> Sequence[str] | None:
    """Return the ids that a variable or metadata field holds, None if it holds none."""
    try:
        ids = json.loads(text) if text else None
    except ValueError:
        return None
    return ids if isinstance(ids, list) and len(ids) == 3 and all(isinstance(part, str) for part in ids) else None
