"""Run what `step-functions create --only-json` prints, job by job.

As much of the Amazon States Language as Metaflow writes: Batch jobs, a DynamoDB item, Map and Parallel, and paths into
a state's input. Tables are kept by moto.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.batch_server import OVERRIDES_BYTES, job_variables
from tests.support.job_server import Json
from tests.support.object_servers import ObjectServer
from tests.support.sandbox import Image
from tests.support.workflows import WorkflowRun

TABLE: Final = "flow-state"
_STEP = re.compile(r"\.?\[(\d+)\]|\.?\['([^']+)'\]|\.([\w-]+)")
_SEVERAL = re.compile(r"\$\.\[('[^\]]+')\]")


def create_table(server: ObjectServer) -> None:
    """Make the table in which Metaflow keeps the width of a foreach."""
    client = _tables(server)
    client.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pathspec", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pathspec", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.close()


def run_step_functions(
    document: Json, image: Image, directory: Path, tables: ObjectServer, parameters: Mapping[str, Any] | None = None
) -> WorkflowRun:
    """Run a state machine to its end.

    Args:
        document: What was printed, parsed.
        image: What the jobs' containers start from.
        directory: New; the containers' directories are made there.
        tables: The server with the table of `create_table`.
        parameters: The flow's parameters.

    Raises:
        WorkflowFailedError: A job failed as often as it may.
        ValueError: A job is larger than Batch takes.
    """
    run = WorkflowRun(image, directory)
    context = {"Execution": {"Name": uuid.uuid4().hex[:8]}}
    machine = _Machine(run, tables)
    machine.run(document, {"Parameters": json.dumps(parameters or {})}, context)
    return run


class _Machine:
    def __init__(self, run: WorkflowRun, tables: ObjectServer) -> None:
        self._run = run
        self._tables = tables

    def run(self, states: Json, given: Any, context: Json) -> Any:
        """Run states from the first to the last and return the last one's output."""
        name: str | None = states["StartAt"]
        while name is not None:
            state = states["States"][name]
            result = self._state(name, state, given, context)
            if state.get("ResultPath", "$") != "$":
                result = {**given, state["ResultPath"].removeprefix("$."): result}
            given = _selected(state.get("OutputPath", "$"), result, context)
            name = state.get("Next")
        return given

    def _state(self, name: str, state: Json, given: Any, context: Json) -> Any:
        if state["Type"] == "Parallel":
            return [self.run(branch, given, context) for branch in state["Branches"]]
        if state["Type"] == "Map":
            items = _selected(state["ItemsPath"], given, context)
            contexts = [{**context, "Map": {"Item": {"Value": item}}} for item in items]
            return [self.run(state["Iterator"], _resolved(state["Parameters"], given, c), c) for c in contexts]
        parameters = _resolved(state["Parameters"], given, context)
        if state["Resource"].endswith("dynamodb:getItem"):
            client = _tables(self._tables)
            try:
                return client.get_item(**parameters)
            finally:
                client.close()
        return self._job(name, parameters)

    def _job(self, name: str, asked: Json) -> Json:
        overrides = asked["ContainerOverrides"]
        size = len(json.dumps(overrides, separators=(",", ":")))
        if size > OVERRIDES_BYTES:
            raise ValueError(
                f"the job of {name} has container overrides of {size} bytes, Batch takes {OVERRIDES_BYTES}"
            )
        job_id = str(uuid.uuid4())
        variables = {each["Name"]: str(each["Value"]) for each in overrides["Environment"]}

        def command(attempt: int) -> tuple[list[str], dict[str, str]]:
            own = {**job_variables(job_id), "AWS_BATCH_JOB_ATTEMPT": str(attempt + 1)}
            return overrides["Command"], {**variables, **own}

        self._run.task(name, asked["RetryStrategy"]["Attempts"], command)
        return {"JobId": job_id, "Parameters": asked["Parameters"]}


def _resolved(value: Any, given: Any, context: Json) -> Any:
    """Return a state's parameters: a key that ends in `.$` holds a path."""
    if isinstance(value, list):
        return [_resolved(each, given, context) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key.removesuffix(".$"): _selected(each, given, context)
        if key.endswith(".$")
        else _resolved(each, given, context)
        for key, each in value.items()
    }


def _selected(path: str, given: Any, context: Json) -> Any:
    several = _SEVERAL.fullmatch(path)
    if several and "," in several.group(1):
        names = re.findall(r"'([^']+)'", several.group(1))
        return {name: given[name] for name in names if name in given}
    value: Any = context if path.startswith("$$") else given
    for number, quoted, plain in _STEP.findall(path.lstrip("$")):
        value = value[int(number)] if number else value[quoted or plain]
    return value


def _tables(server: ObjectServer) -> Any:
    from botocore.session import Session  # type: ignore[import-untyped]

    return Session().create_client(
        "dynamodb",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
    )
