"""The stand-ins for Batch and Kubernetes keep the services' promises, and their containers know only their own."""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from botocore.session import Session  # type: ignore[import-untyped]

from tests.support.batch_server import OVERRIDES_BYTES, QUEUE, BatchServer
from tests.support.debian_image import debian_image
from tests.support.kubernetes_server import KubernetesServer
from tests.support.sandbox import Image, run
from tests.support.testdata import REPOSITORY
from tests.support.waiting import until


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[BatchServer]:
    with BatchServer(Image(tmp_path / "none", whole=False), tmp_path / "batch") as server:
        yield server


@pytest.fixture
def client(batch: BatchServer) -> Iterator[Any]:
    made = Session().create_client(
        "batch",
        endpoint_url=batch.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )
    yield made
    made.close()


def submit(client: Any, *command: str, **environment: str) -> str:
    definition = client.register_job_definition(
        jobDefinitionName="definition",
        type="container",
        containerProperties={"image": "python", "command": ["true"]},
    )
    overrides = {"command": command, "environment": [{"name": k, "value": v} for k, v in environment.items()]}
    answer = client.submit_job(
        jobName="job", jobQueue=QUEUE, jobDefinition=definition["jobDefinitionArn"], containerOverrides=overrides
    )
    job_id: str = answer["jobId"]
    return job_id


def job(client: Any, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.describe_jobs(jobs=[job_id])["jobs"][0]
    return found


def test_a_batch_job_ends_with_its_command_and_says_how(batch: BatchServer, client: Any) -> None:
    good = submit(client, "sh", "-c", "echo $GREETING", GREETING="hello")
    bad = submit(client, "sh", "-c", "exit 3")
    until(lambda: {job(client, each)["status"] for each in (good, bad)} == {"SUCCEEDED", "FAILED"})

    assert job(client, good)["container"]["exitCode"] == 0
    assert job(client, bad)["container"]["exitCode"] == 3
    assert batch.containers[0].output == "hello\n"


def test_container_overrides_larger_than_batch_takes_are_refused(client: Any) -> None:
    with pytest.raises(ClientError, match=f"must be at most {OVERRIDES_BYTES}"):
        submit(client, "sh", "-c", "true " + "x" * OVERRIDES_BYTES)


def test_a_terminated_batch_job_fails(batch: BatchServer, client: Any) -> None:
    job_id = submit(client, "sleep", "60")
    until(lambda: job(client, job_id)["status"] == "RUNNING")
    client.terminate_job(jobId=job_id, reason="enough")

    until(lambda: job(client, job_id)["status"] == "FAILED")
    assert batch.containers[0].exit_code


def test_what_still_runs_when_the_server_ends_is_ended(tmp_path: Path) -> None:
    with KubernetesServer(Image(tmp_path / "none", whole=False), tmp_path / "kubernetes") as server:
        call(server, "POST", "/apis/batch/v1/namespaces/default/jobs", kubernetes_job("sleep", "60"))
        until(lambda: server.containers[0].process is not None)

    assert server.containers[0].exit_code is not None


def kubernetes_job(*command: str) -> dict[str, Any]:
    pod_name = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    container = {"name": "main", "image": "python", "command": command, "env": [pod_name]}
    return {"metadata": {"name": "job"}, "spec": {"template": {"spec": {"containers": [container]}}}}


def call(server: KubernetesServer, method: str, path: str, body: Any = None) -> dict[str, Any]:
    data = json.dumps(body).encode() if body is not None else None
    with urllib.request.urlopen(urllib.request.Request(server.url + path, data, method=method), timeout=10) as answer:
        parsed: dict[str, Any] = json.load(answer)
        return parsed


def test_a_kubernetes_job_has_a_pod_whose_fields_it_sees(tmp_path: Path) -> None:
    with KubernetesServer(Image(tmp_path / "none", whole=False), tmp_path / "kubernetes") as server:
        jobs = "/apis/batch/v1/namespaces/default/jobs"
        call(server, "POST", jobs, kubernetes_job("sh", "-c", "echo $POD; exit 7"))
        until(lambda: call(server, "GET", f"{jobs}/job")["status"].get("failed") == 1)
        pods = call(server, "GET", "/api/v1/namespaces/default/pods?labelSelector=job-name%3Djob")["items"]

        assert pods[0]["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
        assert server.containers[0].output == f"{pods[0]['metadata']['name']}\n"
        with pytest.raises(urllib.error.HTTPError, match="404"):
            call(server, "GET", f"{jobs}/another")


def test_a_container_sees_only_the_variables_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_TEST", "seen")
    container = run(Image(tmp_path / "none", whole=False), tmp_path / "c", ["env"], {"GIVEN": "1"})

    names = {line.split("=")[0] for line in container.output.splitlines()}
    assert names - {"PWD", "SHLVL", "_"} == {"GIVEN", "HOME", "LANG", "PATH", "TMPDIR"}
    assert os.environ["HOME"] not in container.output


@pytest.mark.cloud
@pytest.mark.timeout(600)
def test_a_changed_root_hides_this_machine_and_keeps_what_was_written(tmp_path: Path) -> None:
    root = debian_image()
    if root is None:
        pytest.skip("there is no Debian for containers here")
    shared = tmp_path / "volume"
    shared.mkdir()
    image = Image(root, whole=True, volumes=(shared,))
    script = f"cat /etc/debian_version; ls {tmp_path}; ps 2>/dev/null; echo $$; touch /etc/mine {shared}/ours work.txt"
    container = run(image, tmp_path / "c", ["sh", "-c", script], {})

    assert container.exit_code == 0, container.output
    assert (shared / "ours").exists()
    assert container.file("/etc/mine").exists()
    assert container.file("work.txt").exists()
    assert not (root / "etc" / "mine").exists()
    assert "volume" in container.output
    assert str(REPOSITORY) not in container.output
