"""The schemas of what `--json` prints, and the page about it, are those of the code."""

import inspect
import json
import os
import re
from collections.abc import Iterator

import click
import pytest

from asynccache import errors
from asynccache_cli.commands import group
from asynccache_cli.json_line import json_line
from tests.docs.json_contract import COMMANDS, SCHEMAS, WITHOUT, page, schemas, written
from tests.docs.test_docs import REPOSITORY
from tests.support.json_output import check_line

KINDS = [k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, errors.AsyncCacheError)]


def test_the_schemas_are_those_of_the_types() -> None:
    made = {name: written(schema) for name, schema in schemas().items()}
    if os.environ.get("ASYNCCACHE_UPDATE_DOCS"):
        SCHEMAS.mkdir(exist_ok=True)
        for stale in {path.name for path in SCHEMAS.iterdir()} - {*made}:
            (SCHEMAS / stale).unlink()
        for name, text in made.items():
            (SCHEMAS / name).write_text(text, "utf-8")
    assert {path.name for path in SCHEMAS.iterdir()} == {*made}
    for name, text in made.items():
        assert (SCHEMAS / name).read_text("utf-8") == text, (
            "run the tests with ASYNCCACHE_UPDATE_DOCS=1, and say it in CHANGELOG.md"
        )


def test_the_page_is_that_of_the_types() -> None:
    path = REPOSITORY / "docs" / "json.md"
    if os.environ.get("ASYNCCACHE_UPDATE_DOCS"):
        path.write_text(page(), "utf-8")
    assert path.read_text("utf-8") == page(), "run the tests with ASYNCCACHE_UPDATE_DOCS=1"


def test_the_program_of_the_page_finds_a_schema() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", page(), re.DOTALL)
    found: dict[str, object] = {}
    exec(program, found)
    assert found["schema"] == schemas()["ls.json"]


def _commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for word in command.list_commands(context):
            part = command.get_command(context, word)
            assert part is not None
            yield from _commands(part, f"{name} {word}".strip())
    else:
        yield name, command


def test_every_command_but_those_of_other_programs_takes_json_and_has_a_schema() -> None:
    taking = {name: any("--json" in each.opts for each in command.params) for name, command in _commands(group)}
    assert {name for name, takes in taking.items() if not takes} == {*WITHOUT}
    assert {name for name, takes in taking.items() if takes} == {*COMMANDS}


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_no_field_that_its_schema_does_not_name(kind: type[errors.AsyncCacheError]) -> None:
    one = errors.UsageError("said", expected=1, found="x", hint="do")
    error = kind("said", {"a": one}) if issubclass(kind, errors.PartialFailureError) else kind("said", hint="do")
    document = json.loads(json_line("error", error.as_document()))
    check_line("error.json", document)
    assert {*document} <= {*schemas()["error.json"]["properties"]}
