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

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1500)]


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


# collects as if so many days had passed; prints how many environments went, or would go
COLLECT = """
import asyncio
import sys
import time

from asynccache.api import Session
from asynccache.store.base import Store

later = 0.0
Store.timestamp = lambda self: time.time() + later * 24 * 3600


async def collect():
    global later
    gone = 0
    if sys.argv[1] == "without":
        async with Session() as session:
            await session.remove_leases("*")
    for later in (100.0, 101.0):
        async with Session() as session:
            done = await session.gc(unreferenced=True, dry_run=sys.argv[1] == "without")
            done.raise_for_failures()
            gone += (done.swept if sys.argv[1] == "with" else done.marked).by_kind.get("environment") is not None
    print("GONE", gone)


asyncio.run(collect())
"""


def gone(bed: Bed, leases: str) -> bool:
    (bed.cloud.directory / "collect.py").write_text(COLLECT)
    return not bed.cloud.program(bed.python, "collect.py", leases).endswith("GONE 0\n")


@pytest.mark.parametrize("datastore", ["s3", "gs"])
def test_an_argo_workflow_runs_although_its_store_was_collected_long_after_it_was_deployed(
    tmp_path: Path, datastore: str
) -> None:
    with remote_bed(tmp_path / "bed", chroot=True, datastore=datastore) as bed:
        document = compiled(bed, "argo-workflows")
        assert not gone(bed, "with")
        assert_it_ran(run_argo(document, bed.cloud.image, tmp_path / "pods"))
        assert gone(bed, "without"), "its lease was what kept its environments"


@pytest.mark.parametrize("datastore", ["s3", "azure"])
def test_an_airflow_dag_runs(tmp_path: Path, datastore: str) -> None:
    with remote_bed(tmp_path / "bed", chroot=True, datastore=datastore) as bed:
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
