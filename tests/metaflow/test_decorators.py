"""What decorators say: their notices, what they ask for, what they refuse, and where a step runs; no flow is run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.metaflow_venv import CannotInstallError, launch_venv

_PROGRAM = """
import json
import sys
import metaflow
from asynccache.metaflow import decorators
from asynccache.metaflow.decorators import StepRequirement, FlowRequirement
from asynccache.metaflow.requirements_of import flow_asks, notices
from asynccache.resolve.requests.requirement_text import canonical_version

known = {
    each.name: each
    for each in vars(decorators).values()
    if isinstance(each, type) and issubclass(each, (StepRequirement, FlowRequirement)) and each.name
}


class Remote:
    def __init__(self, name, attributes, **more):
        self.name = name
        self.attributes = attributes
        self.__dict__.update(more)


class Step:
    def __init__(self, name, made):
        self.name = name
        self.decorators = made


class Flow:
    def __init__(self, of_flow, steps):
        self._flow_decorators = {}
        for each in of_flow:
            self._flow_decorators.setdefault(each.name, []).append(each)
        self._steps = steps

    def __iter__(self):
        return iter(self._steps)


def made(kind, /, **arguments):
    return known[kind](arguments)


def attempt(work):
    try:
        return work()
    except Exception as error:
        return [type(error).__name__, str(error)]


def plain(ask):
    return {key: value for key, value in vars(ask).items() if value not in (None, (), {}, [])}


def asks(*given, of_flow=(), commands=("batch", "kubernetes")):
    (found,) = flow_asks(Flow(of_flow, [Step("start", list(given))]), commands)
    return found
