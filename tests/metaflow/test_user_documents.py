"""Every row of `user_documents.py` holds, and what the pages show has a row.

The pages themselves are not part of the repository: they are read below `ASYNCCACHE_USER_DOCUMENTS`, else in
`../shared/compat/user-documentation`; without them the rows are checked all the same.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from asynccache.api.flows import req_parser, yml_parser
from tests.metaflow.user_documents import PROMISES, Asks, Default, Differs, Given, Parsed, Promise, Reads, Test
from tests.support.metaflow_venv import CannotInstallError, launch_venv
from tests.support.testdata import REPOSITORY

T = TypeVar("T")
FILES = (
    "req_numpy.txt",
    "env_numpy.yml",
    "req.txt",
    "req2.txt",
    "team_base_env.yml",
    "env_extra.yml",
    "extra_tools.txt",
)
PROGRAM = """
import json
import os
import shlex
import sys
import metaflow
from metaflow import metaflow_config
from metaflow._vendor import click
from metaflow.cmd.main_cli import start
from metaflow.plugins import ENVIRONMENTS
from asynccache.metaflow import decorators, flow_commands
from asynccache.metaflow.configuration import configuration
from asynccache.resolve.requests.requirement_text import canonical_version

asked = json.load(sys.stdin)
kinds = {each.name: each for each in vars(decorators).values() if isinstance(each, type) and hasattr(each, "ask")}
ours = [each.TYPE for each in ENVIRONMENTS if each.__module__.startswith("asynccache.")]


def made(kind, /, **arguments):
    assert set(arguments) <= set(kinds[kind].defaults), arguments
    return kinds[kind](arguments)


def asks(code):
    ask = vars(eval(code).ask(canonical_version))
    return {key: value for key, value in ask.items() if value not in (None, (), {}, [])}


def given(name, text, reads):
    variable = name if name.startswith("GOOGLE_") else "METAFLOW_" + name
    os.environ[variable] = text
    try:
        return configuration()[reads or name]
    finally:
        del os.environ[variable]


def parsed(line):
    program, *words = shlex.split(line)
    if program == "python":
        words = words[1:]
        while words and words[0].startswith("--"):
            option = words.pop(0)
            assert option in ("--with",) or option.removeprefix("--environment=") in ours, option
            if option == "--with":
                words.pop(0)
        if words == ["run"]:
            return {}
    command = start if program == "metaflow" else flow_commands.cli
    context = None
    found = {}
    while True:
        context = command.make_context(command.name or program, words, parent=context)
        found.update(context.params)
        if not isinstance(command, click.MultiCommand):
            return found
        name, command, words = command.resolve_command(context, context.protected_args + context.args)


def attempt(work, *words):
    try:
        return work(*words)
    except Exception as error:
        return "%s: %s" % (type(error).__name__, getattr(error, "message", error))


values = configuration()
json.dump({
    "defaults": values,
    "missing": [name for name in values if getattr(metaflow_config, name, None) != values[name]],
    "given": [attempt(given, *words) for words in asked["given"]],
    "parsed": [attempt(parsed, line) for line in asked["parsed"]],
    "asks": [attempt(asks, code) for code in asked["asks"]],
}, sys.stdout, default=list)
"""


def pages() -> dict[str, list[str]]:
    """Return the lines of the pages by name; none where they are not."""
    default = REPOSITORY.parent / "shared" / "compat" / "user-documentation"
    directory = Path(os.environ.get("ASYNCCACHE_USER_DOCUMENTS", default))
    return {path.name: path.read_text("utf-8").split("\n") for path in sorted(directory.glob("*.txt"))}


def shown(kind: type[T]) -> list[T]:
    """Return what of a kind shows any promise, each once."""
    found: list[T] = []
    for promise in PROMISES:
        found += [each for each in promise.shown if isinstance(each, kind) and each not in found]
    return found


class Answers(NamedTuple):
    """What Metaflow with our extension makes of it all."""

    defaults: dict[str, Any]
    missing: list[str]
    given: list[Any]
    parsed: list[Any]
    asks: list[Any]


def ask_metaflow(directory: Path, lines: list[str]) -> Answers:
    """Ask one process about all settings, commands and decorators of the table, and about these commands."""
    try:
        python = launch_venv() / "bin" / "python"
    except CannotInstallError as error:
        pytest.skip(str(error))
    for name in FILES:
        (directory / name).write_text("")
    roots = {"S3": "s3://sys", "AZURE": "sys", "GS": "gs://sys", "LOCAL": str(directory)}
    asked = {
        "given": [[each.name, each.text, each.reads] for each in shown(Given)],
        "parsed": lines,
        "asks": [each.code for each in shown(Asks)],
    }
    done = subprocess.run(
        [str(python), "-c", PROGRAM],
        input=json.dumps(asked),
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "METAFLOW_USER": "tester",
            **{f"METAFLOW_DATASTORE_SYSROOT_{name}": root for name, root in roots.items()},
        },
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Answers(**json.loads(done.stdout))


class Item(NamedTuple):
    """What a page shows at a line."""

    page: str
    line: int
    kind: str
    text: str


SETTING = re.compile(r"\b(?:METAFLOW_)?((?:CONDA|DATASTORE|DEBUG|GOOGLE|PYLOCK)_[A-Z0-9_]*[A-Z0-9])\b")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]\b")
COMMAND = re.compile(r"^\s*(?:METAFLOW_\w+=\S+ )?((?:metaflow|python|pip|conda|az|gcloud) \S.*)$")
DECORATOR = re.compile(r"@(\w+) ?\(([^()]*(?:\([^()]*\)[^()]*)*)\)")
# a flow, a program, a file in JSON or YAML, a name of an environment, a step of a run
EXAMPLE = re.compile(
    r"^\s*(?:class \w+ ?\(|from metaflow import|\{\s*$|dependencies ?:)|\w/[\w/-]+:\w|\b\w*Flow/(?:latest|\d+|<)"
)
ARGUMENT = re.compile(r"(\w+) ?=(?!=)")
MESSAGE_LINES = 8


def items(page: str, lines: list[str]) -> Iterator[Item]:
    """Yield every setting, option, argument of a decorator, command, example and message that a page shows."""
    for number, line in enumerate(lines, 1):
        yield from (Item(page, number, "setting", each[1]) for each in SETTING.finditer(line))
        yield from (Item(page, number, "option", each[0]) for each in OPTION.finditer(line))
        if EXAMPLE.search(line):
            yield Item(page, number, "example", line)
        if command := COMMAND.match(line):
            text, following = command[1], number
            while text.endswith("\\"):
                text = f"{text[:-1]} {lines[following].strip()}"
                following += 1
            yield Item(page, number, "command", text)
        if line.strip() in {"Output:", "Error:"} or line.startswith("# Error:"):
            for place in range(number + 1, number + 1 + MESSAGE_LINES):
                if not lines[place - 1].strip():
                    break
                yield Item(page, place, "message", lines[place - 1])
    whole = "\n".join(lines)
    for found in DECORATOR.finditer(whole):
        for name in ARGUMENT.finditer(found[2]):
            line_number = whole.count("\n", 0, found.start(2) + name.start()) + 1
            yield Item(page, line_number, "argument", f"@{found[1]} {name[1]}")


def covers(promise: Promise, item: Item) -> bool:
    """Tell whether a row stands at an item's line and names it."""
    if promise.page != item.page or not promise.first <= item.line <= promise.last:
        return False
    named = f"{promise.says} {promise.shown}"
    if item.kind in {"setting", "option"}:
        return item.text in named
    if item.kind == "argument":
        decorator, argument = item.text.split()
        return decorator in promise.says and re.search(rf"\b{argument}\b", named) is not None
    return True


