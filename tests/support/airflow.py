"""Run the tasks of the file that `airflow create` writes, pod by pod, without Airflow.

The file holds one literal that describes all pods; their templates use a dozen fixed expressions, which are evaluated
here. The pods write to `/airflow`, so the image must be a whole system.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.job_server import Json
from tests.support.kubernetes_server import container_variables
from tests.support.sandbox import Image
from tests.support.workflows import WorkflowRun

_EXPRESSION = re.compile(r"\{\{(.*?)\}\}")
_PULL = re.compile(r"task_instance\.xcom_pull\(task_ids='([^']+)',\s*key='metaflow_task_id'\)(\s*\|\s*join_list)?")
_RESULT = "/airflow/xcom/return.json"
_POD_FIELDS = {  # what the written file asks for in code, not in its literal
    "METAFLOW_KUBERNETES_POD_NAMESPACE": "metadata.namespace",
    "METAFLOW_KUBERNETES_POD_NAME": "metadata.name",
    "METAFLOW_KUBERNETES_POD_ID": "metadata.uid",
    "METAFLOW_KUBERNETES_SERVICE_ACCOUNT_NAME": "spec.serviceAccountName",
    "METAFLOW_KUBERNETES_NODE_IP": "status.hostIP",
}


def run_airflow(file: Path, image: Image, directory: Path, parameters: Mapping[str, Any] | None = None) -> WorkflowRun:
    """Run all tasks of a compiled flow in the order of its graph.

    Args:
        file: What `airflow create` wrote.
        image: A whole system.
        directory: New; the pods' directories are made there.
        parameters: Values in place of the flow's own.

    Raises:
        WorkflowFailedError: A task failed as often as it may.
    """
    configuration = _literal(file, "CONFIG")
    run = WorkflowRun(image, directory, empty=("/airflow/xcom",))
    defaults = {each["name"]: each["default"] for each in configuration.get("metaflow_params", [])}
    dag = _Dag(run, configuration["states"], {**defaults, **(parameters or {})})
    dag.run(configuration["graph_structure"], None)
    return run


def _literal(file: Path, name: str) -> Json:
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            value: Json = ast.literal_eval(node.value)
            return value
    raise LookupError(f"{file} has no {name}")


class _Dag:
    def __init__(self, run: WorkflowRun, states: Mapping[str, Json], parameters: Mapping[str, Any]) -> None:
        self._run = run
        self._states = states
        self._parameters = parameters
        self._run_id = uuid.uuid4().hex
        self._task_ids: dict[str, list[str]] = {}
        self._widths: dict[str, list[int]] = {}

    def run(self, nodes: list[Any], parent: str | None) -> str | None:
        """Run nodes one after the other; a list of lists is a split."""
        for node in nodes:
            if isinstance(node, str):
                self._step(node, parent)
                parent = node
            elif all(isinstance(each, list) for each in node):
                for branch in node:
                    last = self.run(branch, parent)
                parent = last
            else:
                parent = self.run(node, parent)
        return parent

    def _step(self, name: str, parent: str | None) -> None:
        state = self._states[name]
        indexes = self._widths[parent] if state["is_mapper_node"] and parent else [-1]
        self._task_ids[name] = [self._task(name, state["operator_args"], index) for index in indexes]

    def _task(self, name: str, asked: Json, index: int) -> str:
        pod = {"name": f"{name}-pod", "uid": str(uuid.uuid4())}
        fields = [{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in _POD_FIELDS.items()]

        def command(attempt: int) -> tuple[list[str], dict[str, str]]:
            variables = container_variables({"env": asked["env_vars"] + fields}, pod)
            filled = {key: self._filled(value, name, index, attempt) for key, value in variables.items()}
            return [self._filled(word, name, index, attempt) for word in asked["cmds"]], filled

        container = self._run.task(name, 1 + asked["retries"], command)
        result = json.loads(container.file(_RESULT).read_text())
        if "metaflow_foreach_cardinality" in result:
            self._widths[name] = list(range(int(result["metaflow_foreach_cardinality"])))
        task_id: str = result["metaflow_task_id"]
        return task_id

    def _filled(self, text: str, name: str, index: int, attempt: int) -> str:
        def value(match: re.Match[str]) -> str:
            expression = match.group(1).strip()
            pulled = _PULL.fullmatch(expression)
            if pulled:
                return ",".join(self._task_ids[pulled.group(1)])
            if expression.endswith("run_id_creator"):
                return _short(self._run_id)
            if expression.endswith("task_id_creator"):
                return _short(f"{self._run_id}/{name}/{index}")
            fixed = {
                "run_id": self._run_id,
                "ti.job_id": "1",
                "ti.map_index": str(index),
                "task_instance.try_number - 1": str(attempt),
                "params | json_dump": json.dumps(dict(self._parameters)),
            }
            return fixed[expression]

        return _EXPRESSION.sub(value, text)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
