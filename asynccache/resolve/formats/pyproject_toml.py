"""pyproject.toml: the project's own dependencies, its Python and its indexes (contract, section 7.8.3).

Optional dependencies, dependency groups and the dependencies of poetry are no part of the project's environment and
are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from asynccache.resolve.formats.requirements_txt import pep508_requirement
from asynccache.resolve.formats.text import parse_toml
from asynccache.resolve.place import Place
from asynccache.resolve.requirements import Collector, Requirements


def read_pyproject_toml(text: str, place: Place) -> Requirements:
    """Read a pyproject.toml.

    Raises:
        UsageError: Not TOML, or an entry that is no requirement; the message names file, entry and reason.
    """
    document = parse_toml(text.removeprefix("\ufeff"), place)
    collector = Collector()
    project = _table(document, "project", place)
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list):
        raise place.at(entry="project.dependencies").error("the entry is malformed", expected="a list")
    for number, item in enumerate(dependencies):
        where = place.at(entry=f"project.dependencies[{number}]")
        requirement = pep508_requirement(_text(item, where), where)
        if requirement.name == "python":
            raise where.error("python is no dependency of a project", hint="write it into requires-python")
        collector.require("pypi", requirement)
    if "requires-python" in project:
        where = place.at(entry="project.requires-python")
        # as written: the text is part of what other readers identify the environment by
        collector.python = _text(project["requires-python"], where) or None
    for where, url in _indexes(document, place):
        collector.source("pypi", url, where)
    if "dependencies" not in project and _at(document, ("tool", "poetry", "dependencies")):
        collector.notes.append(
            f"{place}: poetry's own dependencies are left out: only project.dependencies are resolved"
        )
    return collector.result()


def _indexes(document: Mapping[str, Any], place: Place) -> Iterator[tuple[Place, str]]:
    for path in (("tool", "poetry", "source"), ("tool", "uv", "index")):
        entries = _at(document, path)
        for number, entry in enumerate(entries if isinstance(entries, list) else []):
            where = place.at(entry=f"{'.'.join(path)}[{number}]")
            if isinstance(entry, dict) and "url" in entry:
                yield where, _text(entry["url"], where)


def _at(document: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _table(document: Mapping[str, Any], key: str, place: Place) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise place.at(entry=key).error("the entry is malformed", expected="a table")
    return value


def _text(value: object, place: Place) -> str:
    if not isinstance(value, str):
        raise place.error("the entry is malformed", expected="a text", found=repr(value)[:80])
    return value
