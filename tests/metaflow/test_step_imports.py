"""What runs in a step: standard library and Metaflow, in the syntax of Python 3.7, under every interpreter found."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import asynccache.metaflow
from tests.support.interpreters import find_interpreter
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.testdata import REPOSITORY

VERSIONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
HERE = Path(asynccache.metaflow.__file__).parent
# named in Metaflow's lists, or imported by those that are; all others are imported where flows are launched
IN_STEPS = (
    "architecture", "commands", "configuration", "decorator_arguments", "decorators", "engine_available",
    "environment", "environment_values", "errors", "fetch_on_node", "flow_commands", "merge", "mutators",
    "node_commands", "other_functions", "other_names", "package_values", "parsers", "remote_bootstrap",
    "runner", "step_environment", "values", "wait_and_run", "wording",
)  # fmt: skip
REQUESTS = """
class Session:
    def mount(self, *words):
        pass


class adapters:
    HTTPAdapter = staticmethod(lambda **words: None)
"""
PROGRAM = """
import sys
sys.path[:0] = {places!r}
before = set(sys.modules)
import metaflow
from metaflow import FlowSpec, conda, conda_base, named_env, pypi, pypi_base, resolved_req, resolved_uv, sys_packages
for name in {modules!r}:
    __import__('asynccache.metaflow.' + name)
from metaflow_extensions.netflixext.plugins.conda.parsers import req_parser
from asynccache.metaflow.environment import CondaEnvironment
try:
    CondaEnvironment(None).launch  # as a Runner does inside of a step
except Exception as error:
    print('refused', error)
own = sorted(n for n in sys.modules if n.split('.')[0] == 'asynccache')
assert not any(n.split('.')[1:2] in (['engine'], ['ops'], ['resolve'], ['store'], ['model']) for n in own), own
print('imported by', sys.version_info[:2])
"""


@pytest.mark.parametrize("name", IN_STEPS)
def test_a_module_of_steps_is_python_3_7_and_imports_standard_library_and_metaflow(name: str) -> None:
    text = (HERE / f"{name}.py").read_text()
    tree = ast.parse(text, feature_version=(3, 7))
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [a.name for n in top if isinstance(n, ast.Import) for a in n.names]
    names += [n.module or "" for n in top if isinstance(n, ast.ImportFrom)]

    allowed = set(sys.stdlib_module_names) | {"metaflow"}
    foreign = [n for n in names if n.split(".")[0] not in allowed]
    rooms = ("asynccache.metaflow.", "asynccache.boot", "asynccache.node.", "asynccache.errors")
    assert all(n.startswith(rooms) or n == "asynccache" for n in foreign), foreign
    assert {n.split(".")[2] for n in foreign if n.startswith("asynccache.metaflow.")} <= set(IN_STEPS)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("flows")
@pytest.mark.parametrize("version", VERSIONS)
def test_every_python_of_a_step_imports_it(version: str, tmp_path: Path) -> None:
    interpreter = find_interpreter(version)
    if interpreter is None:
        pytest.skip(f"there is no Python {version} on this machine")
    try:
        site = next((launch_venv(asynccache=False) / "lib").glob("python*/site-packages"))
    except CannotInstallError as error:
        pytest.skip(str(error))
    # Metaflow alone, and what it imports of requests: compiled packages of the venv are for another Python
    places = tmp_path / "places"
    places.mkdir()
    (places / "metaflow").symlink_to(site / "metaflow")
    for name in ("asynccache", "metaflow_extensions"):
        (places / name).symlink_to(REPOSITORY / name)
    (places / "requests.py").write_text(REQUESTS)
    program = PROGRAM.format(places=[str(places)], modules=IN_STEPS)

    done = subprocess.run(
        [str(interpreter), "-S", "-c", program],
        env={"HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "imported by" in done.stdout
    assert "refused Environments cannot be resolved with this Python" in done.stdout
    assert "Traceback" not in done.stderr
