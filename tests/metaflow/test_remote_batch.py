"""`--with batch`, end to end: the job's own command, run in a container, makes each step's environment."""

from pathlib import Path

import pytest

from tests.metaflow.remote import assert_remote_flow_ran, remote_bed
from tests.support.batch_server import OVERRIDES_BYTES

pytestmark = [pytest.mark.timeout(600)]
IMAGES = [pytest.param(False, id="virtual environment"), pytest.param(True, id="changed root")]


@pytest.mark.cloud
def test_a_step_runs_on_batch_in_its_own_environment_and_the_next_one_without(tmp_path: Path) -> None:
    with remote_bed(tmp_path / "bed", chroot=False) as bed:
        bed.flow("one_step_flow.py", "run", "--with", "batch")

        assert bed.artifact("OneStepFlow", "end", "found") == ["1.17.0", "3.10", 0]
        assert max(bed.cloud.batch.overrides_bytes) <= OVERRIDES_BYTES
        assert [container.exit_code for container in bed.containers] == [0, 0]


@pytest.mark.cloud
@pytest.mark.parametrize("chroot", IMAGES)
def test_a_flow_runs_on_batch_with_an_environment_for_each_step(tmp_path: Path, chroot: bool) -> None:
    with remote_bed(tmp_path / "bed", chroot=chroot) as bed:
        bed.flow("remote_flow.py", "run", "--with", "batch", "--max-workers", "2")

        assert_remote_flow_ran(bed)
        assert max(bed.cloud.batch.overrides_bytes) <= OVERRIDES_BYTES


@pytest.mark.cloud
@pytest.mark.parametrize("python", ["3.7", "3.8", "3.9", "3.13"])
def test_an_image_with_another_python_makes_environments_too(tmp_path: Path, python: str) -> None:
    with remote_bed(tmp_path / "bed", chroot=False, node_python=python) as bed:
        bed.flow("one_step_flow.py", "run", "--with", "batch")

        assert bed.artifact("OneStepFlow", "end", "found") == ["1.17.0", "3.10", 0]
