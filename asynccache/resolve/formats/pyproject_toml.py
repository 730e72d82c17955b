"""pyproject.toml: the project's own dependencies, its Python and its indexes (contract, section 7.8.3).

Optional dependencies, dependency groups and the dependencies of poetry are not part of the project's environment and
are left out. Repositories, addresses and directories of `tool.uv.sources` and uv's constraints count. Everything else
that a tool's table says about the dependencies is refused by name: the project of that name in a public index may be
someone else's.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

from packaging.utils import canonicalize_name

from asynccache.resolve.formats.requirements_txt import pep508_requirement, read_constraint
from asynccache.resolve.formats.text import parse_toml
from asynccache.resolve.requests.requirement_text import read_requirement
from asynccache.resolve.requests.requirements import Collector, Requirements
from asynccache.resolve.requests.source_position import SourcePosition, local_url

# uv's options that change the versions or origins of all packages.
_UV: Final = (
    "override-dependencies", "exclude-dependencies", "index-url", "extra-index-url",
    "find-links", "no-index",
)  # fmt: skip
# Parts of a uv source that a requirement can express.
_SOURCE: Final = {"git", "rev", "tag", "branch", "url", "path", "subdirectory", "editable"}
# poetry's options for the origin of a dependency.
_POETRY: Final = {"source", "path", "git", "url"}
_PIXI: Final = ("dependencies", "pypi-dependencies", "target")
_LOCK: Final = {
    "uv": "lock it with `uv lock`, and give its uv.lock",
    "pixi": "lock it with `pixi lock`, and give its pixi.lock",
    "poetry": "write a pylock.toml with `poetry export --format pylock.toml`, and give that",
}


def read_pyproject_toml(text: str, place: SourcePosition) -> Requirements:
    """Read a pyproject.toml.

    Raises:
        UsageError: Not TOML, an entry that is not a requirement, or a table that gives requirements another meaning;
            the message names file, entry and reason.
    """
    document = parse_toml(text.removeprefix("\ufeff"), place)
    collector = Collector()
    project = _table(document, "project", place)
    if "dependencies" in _list(project.get("dynamic")):
        raise place.at(entry="project.dynamic").error(
            "the dependencies are dynamic: they stand in another file, which only the project's build reads",
            hint="give that file (a requirements.txt with -r), or write them into project.dependencies",
        )
    dependencies = project.get("dependencies", [])
    if not isinstance(dependencies, list):
        raise place.at(entry="project.dependencies").error("the entry is malformed", expected="a list")
    said = _at(document, "tool", "uv", "sources")
    sources = {canonicalize_name(name): each for name, each in said.items()} if isinstance(said, dict) else {}
    names: list[str] = []
    held: set[str] = set()
    for number, item in enumerate(dependencies):
        where = place.at(entry=f"project.dependencies[{number}]")
        requirement = pep508_requirement(_text(item, where), where)
        if requirement.name == "python":
            raise where.error("python is no dependency of a project", hint="write it into requires-python")
        name = re.split(r"[@[]", requirement.name)[0]
        names.append(name)
        entry = place.at(entry=f"tool.uv.sources.{name}")
        source = None if "@" in requirement.name else sources.get(canonicalize_name(name))
        if address := _source(source, entry, collector):
            if constraint := read_constraint(f"{name}{read_requirement(requirement.value, 'pypi').constraint}", where):
                collector.flag("pypi", f"--constraint {constraint}", where)
            requirement = replace(requirement, name=f"{requirement.name}@{address}", constraint="")
            held.add(canonicalize_name(name))
        collector.require("pypi", requirement)
    if "requires-python" in project:
        where = place.at(entry="project.requires-python")
        # as written: the text is part of the environment's identity for other readers
        collector.python = _text(project["requires-python"], where) or None
    for where, url in _indexes(document, place):
        collector.source("pypi", url, where)
    for number, item in enumerate(_list(_at(document, "tool", "uv", "constraint-dependencies"))):
        where = place.at(entry=f"tool.uv.constraint-dependencies[{number}]")
        if constraint := read_constraint(_text(item, where), where):
            collector.flag("pypi", f"--constraint {constraint}", where)
    _refuse_tools(document, {canonicalize_name(name) for name in names}, held, place)
    if "dependencies" not in project and _at(document, "tool", "poetry", "dependencies"):
        collector.notes.append(
            f"{place}: poetry's own dependencies are left out: only project.dependencies are resolved"
        )
    elif "project" not in document:
        collector.notes.append(f"{place}: it has no [project], so it asks for no package")
    return collector.result()


def _source(said: object, place: SourcePosition, collector: Collector) -> str | None:
    """Return the address for a uv source of a package; None if no requirement can express it.

    Raises:
        UsageError: A directory that is relative to standard input.
    """
    if isinstance(said, list) and len(said) == 1:
        said = said[0]
    if not isinstance(said, dict) or said.keys() - _SOURCE or not all(isinstance(v, str | bool) for v in said.values()):
        return None
    subdirectory = f"#subdirectory={said['subdirectory']}" if "subdirectory" in said else ""
    if "git" in said and "://" in said["git"]:
        revision = said.get("rev") or said.get("tag") or said.get("branch")
        return f"git+{said['git']}{f'@{revision}' if revision else ''}{subdirectory}"
    if "url" in said:
        return f"{said['url']}{subdirectory}"
    if "path" not in said:
        return None
    if said.get("editable"):
        collector.notes.append(place.said("it is built as it is now: nothing that other machines use is editable"))
    return f"{local_url(said['path'], place)}{subdirectory}"


def _refuse_tools(
    document: Mapping[str, Any], names: Container[str], held: Container[str], place: SourcePosition
) -> None:
    def refuse(tool: str, *keys: str) -> NoReturn:
        entry = ".".join(("tool", tool, *keys))
        raise place.at(entry=entry).error(
            f"the entry of {tool} decides what the dependencies are, and a request cannot hold it", hint=_LOCK[tool]
        )

    for key in _UV:
        if _at(document, "tool", "uv", key):
            refuse("uv", key)
    for name in _at(document, "tool", "uv", "sources") or ():
        if canonicalize_name(name) in names and canonicalize_name(name) not in held:
            refuse("uv", "sources", name)
    for key in _PIXI:
        if _at(document, "tool", "pixi", key):
            refuse("pixi", key)
    for name, said in (_at(document, "tool", "poetry", "dependencies") or {}).items():
        placed = [each for each in _list(said) or [said] if isinstance(each, dict)]
        if canonicalize_name(name) in names and any(each.keys() & _POETRY for each in placed):
            refuse("poetry", "dependencies", name)


def _indexes(document: Mapping[str, Any], place: SourcePosition) -> Iterator[tuple[SourcePosition, str]]:
    for tool, key in (("poetry", "source"), ("uv", "index")):
        for number, entry in enumerate(_list(_at(document, "tool", tool, key))):
            where = place.at(entry=f"tool.{tool}.{key}[{number}]")
            # an explicit index serves only packages that name it, which are refused
            if (
                isinstance(entry, dict)
                and "url" in entry
                and not entry.get("explicit")
                and entry.get("priority") != "explicit"
            ):
                yield where, _text(entry["url"], where)


def _at(document: Mapping[str, Any], *path: str) -> Any:
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _table(document: Mapping[str, Any], key: str, place: SourcePosition) -> Mapping[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        raise place.at(entry=key).error("the entry is malformed", expected="a table")
    return value


def _text(value: object, place: SourcePosition) -> str:
    if not isinstance(value, str):
        raise place.error("the entry is malformed", expected="a text", found=repr(value)[:80])
    return value
