"""Installed as wheel or editable, beside another extension, and removed again: whose decorators count."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.interpreters import find_interpreter
from tests.support.metaflow_venv import LAUNCH, METAFLOW, CannotInstallError, _uv, build_wheel, launch_venv

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow, pytest.mark.xdist_group("flows")]
WHO = """
import json, metaflow
from metaflow import plugins, cmd
steps = {d.name: d.__module__ for d in plugins.STEP_DECORATORS}
flows = {d.name: d.__module__ for d in plugins.FLOW_DECORATORS}
types = {e.TYPE: e.__module__ for e in plugins.ENVIRONMENTS}
print('VALUE', json.dumps([steps.get('conda'), flows.get('pypi_base'), types['conda'], types['pypi'],
                           sorted(set(steps) & {'named_env', 'sys_packages', 'pip', 'conda_env_internal'}),
                           hasattr(metaflow, 'resolved_uv')]))
"""
OURS = [
    "asynccache.metaflow.decorators",
    "asynccache.metaflow.decorators",
    "asynccache.metaflow.environment",
    "asynccache.metaflow.environment",
    ["conda_env_internal", "named_env", "pip", "sys_packages"],
    True,
]


def run(python: Path, directory: Path, *words: str) -> str:
    done = subprocess.run(
        [str(python), *words],
        cwd=directory,
        env={"HOME": str(directory), "PATH": "/usr/bin:/bin", "METAFLOW_USER": "tester"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def who(python: Path, directory: Path) -> list[object]:
    line = next(each for each in run(python, directory, "-c", WHO).splitlines() if each.startswith("VALUE "))
    found: list[object] = json.loads(line.removeprefix("VALUE "))
    return found


def new_venv(directory: Path, *requirements: str) -> Path:
    python = directory / "venv" / "bin" / "python"
    try:
        _uv("venv", "--quiet", "--python", str(find_interpreter("3.11")), str(directory / "venv"))
        _uv("pip", "install", "--quiet", "--python", str(python), *requirements)
    except RuntimeError as error:
        pytest.skip(str(error))
    return python


@pytest.fixture(scope="module")
def wheel_venv() -> Path:
    try:
        return launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))


def test_a_wheel_takes_the_place_of_what_metaflow_brings(wheel_venv: Path, tmp_path: Path) -> None:
    assert who(wheel_venv, tmp_path) == OURS


def test_an_editable_installation_is_found_too(tmp_path: Path) -> None:
    sources = tmp_path / "sources"
    build_wheel(tmp_path)  # leaves a copy of the sources there
    python = new_venv(tmp_path, METAFLOW, "requests", "--editable", str(sources))

    assert who(python, tmp_path) == OURS


def test_beside_the_other_extension_ours_counts(tmp_path: Path) -> None:
    try:
        python = launch_venv("metaflow-netflixext") / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))

    assert who(python, tmp_path) == OURS
    real = run(python, tmp_path, "-c", "import metaflow, metaflow_extensions.netflixext.plugins.conda.env_descr as m\n"
               "print(m.__file__)")  # fmt: skip
    assert "site-packages/metaflow_extensions/netflixext" in real


def test_removed_it_leaves_what_metaflow_brings(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    python = new_venv(tmp_path, *LAUNCH, wheel.as_uri())
    assert who(python, tmp_path) == OURS

    _uv("pip", "uninstall", "--quiet", "--python", str(python), "asynccache")

    steps, flows, conda, pypi, others, exported = who(python, tmp_path)
    assert steps == "metaflow.plugins.pypi.conda_decorator"
    assert flows == "metaflow.plugins.pypi.pypi_decorator"
    assert (conda, pypi) == ("metaflow.plugins.pypi.conda_environment", "metaflow.plugins.pypi.pypi_environment")
    assert (others, exported) == ([], False)
    shutil.rmtree(tmp_path / "venv")


def test_names_of_the_other_extension_lead_here_where_it_is_not(wheel_venv: Path, tmp_path: Path) -> None:
    program = """
import metaflow
from metaflow_extensions.netflixext.plugins.conda.conda_environment import CondaEnvironment
from metaflow_extensions.netflix_ext.plugins.conda.utils import CondaException, arch_id
from metaflow_extensions.netflixext.plugins.conda.parsers import req_parser
from metaflow_extensions.netflixext.plugins.conda.env_descr import EnvID
from metaflow_extensions.netflixext.plugins.environment_cli import RunnerCLI, StepEnvInfo, cli
print('VALUE', CondaEnvironment.TYPE, arch_id(), req_parser('pandas>=1.0'))
"""
    assert "VALUE conda linux-64 {'packages': {'pandas': '>=1.0'}}" in run(wheel_venv, tmp_path, "-c", program)


def test_importing_metaflow_imports_of_ours_only_what_steps_need(wheel_venv: Path, tmp_path: Path) -> None:
    program = "import json, sys, metaflow; print('VALUE', json.dumps(sorted(sys.modules)))"
    try:
        stock = launch_venv(asynccache=False) / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    ours, theirs = (
        set(json.loads(run(python, tmp_path, "-c", program).partition("VALUE ")[2])) for python in (wheel_venv, stock)
    )
    more = ours - theirs
    rooms = {name.split(".")[1] for name in more if name.startswith("asynccache.")}
    assert rooms == {"errors", "metaflow", "node"}
    # urllib3 takes that one where it is installed
    assert {name.split(".")[0] for name in more} - {"asynccache", "metaflow_extensions"} <= {"backports"}