def test_everything_that_the_pages_show_has_a_row() -> None:
    found = [item for page, lines in pages().items() for item in items(page, lines)]
    if not found:
        pytest.skip("the pages are not here")
    counts = Counter(item.kind for item in found)
    least = {"setting": 100, "option": 30, "argument": 25, "command": 40, "example": 40, "message": 15}
    assert all(counts[kind] > number for kind, number in least.items()), counts
    assert [item for item in found if not any(covers(promise, item) for promise in PROMISES)] == []


def test_rows_stand_where_there_are_lines() -> None:
    known = pages()
    for promise in PROMISES:
        assert 1 <= promise.first <= promise.last
        assert promise.shown, promise
        if known:
            assert promise.last <= len(known[promise.page]), promise


def test_settings_commands_and_decorators_are_taken_as_the_pages_show_them(tmp_path: Path) -> None:
    rows = shown(Parsed)
    # the lines of the pages themselves, too
    theirs = [item.text for page, lines in pages().items() for item in items(page, lines) if item.kind == "command"]
    theirs = [line for line in theirs if _is_ours(line)]
    answers = ask_metaflow(tmp_path, [row.line for row in rows] + theirs)

    assert answers.missing == []
    for default in shown(Default):
        value = default.value.format(home=tmp_path) if isinstance(default.value, str) else default.value
        assert answers.defaults[default.name] == value, default
    for given, value in zip(shown(Given), answers.given, strict=True):
        assert value == (given.text if given.value is None else given.value), given
    for row, found in zip(rows, answers.parsed[: len(rows)], strict=True):
        assert isinstance(found, dict), (row, found)
        assert {key: found[key] for key in row.found} == row.found
    for line, found in zip(theirs, answers.parsed[len(rows) :], strict=True):
        assert isinstance(found, dict), (line, found)
    for ask, asked in zip(shown(Asks), answers.asks, strict=True):
        assert isinstance(asked, dict), (ask, asked)
        assert {key: asked.get(key) for key in ask.found} == ask.found, ask


def _is_ours(line: str) -> bool:
    """Tell whether a command is one that the parsers can be asked about."""
    words = shlex.split(line, comments=True)
    if words[0] == "python":
        # a program in a word; a name of the table of differences
        return words[1] != "-c" and not ("show" in words and "--pathspec" in words)
    return words[0] == "metaflow" and words[-1] != "--help"


@pytest.mark.parametrize("row", shown(Reads), ids=lambda row: row.kind)
def test_files_are_read_as_the_pages_show_them(row: Reads) -> None:
    assert {"requirements.txt": req_parser, "environment.yml": yml_parser}[row.kind](row.text) == row.found


@cache
def _names(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text("utf-8"))
    return frozenset(each.name for each in tree.body if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)))


def test_tests_that_show_a_promise_are_there() -> None:
    gone = [test.name for test in shown(Test) if test.name.split("::")[1] not in _names(test.name.split("::")[0])]
    assert gone == []


def test_what_differs_stands_in_the_page_on_migrating_with_its_reason() -> None:
    page = (REPOSITORY / "docs" / "migrating.md").read_text("utf-8")
    table = page.partition("## Where its documentation says something else")[2].partition("\n## ")[0]
    rows = {cells[0]: cells[1:] for cells in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", table, re.MULTILINE)[1:]}
    del rows["---"]
    assert all(len(reason.split()) > 2 for _here, reason in rows.values())
    assert {each.what for each in shown(Differs)} == set(rows)
