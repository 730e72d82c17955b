"""Deploying a flow writes a lease of its environments, and a flow whose lease cannot be written is not deployed."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.metaflow_venv import CannotInstallError, launch_venv

# Metaflow's own commands, in the contexts that its command line makes of them
PROGRAM = """
import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace

from metaflow._vendor import click
from metaflow.exception import MetaflowException
from metaflow.plugins.airflow.airflow_cli import cli as airflow
from metaflow.plugins.argo.argo_workflows_cli import cli as argo
from metaflow.plugins.aws.step_functions.step_functions_cli import cli as step_functions

from asynccache.api import Session
from asynccache.config import Settings
from asynccache.metaflow.deployment import deployment
from asynccache.metaflow.launch import Launch
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from datetime import datetime

found = {}
flow = SimpleNamespace(name="Reports", __iter__=lambda self: iter(()))
names = {"workflow_name": "team.reports", "state_machine_name": "team_reports", "dag_name": "dag"}


def inside(cli, group, command, work):
    deployer = cli.commands[group]
    state = SimpleNamespace(flow=flow, **names)
    with click.Context(cli, info_name="flow.py", obj=state) as outer:
        with click.Context(deployer, info_name=group, parent=outer) as middle:
            with click.Context(deployer.commands[command], info_name=command, parent=middle):
                return work()


for cli, group in ((argo, "argo-workflows"), (step_functions, "step-functions"), (airflow, "airflow")):
    found[group] = inside(cli, group, "create", deployment)
found["trigger"] = inside(argo, "argo-workflows", "trigger", deployment)
found["none"] = deployment()

env_id = EnvID("1" * 40, "2" * 40, "linux-64")
environment = ResolvedEnvironment(env_id, Request(), (), datetime(2026, 1, 1), "ann", ("linux-64",))
told = {"bundles": {"linux-64": {"key": "asynccache/bundles/b", "size": 1, "sha256": ""}}}


def launch(store):
    made = Launch(flow, "s3")
    made.__dict__["settings"] = Settings(store=store, cache_dir=Path(sys.argv[1], "cache"), username="ann")
    made._found = {"start": environment, "end": environment}
    return made


async def leases():
    async with Session(Settings(store=sys.argv[1] + "/store", cache_dir=Path(sys.argv[1], "cache"))) as session:
        return [lease.as_document() for lease in (await session.leases()).leases]


made = launch(sys.argv[1] + "/store")
made._lease(told)
inside(argo, "argo-workflows", "create", lambda: made._lease(told))
found["leases"] = asyncio.run(leases())
open(sys.argv[1] + "/file", "w").close()
try:
    inside(argo, "argo-workflows", "create", lambda: launch(sys.argv[1] + "/file/store")._lease(told))
except MetaflowException as exc:
    found["refused"] = str(exc)
print(json.dumps(found))
"""


def test_a_lease_is_written_by_the_three_commands_that_deploy_and_by_no_other(tmp_path: Path) -> None:
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [str(python), "-c", PROGRAM, str(tmp_path)],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "METAFLOW_USER": "ann"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["argo-workflows"] == ["argo-workflows", "team.reports"]
    assert found["step-functions"] == ["step-functions", "team_reports"]
    assert found["airflow"] == ["airflow", "dag"]
    assert found["trigger"] is found["none"] is None
    (lease,) = found["leases"]
    assert lease["name"].startswith("argo-workflows/team.reports/")
    assert (lease["flow"], lease["user"], lease["root"]) == ("Reports", "ann", str(tmp_path / "store"))
    assert lease["environments"] == [{"req_id": "1" * 40, "full_id": "2" * 40, "arch": "linux-64"}]
    assert lease["objects"] == ["asynccache/bundles/b"]
    assert found["refused"].startswith("Reports is not deployed, since `asynccache gc` could remove its environments: ")
