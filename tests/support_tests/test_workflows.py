"""The runners of compiled workflows run plain Metaflow flows as the schedulers would: no asynccache in it."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.support.airflow import run_airflow
from tests.support.argo import run_argo
from tests.support.cloud import Cloud, running_cloud
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.object_servers import moto_server, weed_binary
from tests.support.step_functions import TABLE, create_table, run_step_functions
from tests.support.testdata import REPOSITORY
from tests.support.workflows import WorkflowFailedError, WorkflowRun

FLOW = REPOSITORY / "tests" / "support" / "flows" / "plain_flow.py"

pytestmark = [
    pytest.mark.cloud,
    pytest.mark.timeout(600),
    pytest.mark.skipif(weed_binary() is None, reason="SeaweedFS is not installed"),
]


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return launch_venv(asynccache=False) / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))


@pytest.fixture
def system_cloud(tmp_path: Path) -> Iterator[Cloud]:
    try:
        with running_cloud(tmp_path / "cloud", chroot=True) as running:
            yield running
    except LookupError as error:
        pytest.skip(str(error))


def compiled(cloud: Cloud, python: Path, *words: str, variables: Mapping[str, str] | None = None) -> str:
    done = cloud.flow(python, FLOW, *words, variables=variables)
    assert not done.returncode, done.stdout
    return done.stdout


def assert_it_ran(run: WorkflowRun) -> None:
    assert len(run.containers) == 7
    assert sum("the planned failure" in container.output for container in run.containers) == 1
    (said,) = run.outputs("end")
    assert "FOUND [(0, 0, " in said
    assert "(1, 1, " in said
    assert "(2, 0, " in said


def test_argo_workflows_are_run_with_their_foreach_and_retries(system_cloud: Cloud, python: Path) -> None:
    printed = compiled(system_cloud, python, "argo-workflows", "create", "--only-json")
    document = json.loads(printed[printed.index("\n{") :])

    assert_it_ran(run_argo(document, system_cloud.image, system_cloud.directory.parent / "argo"))


def test_an_argo_workflow_whose_task_fails_for_good_says_so(system_cloud: Cloud, python: Path) -> None:
    printed = compiled(system_cloud, python, "argo-workflows", "create", "--only-json")
    document = json.loads(printed[printed.index("\n{") :])
    for template in document["spec"]["templates"]:
        template.pop("retryStrategy", None)

    with pytest.raises(WorkflowFailedError, match="the planned failure"):
        run_argo(document, system_cloud.image, system_cloud.directory.parent / "argo")


def test_airflow_dags_are_run_with_their_foreach_and_retries(system_cloud: Cloud, python: Path) -> None:
    compiled(system_cloud, python, "airflow", "create", "compiled.py")

    file = system_cloud.directory / "compiled.py"
    assert_it_ran(run_airflow(file, system_cloud.image, system_cloud.directory.parent / "airflow"))


def test_state_machines_are_run_with_their_foreach_and_retries(tmp_path: Path, python: Path) -> None:
    with moto_server() as tables:
        create_table(tables)
        try:
            with running_cloud(
                tmp_path / "cloud", chroot=False, node_variables={"AWS_ENDPOINT_URL_DYNAMODB": tables.url}
            ) as cloud:
                variables = {
                    "AWS_ENDPOINT_URL": tables.url,
                    "METAFLOW_SFN_IAM_ROLE": "arn:aws:iam::123456789012:role/machine",
                    "METAFLOW_SFN_DYNAMO_DB_TABLE": TABLE,
                }
                printed = compiled(cloud, python, "step-functions", "create", "--only-json", variables=variables)
                document = json.loads(printed[printed.index("\n{") :])

                assert_it_ran(run_step_functions(document, cloud.image, tmp_path / "jobs", tables))
        except CannotInstallError as error:
            pytest.skip(str(error))
