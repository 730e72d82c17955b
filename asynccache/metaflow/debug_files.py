"""The files of `metaflow debug`: a script and a notebook that run a step's code on the state of one of its tasks."""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NOTEBOOK = "00_DEBUG_ME.ipynb"
STATE_MODULE = "debug_state"
_PLAIN = re.compile(r"[/.\-+=]")


class StepNotFoundError(Exception):
    """A flow's source has no such step."""


class DebugFiles:
    """What the files of one task need to say.

    Args:
        pathspec: `Flow/Run/Step/Task`.
        source: Text of the flow's module.
        module: Its name.
        inspect: The state after the task instead of before.
        variables: Environment variables that Metaflow needs to find the run; no secrets.
        metadata: Metadata provider, as `metaflow.metadata` takes it.

    Raises:
        StepNotFoundError: The source has no such step.
    """

    def __init__(
        self, pathspec: str, source: str, module: str, *, inspect: bool, variables: Mapping[str, str], metadata: str
    ) -> None:
        flow, _run, step, _task = pathspec.split("/")
        self._pathspec = pathspec
        self._inspect = inspect
        arguments, self._statements = step_source(source, flow, step)
        self._preparation = _preparation(pathspec, module, arguments, inspect, variables, metadata)

    def write(self, directory: Path, kernel: tuple[str, str] | None) -> list[Path]:
        """Write the module that both import, the script, and the notebook unless there is no kernel for it.

        Args:
            directory: Where the code package is.
            kernel: (name, display name) of the notebook's kernel.

        Returns:
            The paths of the files.
        """
        state = Path(__file__).with_name(f"{STATE_MODULE}.py").read_text("utf-8")
        when = "after" if self._inspect else "before"
        body = [] if self._inspect else self._statements
        header = f'"""The state {when} task {self._pathspec}, and the code of its step."""\n\n'
        files = {
            f"{STATE_MODULE}.py": state,
            script_name(self._pathspec): "\n".join([header + self._preparation, *body]) + "\n",
        }
        if kernel is not None:
            files[NOTEBOOK] = json.dumps(self._notebook(when, body, kernel), indent=1) + "\n"
        for name, text in files.items():
            (directory / name).write_text(text, "utf-8")
        return [directory / name for name in files]

    def _notebook(self, when: str, body: Sequence[str], kernel: tuple[str, str]) -> dict[str, Any]:
        title = f"# {self._pathspec}\n\n`self` is the state {when} the task. The step's code is below."
        cells = [_cell("markdown", title), _cell("code", self._preparation)]
        cells += [_cell("code", statement) for statement in body] or [_cell("code", "self")]
        if self._inspect:
            code = "\n".join(self._statements)
            cells.append(_cell("markdown", f"The step's code:\n\n```python\n{code}\n```"))
        return {
            "cells": cells,
            "metadata": {
                "kernelspec": {"name": kernel[0], "display_name": kernel[1], "language": "python"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4,
            "nbformat_minor": 4,
        }


def script_name(pathspec: str) -> str:
    """Return the script's file name.

    >>> script_name("Flow/12/train/3")
    'Flow_12_train_3_debug.py'
    """
    return _PLAIN.sub("_", pathspec) + "_debug.py"


def step_source(source: str, flow: str, step: str) -> tuple[list[str], list[str]]:
    """Find a step in the source of its flow.

    Args:
        source: Text of the module.
        flow: Name of the class.
        step: Name of the method.

    Returns:
        (names of the arguments, texts of the body's statements, dedented)

    Raises:
        StepNotFoundError: There is none, or the text is no Python.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError as exc:
        raise StepNotFoundError(f"the flow's source cannot be parsed ({exc})") from exc
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and node.name == flow:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == step:
                    return [argument.arg for argument in item.args.args], _statements(source, item)
    raise StepNotFoundError(f"the class {flow} of the flow's source has no step {step}")


def _statements(source: str, function: ast.FunctionDef) -> list[str]:
    """Return the text of each statement with the comments that stand before it."""
    lines = source.splitlines()
    first = function.body[0]
    if first.lineno == function.lineno:  # def step(self): pass
        return [ast.get_source_segment(source, statement) or "" for statement in function.body]
    begin = first.lineno - 1
    while begin > function.lineno and (not lines[begin - 1].strip() or lines[begin - 1].lstrip().startswith("#")):
        begin -= 1
    texts = []
    for statement in function.body:
        end = statement.end_lineno or statement.lineno
        # a statement that ends on the line of the one before is shown with it
        if end > begin:
            texts.append(textwrap.dedent("\n".join(lines[begin:end])).strip("\n"))
            begin = end
    return texts


def _preparation(
    pathspec: str, module: str, arguments: Sequence[str], inspect: bool, variables: Mapping[str, str], metadata: str
) -> str:
    """Return the code that makes a step's names: those of its module, `self`, and a join's inputs."""
    own = arguments[0] if arguments else "self"
    inputs = arguments[1] if len(arguments) > 1 else "inputs"
    lines = [
        "import importlib",
        "import os",
        "import sys",
        "",
        *(f"os.environ.setdefault({name!r}, {value!r})" for name, value in sorted(variables.items())),
        "_here = [os.getcwd(), os.path.join(os.getcwd(), '.mf_code')]",
        "sys.path[:0] = [place for place in _here if place not in sys.path]",
        "",
        "import metaflow",
        "",
        f"metaflow.metadata({metadata!r})",
        f"import {STATE_MODULE}",
        "",
        f"{own}, {inputs} = {STATE_MODULE}.load({pathspec!r}, inspect={inspect!r})",
        "# the step's code sees the names of its module",
        f"_module = importlib.import_module({module!r})",
        "globals().update({k: v for k, v in vars(_module).items() if not k.startswith('__')})",
    ]
    return "\n".join(lines) + "\n"


def _cell(kind: str, text: str) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)}
    if kind == "code":
        cell.update({"execution_count": None, "outputs": []})
    return cell
