"""Installed as wheel or editable, beside another extension, and removed again: whose decorators count."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import asynccache
from asynccache import __version__
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
# every path of the contract's section 13, and the names that others import from it
OTHER_NAMES = """
import json
import metaflow
found, refused = [], []
for top in ('netflixext', 'netflix_ext', 'nflx'):
    names = {}
    exec(f'''
from metaflow_extensions.{top}.plugins.conda.conda import Conda
from metaflow_extensions.{top}.plugins.conda.conda_environment import CondaEnvironment
from metaflow_extensions.{top}.plugins.conda.conda_flow_mutator import call_binary
from metaflow_extensions.{top}.plugins.conda.env_descr import CondaPackageSpecification, EnvID, EnvType
from metaflow_extensions.{top}.plugins.conda.env_descr import PypiPackageSpecification, ResolvedEnvironment, TStr
from metaflow_extensions.{top}.plugins.conda.parsers import parse_req_value, req_parser, toml_parser, yml_parser
from metaflow_extensions.{top}.plugins.conda.remote_bootstrap import main
from metaflow_extensions.{top}.plugins.conda.utils import AliasType, CondaException, arch_id, call_binary
from metaflow_extensions.{top}.plugins.conda.utils import resolve_env_alias
from metaflow_extensions.{top}.plugins.environment_cli import RunnerCLI, StepEnvInfo, cli
from metaflow_extensions.{top}.plugins.huggingface import HuggingFaceAuthProvider, HuggingFaceContext
from metaflow_extensions.{top}.plugins.huggingface import HuggingFaceDecorator
''', names)
    packages = names['req_parser']('pandas>=1.0')['packages']
    maps = [{} for each in range(5)]
    assert names['parse_req_value']('python==3.11\\nsix<=2.0\\n--pre', *maps) == '3.11'
    assert maps[0] == {'pypi': ['--pre']}
    assert names['resolve_env_alias']('a/b:v1') == (names['AliasType'].GENERIC, 'a/b/v1')
    assert names['call_binary'](['-c', 'exit 3'], '/bin/sh', no_exception_on_error=True) == (b'', 3)
    assert (*names['EnvID']('a', 'b', 'c'),) == ('a', 'b', 'c') == names['EnvID']('a', 'b', 'c')
    package = names['PypiPackageSpecification']('six-1.16.0-py3-none-any', 'https://x.test/six-1.16.0-py3-none-any.whl')
    package.add_local_file('.whl', '/dev/null')
    empty = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'
    made = [package.package_name, package.package_version, package.pkg_hash('.whl'), package.local_files]
    assert made == ['six', '1.16.0', empty, [('.whl', '/dev/null')]]
    conda = names['CondaPackageSpecification']('a-1-0', 'https://x.test/a-1-0.conda', hashes={'.conda': 'a' * 32})
    one = names['ResolvedEnvironment']({'conda': ['python==3.11.*', 'a']}, None, None, all_packages=[conda, package])
    again = names['ResolvedEnvironment'].from_dict(one.env_id, json.loads(json.dumps(one.to_dict())))
    assert (again.env_id, again.deps, again.to_dict()) == (one.env_id, one.deps, one.to_dict())
    assert again.env_type is names['EnvType'].MIXED
    found.append(f"{top} {names['CondaEnvironment'].TYPE} {names['arch_id']()} {packages} {maps[2]['six']}"
                 f" {again.env_type.value}")
from metaflow.plugins import conda, huggingface
from metaflow.plugins.conda.env_descr import EnvID
from metaflow.plugins.huggingface import HuggingFaceAuthProvider
assert huggingface.HuggingFaceAuthProvider is HuggingFaceAuthProvider
found.append('metaflow.plugins ' + conda.utils.arch_id())
for statement in ('from metaflow_extensions.nflx.plugins.conda.envsresolver import EnvsResolver',
                  'from metaflow_extensions.netflixext.plugins.conda.utils import hash_directory',
                  'import metaflow.plugins.conda.resolvers.conda_resolver'):
    try:
        exec(statement)
    except ImportError as error:
        refused.append(str(error))
print('VALUE', json.dumps([found, refused]))
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


def test_metaflow_says_our_version_beside_its_own(wheel_venv: Path, tmp_path: Path) -> None:
    program = "from metaflow.metaflow_version import get_version; print(get_version())"
    assert run(wheel_venv, tmp_path, "-c", program).strip().endswith(f"+asynccache({__version__})")


def test_a_wheel_brings_the_schemas_of_what_commands_print(wheel_venv: Path, tmp_path: Path) -> None:
    names = "sorted(path.name for path in (files('asynccache') / 'schemas').iterdir())"
    program = f"from importlib.resources import files; print({names})"
    here = sorted(path.name for path in (Path(asynccache.__file__).parent / "schemas").iterdir())
    assert run(wheel_venv, tmp_path, "-c", program).strip() == str(here)


@pytest.mark.long
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


@pytest.mark.long
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
    found, refused = json.loads(run(wheel_venv, tmp_path, "-c", OTHER_NAMES).partition("VALUE ")[2])

    assert found == [
        "netflixext conda linux-64 {'pandas': '>=1.0'} <=2.0 mixed",
        "netflix_ext conda linux-64 {'pandas': '>=1.0'} <=2.0 mixed",
        "nflx conda linux-64 {'pandas': '>=1.0'} <=2.0 mixed",
        "metaflow.plugins linux-64",
    ]
    resolver, function, inner = refused
    assert "plugins.conda.envsresolver is of metaflow-netflixext, and asynccache" in resolver
    assert "asynccache.api.Session.resolve" in resolver
    assert "plugins.conda.utils.hash_directory is of metaflow-netflixext" in function
    assert "does not give it: plugins.conda.utils has AliasType, CondaException" in function
    assert "plugins.conda.resolvers is of metaflow-netflixext" in inner


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
