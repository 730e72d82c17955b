"""The commands of a wheel's entry points, and the interpreter lines of its scripts."""

from __future__ import annotations

import configparser
import re
from typing import Final

from asynccache.model.dataclass import dataclass

_LONGEST_LINE: Final = 127  # bytes of an interpreter line that every kernel reads (Linux before 5.1)
_REFERENCE: Final = re.compile(r"\s*([\w.]+)\s*:\s*([\w.]+)\s*(?:\[.*\])?\s*")


@dataclass(frozen=True, slots=True)
class EntryPoint:
    """A command that calls a function.

    Attributes:
        name: Name of the command.
        module: The module to import.
        function: Dotted path below the module.
    """

    name: str
    module: str
    function: str


def entry_points(text: str) -> list[EntryPoint]:
    """Read the commands from `entry_points.txt`; entries that are not commands or have unsafe names are left out."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # as the specification says: names keep their case
    try:
        parser.read_string(text)
    except configparser.Error:
        return []
    found = {}
    for section in ("console_scripts", "gui_scripts"):
        for name, reference in parser.items(section) if parser.has_section(section) else ():
            matched = _REFERENCE.fullmatch(reference or "")
            if matched and "/" not in name and name not in {"", ".", ".."}:
                found[name] = EntryPoint(name, matched[1], matched[2])
    return list(found.values())


def interpreter_line(python: str, options: str = "") -> bytes:
    """Return the beginning of a script for an interpreter with a path of any length."""
    line = f"#!{python}{' ' + options if options else ''}\n".encode()
    if len(line) <= _LONGEST_LINE and " " not in python:
        return line
    # both a shell and Python accept this: to Python it is a string
    return f"#!/bin/sh\n'''exec' \"{python}\"{' ' + options if options else ''} \"$0\" \"$@\"\n' '''\n".encode()


def launcher(entry_point: EntryPoint, python: str) -> bytes:
    """Return the script of a command."""
    top = entry_point.function.partition(".")[0]
    body = (
        "import sys\n"
        f"from {entry_point.module} import {top}\n"
        "if __name__ == '__main__':\n"
        f"    sys.exit({entry_point.function}())\n"
    )
    return interpreter_line(python) + body.encode()


def with_interpreter(script: bytes, python: str) -> bytes:
    """Return a wheel's script with its generic interpreter line replaced; any other script as it is.

    The line is `#!python` or `#!pythonw` (binary distribution format, "Recommended installer features").
    """
    first, newline, rest = script.partition(b"\n")
    matched = re.fullmatch(rb"#!pythonw?(?:[ \t]+(.*?))?\r?", first)
    if not matched or not newline:
        return script
    return interpreter_line(python, (matched[1] or b"").decode()) + rest