"""


def evaluate(expression: str, directory: Path) -> Any:
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    code = f"{_PROGRAM}\nprint('VALUE', json.dumps({expression}, default=list))"
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "METAFLOW_USER": "tester"}
    done = subprocess.run(
        [str(python), "-c", code], env=environ, cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("VALUE ")[2])


NAMED = [
    ("name", "'team/e'", "@named_env{base}(name=...)"),
    ("pathspec", "'F/1/s'", "@named_env{base}(pathspec=...)"),
    ("fetch_at_exec", "True", "@named_env{base}(fetch_at_exec=...)"),
]
DEPRECATED = {
    "conda": [
        ("pip_packages", "{'a': '1'}", "@pypi{base}(packages=...)"),
        ("pip_sources", "['https://x/simple']", "@pypi{base}(extra_indices=...)"),
        ("sources", "['c']", "@conda{base}(channels=...)"),
        *NAMED,
    ],
    "pypi": [("sources", "['https://x/simple']", "@pypi{base}(extra_indices=...)"), *NAMED],
}


def test_each_deprecated_argument_is_told_once_with_what_to_write_instead(tmp_path: Path) -> None:
    cases = [
        (name + base, argument, value, form.replace("{base}", base))
        for name, arguments in DEPRECATED.items()
        for base in ("", "_base")
        for argument, value, form in arguments
    ]
    given = [f"made({name!r}, {argument}={value}).notice()" for name, argument, value, _form in cases]
    said = evaluate(f"[{', '.join(given)}]", tmp_path)

    assert said == [
        f"*DEPRECATED*: Using '{argument}' in '@{name}' is deprecated. Please use {form} instead."
        for name, argument, _value, form in cases
    ]


def test_what_is_not_deprecated_has_no_notice_and_one_notice_covers_several_steps(tmp_path: Path) -> None:
    good = "made('conda', libraries={'a': '1'}, channels=['c'], python='3.9', disabled=False).notice()"
    also = "made('pypi', packages={'a': '1'}, extra_indices=['u'], extras=['pre'], conda_only={'b': ''}).notice()"
    both = "made('pip', packages={'a': '1'}).notice(), made('pip_base').notice()"
    flow = "notices(Flow([], [Step(n, [made('conda', name='team/e')]) for n in 'abc']))"
    named = "made('named_env', name='team/e', fetch_at_exec=True).notice(), made('conda', pip_packages={}).notice()"

    *none, pip, pip_base, once = evaluate(f"[{good}, {also}, {named}, {both}, {flow}]", tmp_path)

    assert none == [None, None, None, None]
    assert pip == "*DEPRECATED*: Using '@pip' is deprecated. Please use '@pypi' instead."
    assert pip_base == "*DEPRECATED*: Using '@pip_base' is deprecated. Please use '@pypi_base' instead."
    assert len(once) == 1


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("made('conda')", {"disabled": False, "packages": {"conda": {}, "pypi": {}}}),
    (
        "made('conda', libraries={'a': '1.0.0', 'c::b': ''}, pip_packages={'p': '1.4.0'}, python='3.11.0')",
        {"packages": {"conda": {"a": "1.0.0", "c::b": ""}, "pypi": {"p": "1.4"}}, "python": "3.11"},
    ),
    ("made('conda', channels=['z', 'a', 'z'])", {"sources": {"conda": ["z", "a"], "pypi": []}}),
    ("made('conda', pathspec='F/1/s')", {"pathspec": "F/1/s", "disabled": False}),
    ("made('pypi', pathspec='step:F/1/s')", {"pathspec": "F/1/s"}),
    ("made('pypi', packages={'a': '2.10.0', 'b': '>=1.0', 'c[x]': '2!1.0.0'})",
     {"packages": {"pypi": {"a": "2.10", "b": ">=1.0", "c[x]": "2!1"}, "npconda": {}}}),
    ("made('pypi', conda_only={'ffmpeg': '4.0.0'})", {"packages": {"pypi": {}, "npconda": {"ffmpeg": "4"}}}),
    ("made('pypi', extras=['pre', '--no-index'])", {"extras": ["--pre", "--no-index"]}),
    ("made('pypi', extras={'pypi': ['--pre']})", {"extras": ["--pre"]}),
    ("made('pypi', extra_indices=['u'], sources=['v', 'u'])", {"sources": {"pypi": ["u", "v"]}}),
    ("made('named_env', name='team/e')", {"name": "team/e", "disabled": False}),
    ("made('named_env')", {}),
    ("made('sys_packages')", {"packages": {"sys": {}}}),
    ("made('sys_packages', packages={'__cuda': '11.8'})", {"packages": {"sys": {"__cuda": "11.8"}}}),
    ("made('conda', disabled=True)", {"disabled": True}),
    ("made('pypi', disabled='true')", {"disabled": True}),
]  # fmt: skip


def test_decorators_ask_for_what_is_written(tmp_path: Path) -> None:
    given = [f"plain({code}.ask(canonical_version))" for code, _expected in ASKED]
    found = evaluate(f"[{', '.join(given)}]", tmp_path)

    for (code, expected), ask in zip(ASKED, found, strict=True):
        assert {key: ask.get(key) for key in expected} == expected, code


REFUSED = [
    ("made('conda', libraries=['a'])", "@conda(libraries=...) takes a map such as"),
    ("made('conda', channels='c')", "@conda(channels=...) takes a list of texts, not 'c'"),
    ("made('conda', pip_packages=['a>=1'])", "which is no NAME==VERSION"),
    ("made('pypi', packages='a')", "@pypi(packages=...) takes a map such as"),
    ("made('pypi', extras='pre')", "@pypi(extras=...) takes a list such as ['pre']"),
    ("made('sys_packages', packages={'__unix': '1'})", "virtual packages that can be asked for are"),
    ("made('sys_packages', packages={'__cuda': ''})", "names '__cuda' without a version"),
    ("made('named_env', name='a', pathspec='F/1/s')", "Cannot specify both `name` and `pathspec` in a decorator"),
    ("made('conda', name='a', pathspec='F/1/s')", "Cannot specify both `name` and `pathspec` in a decorator"),
]


def test_arguments_that_mean_nothing_are_refused_by_name(tmp_path: Path) -> None:
    given = [f"attempt(lambda: plain({code}.ask(canonical_version)))" for code, _message in REFUSED]
    for (code, message), said in zip(REFUSED, evaluate(f"[{', '.join(given)}]", tmp_path), strict=True):
        assert said[0] == "InvalidEnvironmentException", code
        assert message in said[1], code


CONTRADICTIONS = [
    ("asks(made('conda', python='3.9'), made('pypi', python='3.10'))",
     "Step 'start': python is specified with incompatible values: 3.9 and 3.10"),
    ("asks(made('conda', libraries={'a': '1'}), made('pypi', disabled=True))",
     "disabled is specified with incompatible values: False and True"),
    ("asks(made('named_env', fetch_at_exec=True))", "needs the `name` or `pathspec` of an environment"),
    ("asks(made('conda', name='team/e', fetch_at_exec=True, python='3.9'))",
     "cannot ask for packages, sources or python"),
    ("asks(of_flow=[made('conda_base', python='3.9'), made('pypi_base', python='3.8')])",
     "python is specified with incompatible values"),
]  # fmt: skip


def test_decorators_that_contradict_each_other_are_refused_before_anything_is_resolved(tmp_path: Path) -> None:
    given = [f"attempt(lambda: vars({code}))" for code, _message in CONTRADICTIONS]
    for (code, message), said in zip(CONTRADICTIONS, evaluate(f"[{', '.join(given)}]", tmp_path), strict=True):
        assert said[0] == "InvalidEnvironmentException", code
        assert message in said[1], code


def test_a_step_decides_over_its_flow_and_a_disabled_one_asks_for_nothing(tmp_path: Path) -> None:
    base = "of_flow=[made('conda_base', libraries={'a': '1', 'b': '1'}, python='3.9')]"
    expression = (
        f"[plain(asks(made('conda', libraries={{'a': '2'}}), {base}).ask),"
        f" plain(asks(made('conda', disabled=True), {base}).ask),"
        " plain(asks(made('pypi'), of_flow=[made('conda_base', disabled=True)]).ask),"
        " plain(asks().ask), asks(made('named_env', name='team/e', fetch_at_exec=True)).resolved_at_launch]"
    )
    over, disabled, again, nothing, late = evaluate(expression, tmp_path)

    assert over["packages"]["conda"] == {"a": "2", "b": "1"}
    assert over["python"] == "3.9"
    assert disabled == {"disabled": True}
    assert again["disabled"] is False
    assert "disabled" not in nothing
    assert late is False


PLACES = [
    ("", [False, None, False]),
    ("Remote('batch', {})", [True, "linux-64", False]),
    ("Remote('kubernetes', {}, target_platform='linux-aarch64')", [True, "linux-aarch64", False]),
    ("Remote('batch', {}, target_platform='')", [True, "linux-64", False]),
    ("Remote('slurm', {})", [False, None, False]),
    ("Remote('slurm', {}), commands=('slurm',)", [True, "linux-64", False]),
    ("Remote('nodes', {}, supports_conda_environment=True)", [True, "linux-64", False]),
    ("Remote('batch', {'gpu': '0'})", [True, "linux-64", False]),
    ("Remote('batch', {'gpu': 1})", [True, "linux-64", True]),
    ("Remote('resources', {'gpu': 2})", [False, None, True]),
]


def test_steps_run_elsewhere_by_the_configured_commands_or_what_a_decorator_says_of_itself(tmp_path: Path) -> None:
    given = [f"(lambda a: [a.remote, a.arch if a.remote else None, a.gpu])(asks({code}))" for code, _place in PLACES]

    assert evaluate(f"[{', '.join(given)}]", tmp_path) == [place for _code, place in PLACES]


def test_the_commands_of_a_node_are_short_and_stand_between_double_quotes(tmp_path: Path) -> None:
    expression = (
        "[len(' && '.join(c)) for c in made_commands] + [any(chr(34) in line for c in made_commands for line in c)]"
    )
    setup = (
        "__import__('asynccache.metaflow.node_commands', fromlist=['x']).node_commands(t)"
        " for t in (['a' * 40, 'b' * 40, 'linux-64'], ['team/' + 'e' * 60 + ':@{X}', '_fetch_exec', ''])"
    )
    known, late, quotes = evaluate(f"(lambda made_commands: {expression})([{setup}])", tmp_path)

    # Batch takes 8,192 bytes for the whole command and the variables beside it
    assert known < 300
    assert late < 300
    assert quotes is False
