"""Flows whose datastore is Azure's or Google Cloud's run here, each step in an environment out of that datastore."""

import json
from pathlib import Path

import pytest

from tests.metaflow.local import START
from tests.metaflow.remote import remote_bed
from tests.support.metaflow_venv import NODE

pytestmark = [pytest.mark.cloud, pytest.mark.timeout(1500)]


@pytest.mark.parametrize("datastore", ["azure", "gs"])
def test_a_step_runs_here_with_what_metaflow_needs_for_its_datastore(tmp_path: Path, datastore: str) -> None:
    with remote_bed(tmp_path / "bed", chroot=False, datastore=datastore) as bed:
        # the option alone says it
        variables = {"METAFLOW_DEFAULT_DATASTORE": "local"}
        chosen = f"--datastore={datastore}"
        bed.flow("one_step_flow.py", chosen, "run", variables=variables)
        output = tmp_path / "shown.json"
        bed.flow("one_step_flow.py", chosen, "environment", "show", "--output", str(output), variables=variables)

        assert bed.artifact("OneStepFlow", "end", "found")[:2] == ["1.17.0", "3.10"]
        ids = json.loads(
            bed.cloud.look(bed.python, "Flow('OneStepFlow').latest_run['start'].task.metadata_dict['conda_env_id']")
        )
        shown = json.loads(output.read_text())["start"]
        assert shown["env_id"] == ids
        assert set(shown["requested_packages"]["conda"]) == {*NODE[datastore], "python", "six"}
        words = ("environment", "--quiet", chosen, "show", "--pathspec", "OneStepFlow/latest/start")
        done = bed.cloud._run([str(bed.python), "-c", START, *words], variables)
        assert f"{ids[0]} {ids[1]} " in done.stdout, done.stdout
