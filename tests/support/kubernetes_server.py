"""A stand-in for the Kubernetes API that runs batch/v1 jobs in containers on this machine.

with KubernetesServer(image, directory) as kubernetes:
    ...  # KUBECONFIG=kubernetes.configuration; kubernetes.containers
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from tests.support.job_server import ApiError, JobServer, Json
from tests.support.sandbox import Container, Image

NAMESPACE: Final = "default"


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class KubernetesServer(JobServer):
    """One namespace with jobs and their pods; see JobServer for arguments."""

    def __init__(self, image: Image, directory: Path, *, at_once: int = 4) -> None:
        super().__init__(image, directory, at_once=at_once)
        self._jobs: dict[str, tuple[Json, Json, Container]] = {}

    @property
    def configuration(self) -> Path:
        """A client configuration that leads here; written again."""
        path = self._directory / "kubeconfig.json"
        context = {"cluster": "here", "user": "tester", "namespace": NAMESPACE}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "users": [{"name": "tester", "user": {}}],
                    "clusters": [{"name": "here", "cluster": {"server": self.url}}],
                    "contexts": [{"name": "here", "context": context}],
                }
            )
        )
        return path

    def failure(self, error: ApiError) -> Json:
        """Return a Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": str(error),
            "code": error.status,
        }

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Json]:
        """Answer for jobs and pods."""
        parts = urlsplit(path)
        collection, _, name = parts.path.rpartition("/")
        if method == "POST" and name == "jobs":
            return 201, self._create(body)
        if method == "GET" and name in {"pods", "jobs"}:
            return 200, self._list(name, parse_qs(parts.query).get("labelSelector", [""])[0])
        if collection.endswith("/jobs") and name in self._jobs:
            job, _pod, container = self._jobs[name]
            if method == "DELETE" or (method == "PATCH" and body.get("spec", {}).get("parallelism") == 0):
                self.terminate(container)
            return 200, job
        raise ApiError(404, f"the stand-in knows nothing of {method} {path}")

    def _create(self, job: Json) -> Json:
        metadata = job["metadata"]
        name = metadata.get("name") or metadata.get("generateName", "job-") + uuid.uuid4().hex[:5]
        metadata.update(name=name, uid=str(uuid.uuid4()), creationTimestamp=_now(), namespace=NAMESPACE)
        job["status"] = {"active": 1}
        labels = {**job["spec"]["template"].get("metadata", {}).get("labels", {}), "job-name": name}
        pod: Json = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"{name}-pod", "uid": str(uuid.uuid4()), "namespace": NAMESPACE, "labels": labels},
            "status": {"phase": "Pending"},
        }
        asked = job["spec"]["template"]["spec"]["containers"][0]
        container = self.launch(
            name,
            [*(asked.get("command") or []), *(asked.get("args") or [])],
            container_variables(asked, pod["metadata"]),
            started=lambda: _begin(job, pod, asked),
            ended=lambda code: _end(job, pod, code),
        )
        self._jobs[name] = job, pod, container
        return job

    def _list(self, kind: str, selector: str) -> Json:
        wanted = dict(pair.split("=", 1) for pair in selector.split(",") if "=" in pair)
        items = [
            job if kind == "jobs" else pod
            for job, pod, _ in self._jobs.values()
            if wanted.items() <= pod["metadata"]["labels"].items()
        ]
        return {"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}


def container_variables(asked: Json, pod: Json) -> dict[str, str]:
    """Return a container's environment: plain values, and fields of its pod by the downward API."""
    fields = {
        "metadata.name": pod["name"],
        "metadata.namespace": NAMESPACE,
        "metadata.uid": pod["uid"],
        "spec.nodeName": "node",
        "spec.serviceAccountName": "default",
        "status.hostIP": "127.0.0.1",
        "status.podIP": "127.0.0.1",
    }
    variables = {}
    for entry in asked.get("env") or []:
        source = (entry.get("valueFrom") or {}).get("fieldRef")
        variables[entry["name"]] = fields.get(source["fieldPath"], "") if source else entry.get("value") or ""
    return variables


def _begin(job: Json, pod: Json, asked: Json) -> None:
    began = _now()
    job["status"] = {"active": 1, "startTime": began}
    state = {
        "name": asked["name"],
        "ready": True,
        "restartCount": 0,
        "image": asked["image"],
        "imageID": "",
        "state": {"running": {"startedAt": began}},
    }
    pod["status"] = {"phase": "Running", "startTime": began, "containerStatuses": [state]}


def _end(job: Json, pod: Json, code: int) -> None:
    began = job["status"]["startTime"]
    outcome = {"failed": 1} if code else {"succeeded": 1}
    job["status"] = {**outcome, "startTime": began, "completionTime": _now()}
    pod["status"]["phase"] = "Failed" if code else "Succeeded"
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "startedAt": began, "finishedAt": _now()}
    pod["status"]["containerStatuses"][0]["state"] = {"terminated": ended}
