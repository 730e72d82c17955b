"""What a debugging notebook is made of: a step's code, and the state that its `self` shows."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from asynccache.metaflow.debug_files import NOTEBOOK, DebugFiles, StepNotFoundError, step_source
from asynccache.metaflow.debug_state import TaskState

FLOW = '''from metaflow import FlowSpec, step

FACTOR = 10


class Debugged(FlowSpec):
    @step
    def start(self):
        # what is split
        self.items = [
            1,
            2,
        ]
        if self.items:

            self.common = "c"; self.other = 1
        self.next(self.work, foreach="items")

    @step
    def work(self): self.out = self.input * FACTOR; self.next(self.join)

    @step
    def join(this, branches):
        """Add up."""
        this.total = sum(b.out for b in branches)
        this.next(this.end)
'''


class Artifact(SimpleNamespace):
    """What Metaflow's client returns for an artifact."""


class Recorded:
    """What Metaflow's client returns for a task, as far as `TaskState` asks: a container of artifacts."""

    def __init__(self, **values: object) -> None:
        self._artifacts = {k: Artifact(id=k, data=v, sha=repr(v)) for k, v in values.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._artifacts

    def __getitem__(self, name: str) -> Artifact:
        return self._artifacts[name]

    def __iter__(self) -> Iterator[Artifact]:
        return iter(self._artifacts.values())


def test_a_step_is_split_into_its_statements_with_their_comments() -> None:
    arguments, statements = step_source(FLOW, "Debugged", "start")
    assert arguments == ["self"]
    assert statements == [
        "# what is split\nself.items = [\n    1,\n    2,\n]",
        'if self.items:\n\n    self.common = "c"; self.other = 1',
        'self.next(self.work, foreach="items")',
    ]


def test_a_step_on_one_line_is_split_too() -> None:
    assert step_source(FLOW, "Debugged", "work")[1] == ["self.out = self.input * FACTOR", "self.next(self.join)"]


@pytest.mark.parametrize(("flow", "step"), [("Debugged", "missing"), ("Other", "start")])
def test_a_step_that_is_not_there_is_named(flow: str, step: str) -> None:
    with pytest.raises(StepNotFoundError, match=f"{flow}.*{step}"):
        step_source(FLOW, flow, step)


def test_source_that_is_no_python_is_an_error_and_not_a_traceback() -> None:
    with pytest.raises(StepNotFoundError, match="cannot be parsed"):
        step_source("class A(:", "A", "start")


@pytest.mark.parametrize("inspect", [False, True])
def test_script_and_notebook_hold_the_code_unless_the_state_is_only_inspected(tmp_path: Path, inspect: bool) -> None:
    files = DebugFiles(
        "Debugged/1/join/3", FLOW, "flow", inspect=inspect, variables={"METAFLOW_USER": "me"}, metadata="local@/x"
    )
    paths = files.write(tmp_path, ("kernel", "A kernel"))
    assert [p.name for p in paths] == ["debug_state.py", "Debugged_1_join_3_debug.py", NOTEBOOK]
    script = paths[1].read_text()
    compile(script, "script", "exec")
    assert "this, branches = debug_state.load('Debugged/1/join/3'" in script
    assert ("this.total = sum" in script) is not inspect
    notebook = json.loads(paths[2].read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "kernel"
    code = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    assert len(code) == (2 if inspect else 4)


def test_what_the_kernel_imports_is_readable_by_python_3_7(tmp_path: Path) -> None:
    import ast

    DebugFiles("Debugged/1/join/3", FLOW, "flow", inspect=False, variables={}, metadata="m").write(tmp_path, None)
    for path in tmp_path.iterdir():
        ast.parse(path.read_text(), feature_version=(3, 7))


def test_the_state_module_imports_without_anything_installed() -> None:
    import asynccache.metaflow.debug_state as module

    code = f"import runpy; runpy.run_path({str(module.__file__)!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)


def test_artifacts_are_read_when_asked_for_and_can_be_replaced() -> None:
    state = TaskState([Recorded(a=1), Recorded(a=2, b=3)], step="work", steps=["end"])
    assert (state.a, state.b, state.end) == (1, 3, "end")
    state.a = 5
    assert state.a == 5
    assert {"a", "b"} <= set(dir(state))
    with pytest.raises(AttributeError, match="'work' has no artifact 'c'"):
        _ = state.c


def test_the_value_of_a_loop_is_the_items_not_its_text() -> None:
    state = TaskState([Recorded(items=[{"x": 1}, {"x": 2}])], [("items", 1, 2)])
    assert (state.index, state.input) == (1, {"x": 2})
    assert state.foreach_stack() == [(1, 2, {"x": 2})]
    assert TaskState([]).input is None


def test_merging_takes_what_inputs_agree_on() -> None:
    inputs = [TaskState([Recorded(same=1, split=n)]) for n in range(2)]
    state = TaskState([])
    with pytest.raises(ValueError, match="split"):
        state.merge_artifacts(inputs)
    state.merge_artifacts(inputs, exclude=["split"])
    assert state.same == 1
    state.split = 7
    state.merge_artifacts(inputs)
    assert state.split == 7
    with pytest.raises(ValueError, match="no input has the artifacts other"):
        state.merge_artifacts(inputs, include=["other"])
    with pytest.raises(ValueError, match="not both"):
        state.merge_artifacts(inputs, include=["same"], exclude=["split"])
