"""A task's metadata says how its environment was made on the node, and nothing that another task noted."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.metaflow_venv import CannotInstallError, launch_venv

PROGRAM = """
import json, sys
import metaflow
from asynccache.metaflow.step_environment import CondaEnvInternalDecorator


class Provider:
    def register_metadata(self, run_id, step_name, task_id, data):
        print(json.dumps({each.field: json.loads(each.value) for each in data}))


for prefix in (sys.prefix, "/elsewhere"):
    with open("_asynccache_receipt.json", "w") as file:
        json.dump({"prefix": prefix, "source": "pack", "bytes": 17}, file)
    CondaEnvInternalDecorator().task_pre_step("start", None, Provider(), "1", "2", None, None, 0)
"""


def test_the_receipt_of_the_interpreters_own_environment_is_kept_with_its_ids(tmp_path: Path) -> None:
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    ids = ["a" * 40, "b" * 40, "linux-64"]
    variables = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "_METAFLOW_CONDA_ENV": json.dumps(ids)}
    done = subprocess.run(
        [str(python), "-c", PROGRAM], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    own, others = (json.loads(line) for line in done.stdout.splitlines())
    assert own["conda_env_id"] == others["conda_env_id"] == ids
    assert (own["conda_env_receipt"]["source"], own["conda_env_receipt"]["bytes"]) == ("pack", 17)
    assert "conda_env_receipt" not in others
