"""`metaflow debug task`: the notebook it prepares runs in the task's environment, on the task's artifacts."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynccache.metaflow.debug_files import NOTEBOOK, script_name
from tests.metaflow.local import LocalBed, local_bed

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow, pytest.mark.xdist_group("flows")]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBed]:
    with local_bed(tmp_path_factory.mktemp("debug")) as found:
        found.flow("debugged_flow.py", "run")
        yield found


def run_notebook(bed: LocalBed, directory: Path, more: str) -> str:
    """Start the notebook's kernel on its cells and one cell more, as Jupyter would, and return what they print."""
    notebook = json.loads((directory / NOTEBOOK).read_text())
    name = notebook["metadata"]["kernelspec"]["name"]
    spec = json.loads((Path(bed.variables["HOME"]) / f".local/share/jupyter/kernels/{name}/kernel.json").read_text())
    notebook["cells"].append({"cell_type": "code", "source": [more]})
    cells = directory / "cells.json"
    cells.write_text(json.dumps(notebook))
    command = [word.replace("{connection_file}", str(cells)) for word in spec["argv"]]
    environ = {**bed.variables, **spec["env"]}
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_notebook_runs_a_step_again_in_the_environment_of_its_task(bed: LocalBed) -> None:
    (task,) = bed.look("[t.pathspec for t in Flow('DebuggedFlow').latest_run['work'] if t.index == 1]")
    directory = bed.directory / "again"
    said = bed.metaflow("debug", "task", task, "--metaflow-root-dir", str(directory))

    assert "The run kept no code package: using" in said
    found = run_notebook(bed, directory, "print('FOUND', self.input, self.found)")

    number, value, version, prefix = found.split("FOUND ")[1].split()
    assert (number, value, version) == ("2", "2", "1.4.0")
    recorded = bed.look(f"Task('{task}').data.found")
    assert recorded.startswith("2 1.4.0 ")
    assert prefix != recorded.split()[2]  # one of its own, which has a kernel too
    assert str(Path(prefix).parent) == str(Path(recorded.split()[2]).parent)
    assert (directory / script_name(task)).is_file()


def test_a_directory_to_work_in_has_the_metaflow_and_the_extensions_of_a_run_that_kept_no_code(bed: LocalBed) -> None:
    directory = bed.directory / "worked"
    words = ("environment", "create", "--pathspec", "DebuggedFlow/latest/join", "--into-dir", str(directory))
    bed.metaflow(*words)

    program = "import metaflow; from metaflow import named_env, resolved_uv; print(metaflow.__file__, metaflow.conda)"
    command = f". ./metaflow_setup.sh && ./__conda_python -c '{program}'"
    done = subprocess.run(
        ["sh", "-c", command], cwd=directory, env=bed.variables, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.startswith(f"{directory}/.mf_code/metaflow/__init__.py "), done.stderr
    assert "<class 'asynccache.metaflow.decorators.CondaStepDecorator'>" in done.stdout


def test_a_join_sees_its_inputs_and_inspection_shows_what_it_left(bed: LocalBed) -> None:
    directory = bed.directory / "inspected"
    said = bed.metaflow(
        "debug", "--quiet", "task", "DebuggedFlow/" + bed.look("Flow('DebuggedFlow').latest_run.id") + "/join",
        "--metaflow-root-dir", str(directory), "--inspect",
    )  # fmt: skip

    assert said.splitlines()[-1] == str(directory)
    found = run_notebook(bed, directory, "print('FOUND', self.total == sorted(each.found for each in inputs))")
    assert "FOUND True" in found


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("DebuggedFlow/1/2/3/4",), 2, "is no pathspec: expected Flow, Flow/Run, Flow/Run/Step or Flow/Run/Step/Task"),
        (("NoSuchFlow",), 1, "NoSuchFlow was not found"),
        (("DebuggedFlow/nope",), 1, "DebuggedFlow/nope was not found"),
        (("DebuggedFlow/{run}/work",), 1, "has 2 tasks"),
        (("DebuggedFlow/{run}", "--override-env", "a", "--override-env-from-pathspec", "F/1/s"), 2, "exclude each"),
        (("DebuggedFlow/{run}", "--override-env", "team/none:v1"), 1, "could not be created"),
    ],
)  # fmt: skip
def test_wrong_uses_are_told_in_a_sentence(bed: LocalBed, words: tuple[str, ...], code: int, message: str) -> None:
    run = bed.look("Flow('DebuggedFlow').latest_run.id")
    directory = bed.directory / "refused"

    said = bed.metaflow(
        "debug", "task", *(w.format(run=run) for w in words), "--metaflow-root-dir", str(directory), code=code
    )

    assert message in said
    assert "Traceback" not in said
    assert not directory.exists()


def test_a_directory_with_something_in_it_is_not_touched(bed: LocalBed) -> None:
    directory = bed.directory / "mine"
    directory.mkdir()
    (directory / "notes.txt").write_text("keep")

    said = bed.metaflow("debug", "task", "DebuggedFlow", "--metaflow-root-dir", str(directory), code=1)

    assert "is not empty: name a new or empty directory" in said
    assert [path.name for path in directory.iterdir()] == ["notes.txt"]


@pytest.mark.long
def test_what_steps_ask_for_and_get_is_told_when_debugging_is_on(bed: LocalBed) -> None:
    said = bed.flow("debugged_flow.py", "run", variables={"METAFLOW_DEBUG_CONDA": "1"})

    assert "debug[conda " in said
    assert "step work runs here on linux-64, python 3.12.*: {'conda': {'tabular': '1.4.0'}}" in said
    assert "step work has " in said
    assert "(known)" in said
    assert "debug[conda " not in bed.flow("debugged_flow.py", "show")
