"""`--with kubernetes`, end to end: the container of the job's specification makes each step's environment."""

from pathlib import Path

import pytest

from tests.metaflow.remote import assert_receipts_are_kept, assert_remote_flow_ran, remote_bed

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1500)]
IMAGES = [pytest.param(False, id="virtual environment"), pytest.param(True, id="changed root")]


@pytest.mark.parametrize("chroot", IMAGES)
@pytest.mark.parametrize("datastore", ["s3", "azure", "gs"])
def test_a_flow_runs_on_kubernetes_with_an_environment_for_each_step(
    tmp_path: Path, datastore: str, chroot: bool
) -> None:
    with remote_bed(tmp_path / "bed", chroot=chroot, datastore=datastore) as bed:
        bed.flow("remote_flow.py", f"--datastore={datastore}", "run", "--with", "kubernetes", "--max-workers", "2")

        assert_remote_flow_ran(bed)
        assert_receipts_are_kept(bed)


def test_an_init_script_of_the_image_does_not_disturb_the_bootstrap(tmp_path: Path) -> None:
    init = {"METAFLOW_INIT_SCRIPT": "export PYTHONPATH=/nowhere; export SEEN=1"}
    with remote_bed(tmp_path / "bed", chroot=False, node_variables=init) as bed:
        bed.flow("one_step_flow.py", "run", "--with", "kubernetes")

        assert bed.artifact("OneStepFlow", "end", "found") == ["1.17.0", "3.10", 0]
