"""Holds what a command prints with `--json` to the schemas that ship."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.resources import files
from typing import Any

_EARLIEST = 1e8  # seconds since the epoch: what is counted otherwise is smaller, but for bytes


def command_of(words: Sequence[str]) -> str:
    """Return the command that is named by the words of a command line."""
    at = 0
    while words[at].startswith("-"):
        at += 2 if words[at] == "--config-file" else 1
    return " ".join(words[at : at + (2 if words[at] in {"env", "installer"} else 1)])


def check_json(words: Sequence[str], code: int, out: str, err: str) -> None:
    """Hold the output of a command to its schema, if it was asked for JSON and is one of ours.

    Raises:
        AssertionError: It is not as the schema says, or its last line is not what it has to be.
    """
    ours = [*words[: words.index("--")]] if "--" in words else [*words]
    if "--json" not in ours or command_of(words) in {"run", "shell"}:
        return
    # the settings are one array
    told = json.loads(out) if command_of(words) == "config" else [json.loads(line) for line in out.splitlines()]
    for document in told:
        check_line(f"{command_of(words).replace(' ', '-')}.json", document)
    assert "result" not in {document["type"] for document in told[:-1]}
    if code:
        check_line("error.json", json.loads(err.splitlines()[-1]))
    else:
        assert told[-1]["type"] == "result"


def check_line(name: str, document: dict[str, Any]) -> None:
    """Hold a line to a schema by its file's name; no number in it is a moment."""
    assert [*document][:2] == ["type", "schema"]
    error = max(_validator(name).iter_errors(document), key=lambda each: len(each.path), default=None)
    if error is not None:
        from jsonschema.exceptions import best_match

        raise AssertionError(f"{name}: {best_match([error]).message[:500]} in {json.dumps(document)[:2000]}")
    large = [name for name, number in _numbers(document) if number > _EARLIEST]
    moments = [name for name in large if "bytes" not in name and name != ".value"]
    assert not moments, f"{moments} may be seconds since the epoch: {document}"


@functools.cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator, FormatChecker

    checker = FormatChecker([])
    checker.checks("date-time", raises=ValueError)(_has_a_zone)
    schema = json.loads((files("asynccache") / "schemas" / name).read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=checker)


def _has_a_zone(text: object) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _numbers(part, f"{name}.{key}")
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part, name)
    elif isinstance(value, int | float):
        yield name, value
