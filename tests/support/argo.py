"""Run what `argo-workflows create --only-json` prints, container by container.

As much of Argo Workflows as Metaflow's templates use: a graph of tasks in order of their `depends`, templates that are
graphs themselves, `withParam`, parameters in `{{...}}`, output parameters read from files, retries. The containers
write to `/mnt/out` and `/tmp`, so the image must be a whole system.
"""

from __future__ import annotations

import base64
import json
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from tests.support.job_server import Json
from tests.support.kubernetes_server import container_variables
from tests.support.sandbox import Container, Image
from tests.support.workflows import WorkflowRun

_ENCODED = re.compile(r"\{\{=toBase64\(workflow\.parameters\['([^']+)'\]\)\}\}")
_VALUE = re.compile(r"\{\{([^{}=][^{}]*)\}\}")


def run_argo(document: Json, image: Image, directory: Path, parameters: Mapping[str, str] | None = None) -> WorkflowRun:
    """Run a WorkflowTemplate to its end.

    Args:
        document: What was printed, parsed.
        image: A whole system.
        directory: New; the containers' directories are made there.
        parameters: Values in place of the workflow's own.

    Raises:
        WorkflowFailedError: A task failed as often as it may.
    """
    spec = document["spec"]
    run = WorkflowRun(image, directory, empty=("/mnt/out",))
    asked = {each["name"]: str(each["value"]) for each in spec.get("arguments", {}).get("parameters", [])}
    workflow = _Workflow(run, {each["name"]: each for each in spec["templates"]}, {**asked, **(parameters or {})})
    workflow.run(spec["entrypoint"], {})
    return run


class _Workflow:
    def __init__(self, run: WorkflowRun, templates: Mapping[str, Json], parameters: Mapping[str, str]) -> None:
        self._run = run
        self._templates = templates
        self._parameters = parameters
        self._values = {
            "workflow.name": f"flow-{uuid.uuid4().hex[:6]}",
            "workflow.creationTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }

    def run(self, name: str, inputs: Mapping[str, str]) -> dict[str, str]:
        """Run a template and return its output parameters."""
        template = self._templates[name]
        values = {**self._values, **{f"inputs.parameters.{key}": value for key, value in inputs.items()}}
        if "dag" in template:
            outputs = self._graph(template["dag"]["tasks"], values)
        else:
            outputs = self._container(template, values)
        wanted = template.get("outputs", {}).get("parameters", [])
        return {
            each["name"]: outputs[each["name"]]
            if "path" in each["valueFrom"]
            else _filled(each["valueFrom"]["parameter"], {**values, **outputs})
            for each in wanted
        }

    def _graph(self, tasks: list[Json], values: Mapping[str, str]) -> dict[str, str]:
        """Run the tasks; return `tasks.NAME.outputs.parameters.KEY` of all."""
        known = dict(values)
        waiting = list(tasks)
        done: set[str] = set()
        while waiting:
            task = next(t for t in waiting if _prerequisites(t.get("depends") or "") <= done)
            waiting.remove(task)
            asked = task.get("arguments", {}).get("parameters", [])
            items: list[object] = [None]
            if task.get("withParam"):
                items = json.loads(_filled(task["withParam"], known))
            outputs = [
                self.run(
                    task["template"], {a["name"]: _filled(str(a["value"]), {**known, "item": str(i)}) for a in asked}
                )
                for i in items
            ]
            done.add(task["name"])
            for key in outputs[0]:
                found = [each[key] for each in outputs]
                value = json.dumps(found) if task.get("withParam") else found[0]
                known[f"tasks.{task['name']}.outputs.parameters.{key}"] = value
        return known

    def _container(self, template: Json, values: Mapping[str, str]) -> dict[str, str]:
        asked = template["container"]
        pod = {"name": f"{template['name']}-pod", "uid": str(uuid.uuid4())}

        def command(attempt: int) -> tuple[list[str], dict[str, str]]:
            known = {**values, "retries": str(attempt), "pod.name": pod["name"]}
            variables = container_variables(asked, pod)
            words = [self._text(word, known) for word in asked["command"] + (asked.get("args") or [])]
            return words, {key: self._text(value, known) for key, value in variables.items()}

        tries = 1 + int((template.get("retryStrategy") or {}).get("limit", 0))
        container = self._run.task(template["name"], tries, command)
        return _written(container, template.get("outputs", {}).get("parameters", []))

    def _text(self, text: str, values: Mapping[str, str]) -> str:
        text = _ENCODED.sub(lambda m: base64.b64encode(self._parameters[m.group(1)].encode()).decode(), text)
        return _filled(text, values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _VALUE.sub(lambda match: values[match.group(1).strip()], text)


def _prerequisites(depends: str) -> set[str]:
    """Return the tasks named in an expression such as `a.Succeeded && b.Succeeded`."""
    return set(re.findall(r"([\w-]+)\.Succeeded", depends))


def _written(container: Container, wanted: list[Json]) -> dict[str, str]:
    return {
        each["name"]: container.file(each["valueFrom"]["path"]).read_text().strip()
        for each in wanted
        if "path" in each["valueFrom"]
    }
