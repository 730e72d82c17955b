"""What `argo-workflows`, `step-functions` and `airflow create` compile runs with an environment for each step."""

import json
from pathlib import Path

import pytest

from tests.metaflow.remote import Bed, remote_bed
from tests.support.airflow import run_airflow
from tests.support.argo import run_argo
from tests.support.object_servers import moto_server
from tests.support.step_functions import TABLE, create_table, run_step_functions
from tests.support.workflows import WorkflowRun

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(600)]


def compiled(bed: Bed, *words: str) -> dict[str, object]:
    printed = bed.flow("remote_flow.py", *words, "create", "--only-json")
    document: dict[str, object] = json.loads(printed[printed.index("\n{") :])
    return document


def assert_it_ran(run: WorkflowRun) -> None:
    assert len(run.containers) == 7
    assert sum("the planned failure" in container.output for container in run.containers) == 1
    (said,) = run.outputs("end")
    line = next(each for each in said.splitlines() if each.startswith("FOUND "))
    for number, attempt in ((0, 0), (1, 1), (2, 0)):
        assert f"[{number}, {attempt}, '3.10', '1.17.0'" in line


def test_an_argo_workflow_runs(tmp_path: Path) -> None:
    with remote_bed(tmp_path / "bed", chroot=True) as bed:
        assert_it_ran(run_argo(compiled(bed, "argo-workflows"), bed.cloud.image, tmp_path / "pods"))


def test_an_airflow_dag_runs(tmp_path: Path) -> None:
    with remote_bed(tmp_path / "bed", chroot=True) as bed:
        bed.flow("remote_flow.py", "airflow", "create", "compiled.py")
        assert_it_ran(run_airflow(bed.cloud.directory / "compiled.py", bed.cloud.image, tmp_path / "pods"))


def test_a_state_machine_runs_and_its_jobs_are_of_a_size_that_batch_takes(tmp_path: Path) -> None:
    with moto_server() as tables:
        create_table(tables)
        node = {"AWS_ENDPOINT_URL_DYNAMODB": tables.url}
        with remote_bed(tmp_path / "bed", chroot=False, node_variables=node) as bed:
            bed.cloud.variables.update(
                {
                    "AWS_ENDPOINT_URL": tables.url,
                    "METAFLOW_SFN_IAM_ROLE": "arn:aws:iam::123456789012:role/machine",
                    "METAFLOW_SFN_DYNAMO_DB_TABLE": TABLE,
                }
            )
            document = compiled(bed, "step-functions")

            assert_it_ran(run_step_functions(document, bed.cloud.image, tmp_path / "jobs", tables))
