"""A stand-in for AWS Batch that runs what is submitted to it in containers on this machine.

It answers the calls that Metaflow makes (the REST-JSON protocol of the service's API reference, version 2016-08-10)
and refuses, as the service does, container overrides of more than 8,192 bytes.

    with BatchServer(image, directory) as batch:
        ...  # AWS_ENDPOINT_URL_BATCH=batch.url; batch.containers
"""

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Final

from tests.support.job_server import ApiError, JobServer, Json
from tests.support.sandbox import Container, Image

QUEUE: Final = "queue"
OVERRIDES_BYTES: Final = 8192  # "Container Overrides length must be at most 8192", says SubmitJob
_ACCOUNT: Final = "arn:aws:batch:us-east-1:123456789012"


def _now() -> int:
    return int(time.time() * 1000)


class BatchServer(JobServer):
    """One queue, one compute environment, any number of job definitions; see JobServer for arguments."""

    def __init__(self, image: Image, directory: Any, *, at_once: int = 4) -> None:
        super().__init__(image, directory, at_once=at_once)
        self.overrides_bytes: list[int] = []
        self._definitions: dict[str, Json] = {}
        self._jobs: dict[str, tuple[Json, Container]] = {}

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        """Answer one of the service's operations."""
        operation = getattr(self, f"_{path.strip('/').rpartition('/')[2]}", None)
        if method != "POST" or operation is None:
            raise ApiError(404, f"the stand-in knows nothing of {method} {path}")
        return 200, operation(body)

    def _describejobqueues(self, _: Json) -> Json:
        order = [{"order": 1, "computeEnvironment": f"{_ACCOUNT}:compute-environment/compute"}]
        queue = {
            "jobQueueName": QUEUE,
            "jobQueueArn": f"{_ACCOUNT}:job-queue/{QUEUE}",
            "state": "ENABLED",
            "status": "VALID",
            "priority": 1,
            "computeEnvironmentOrder": order,
        }
        return {"jobQueues": [queue]}

    def _describecomputeenvironments(self, _: Json) -> Json:
        environment = {
            "computeEnvironmentName": "compute",
            "computeEnvironmentArn": f"{_ACCOUNT}:compute-environment/compute",
            "ecsClusterArn": "arn:aws:ecs:us-east-1:123456789012:cluster/compute",
            "computeResources": {"type": "EC2", "maxvCpus": 2, "subnets": []},
        }
        return {"computeEnvironments": [environment]}

    def _describejobdefinitions(self, body: Json) -> Json:
        definition = self._definitions.get(body.get("jobDefinitionName", ""))
        return {"jobDefinitions": [definition] if definition else []}

    def _registerjobdefinition(self, body: Json) -> Json:
        name = body["jobDefinitionName"]
        arn = f"{_ACCOUNT}:job-definition/{name}:1"
        self._definitions[name] = {**body, "jobDefinitionArn": arn, "revision": 1, "status": "ACTIVE"}
        return {"jobDefinitionArn": arn, "jobDefinitionName": name, "revision": 1}

    def _submitjob(self, body: Json) -> Json:
        overrides = body["containerOverrides"]
        size = len(json.dumps(overrides, separators=(",", ":")))
        self.overrides_bytes.append(size)
        if size > OVERRIDES_BYTES:
            raise ApiError(400, f"Container Overrides length must be at most {OVERRIDES_BYTES}, found {size}")
        arn = body["jobDefinition"]
        definition = next((d for d in self._definitions.values() if d["jobDefinitionArn"] == arn), None)
        if definition is None:
            raise ApiError(400, f"JobDefinition {arn} does not exist")
        properties = definition["containerProperties"]
        job_id = str(uuid.uuid4())
        job: Json = {
            "jobId": job_id,
            "jobName": body["jobName"],
            "jobQueue": body["jobQueue"],
            "jobDefinition": arn,
            "status": "SUBMITTED",
            "createdAt": _now(),
            "parameters": body.get("parameters", {}),
            "container": {
                "image": properties["image"],
                "command": overrides["command"],
                "environment": overrides.get("environment", []),
            },
        }
        variables = {
            **{e["name"]: e["value"] for e in properties.get("environment", [])},
            **{e["name"]: e["value"] for e in overrides.get("environment", [])},
            **job_variables(job_id),
        }
        container = self.launch(
            job_id,
            overrides["command"],
            variables,
            started=lambda: job.update(status="RUNNING", startedAt=_now()),
            ended=lambda code: _end(job, code),
        )
        self._jobs[job_id] = job, container
        return {"jobId": job_id, "jobName": body["jobName"]}

    def _describejobs(self, body: Json) -> Json:
        return {"jobs": [self._jobs[job_id][0] for job_id in body["jobs"] if job_id in self._jobs]}

    def _listjobs(self, body: Json) -> Json:
        wanted = body.get("jobStatus", "RUNNING")
        jobs = [job for job, _ in self._jobs.values() if job["status"] == wanted]
        return {"jobSummaryList": [{key: job[key] for key in ("jobId", "jobName", "status")} for job in jobs]}

    def _terminatejob(self, body: Json) -> Json:
        if body["jobId"] in self._jobs:
            self.terminate(self._jobs[body["jobId"]][1])
        return {}


def job_variables(job_id: str) -> dict[str, str]:
    """Return what the service itself puts into a container's environment."""
    return {
        "AWS_BATCH_JOB_ID": job_id,
        "AWS_BATCH_JOB_ATTEMPT": "1",
        "AWS_BATCH_CE_NAME": "compute",
        "AWS_BATCH_JQ_NAME": QUEUE,
        "AWS_EXECUTION_ENV": "AWS_ECS_EC2",
        "ECS_CONTAINER_METADATA_URI_V4": "http://127.0.0.1:9/none",
    }


def _end(job: Json, code: int) -> None:
    job["container"]["exitCode"] = code
    if code:
        job["container"]["reason"] = f"Essential container in task exited with {code}"
    job.update(
        status="FAILED" if code else "SUCCEEDED", stoppedAt=_now(), statusReason="Essential container in task exited"
    )
