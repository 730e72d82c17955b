"""The examples are what schedulers take, and their commands do what they say."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from asynccache.api import Session, Settings
from asynccache.errors import EXIT_CODES
from tests.support.command_line import run_command
from tests.support.fault_server import FaultServer
from tests.support.filled_store import configured, filled
from tests.support.metaflow_venv import CannotInstallError, launch_venv

__all__ = ["configured", "filled"]
EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
MANIFESTS: Final = sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
# read as a client reads what it sends: a field that the API has not is lost on the way, one that it needs is missed
_READ: Final = """
import json, sys
from kubernetes.client import ApiClient
client = ApiClient()
for kind, document in json.load(sys.stdin):
    read = client.deserialize(json.dumps(document), kind, "application/json")
    assert client.sanitize_for_serialization(read) == document, f"{kind}: fields are not known"
"""


def _documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def _containers(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "image" in value and "args" in value:
            yield value
        for each in value.values():
            yield from _containers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _containers(each)


def _run(words: list[str], variables: Mapping[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run what a container would: its arguments, with its variables and those that the scheduler adds."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("ASYNCCACHE_", "METAFLOW_"))}
    home = {"HOME": str(directory), "XDG_CACHE_HOME": str(directory / "xdg")}
    return run_command(words[1:], cwd=directory, env={**clean, **home, **variables})


def test_the_job_of_kubernetes_gives_up_on_what_is_not_worth_another_try() -> None:
    (job,) = _documents(EXAMPLES / "kubernetes" / "backfill-job.yaml")
    (rule,) = (each for each in job["spec"]["podFailurePolicy"]["rules"] if each["action"] == "FailIndex")
    final = [code for code, row in EXIT_CODES.items() if row.retryable is False and code]
    assert rule["onExitCodes"]["values"] == final
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"  # a policy needs it


async def test_pods_of_the_indexed_job_share_a_backfill_and_the_report_adds_up(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    (job,) = _documents(EXAMPLES / "kubernetes" / "backfill-job.yaml")
    (container,) = _containers(job)
    assert job["spec"]["completions"] == 8
    given = {"STORE": str(configured.store), "RUN_ID": "uid"}
    assert set(given) < {each["name"] for each in container["env"]}
    words = [re.sub(r"\$\((\w+)\)", lambda found: given[found[1]], word) for word in container["args"]]
    for index in range(job["spec"]["completions"]):
        directory = tmp_path / f"pod{index}"
        directory.mkdir()
        done = _run(words, {"JOB_COMPLETION_INDEX": str(index)}, directory)
        assert done.returncode == 0, done.stderr
    async with Session(configured) as session:
        run = await session.backfill_run(".conda", 8, run_id="uid")
    run.raise_for_failures()
    assert (run.counts.looked_at, run.counts.made, run.counts.there) == (12, 6, 6)


async def test_jobs_of_the_array_share_a_backfill_and_its_documents_are_what_batch_takes(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    import botocore.session  # type: ignore[import-untyped]
    from botocore.validate import validate_parameters  # type: ignore[import-untyped]

    model = botocore.session.get_session().get_service_model("batch")
    documents = {}
    for name, operation in (("job-definition", "RegisterJobDefinition"), ("submit-job", "SubmitJob")):
        documents[name] = json.loads((EXAMPLES / "batch" / f"{name}.json").read_text("utf-8"))
        validate_parameters(documents[name], model.operation_model(operation).input_shape)
    definition = documents["job-definition"]
    assert definition["jobDefinitionName"] == documents["submit-job"]["jobDefinition"]
    rules = definition["retryStrategy"]["evaluateOnExit"]
    assert len(rules) <= 5  # API reference, RetryStrategy
    again = [int(rule["onExitCode"]) for rule in rules if "onExitCode" in rule]
    assert all(EXIT_CODES[code].retryable for code in again)
    words = [word.replace("Ref::store", str(configured.store)) for word in definition["containerProperties"]["command"]]
    for index in range(3):
        array = {
            "AWS_BATCH_JOB_ARRAY_INDEX": str(index), "AWS_BATCH_JOB_ARRAY_SIZE": "3", "AWS_BATCH_JOB_ID": f"a:{index}",
        }  # fmt: skip
        done = _run(words, array, tmp_path)
        assert done.returncode == 0, done.stderr
    async with Session(configured) as session:
        run = await session.backfill_run(".conda", 3, run_id="a")
    run.raise_for_failures()
    assert (run.counts.looked_at, run.counts.made) == (12, 6)


def test_commands_of_all_manifests_are_commands(tmp_path: Path) -> None:
    found = [container for path in MANIFESTS for each in _documents(path) for container in _containers(each)]
    assert len(found) == 5
    for container in found:
        # an option that is unknown ends with 2, before anything is done
        done = _run([*container["args"], "--help"], {}, tmp_path)
        assert done.returncode == 0, done.stderr
        options = {word for word in container["args"] if word.startswith("--")}
        assert all(option in done.stdout for option in options), container["args"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_api_of_kubernetes_knows_every_field_of_the_manifests() -> None:
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    documents = [(f"V1{each['kind']}", each) for path in MANIFESTS for each in _documents(path)]
    done = subprocess.run(
        [str(python), "-c", _READ],
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
