"""environment.yml of conda, read as YAML (contract, section 7.8.2, and 11.3.20 for what a line scanner got wrong).

channels: [conda-forge]
dependencies:
  - python >=3.11,<3.12
  - channel::numpy=1.26        # `=` and `==` both say "this version"; a build may follow: numpy=1.26=py311_0
  - pywin32; sys_platform == "win32"
  - __glibc=2.28               # an exact version of __glibc or __cuda says what the target has
  - pip:
      - six>=1.16
      - --extra-index-url https://host/simple
  - sys:
      - __cuda=12.4
pypi-indices: [https://host/simple]
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from asynccache.model.url import redacted
from asynccache.resolve.formats.conda_item import is_prefix, read_conda_item, read_item
from asynccache.resolve.formats.requirements_txt import read_line, sys_requirement, without_digests
from asynccache.resolve.formats.yaml_document import Entry, parse_yaml
from asynccache.resolve.requests.requirements import SYS_PACKAGES, Collector, Requirement, Requirements
from asynccache.resolve.requests.source_position import SourcePosition

if TYPE_CHECKING:
    from asynccache.engine.verified import Verified

_ADDRESS: Final = ("/", "git+", "https://", "http://", "ssh://", "file://")
_NAMED_ADDRESS: Final = r"(?P<name>[A-Za-z0-9][\w.-]*(?:\[[^\]]*\])?)\s*@\s*(?P<address>\S.*)"
_SECTIONS: Final = ("name", "prefix", "channels", "dependencies", "pypi-indices")


def read_environment_yml(text: str, place: SourcePosition, memory: Verified | None = None) -> Requirements:
    """Read an environment.yml. Blocking where there is a memory of what was read before.

    Raises:
        UsageError: Not YAML, or an item that is not supported; the message names file, line and reason.
    """
    collector = Collector()
    if not re.search(r"^\s*[^\s#]", text.removeprefix("\ufeff"), re.MULTILINE):
        return collector.result()
    document = parse_yaml(text, place, memory)
    for category, section in (("conda", "channels"), ("pypi", "pypi-indices")):
        for where, item in document.items(section):
            collector.source(category, _text(item, where), where)
    for where, item in document.items("dependencies"):
        if isinstance(item, Entry):
            _nested(item, collector)
        else:
            _conda_item(item, where, collector)
    ignored = [section for section in document if section not in _SECTIONS]
    if ignored:
        names = ", ".join(f"`{section}`" for section in ignored)
        collector.notes.append(f"{place}: {names} ignored: an environment has channels and dependencies only")
    return collector.result()


def _nested(entry: Entry, collector: Collector) -> None:
    for section in entry:
        if section not in {"pip", "sys"}:
            raise entry.place.error(
                "the dependencies hold an unknown section", expected="`pip:` or `sys:`", found=f"`{section[:40]}:`"
            )
        for where, item in entry.items(section):
            text = _text(item, where)
            if section == "sys":
                collector.require("sys", _exact_sys(text, where))
            elif text.startswith("-"):
                read_line(text, where, collector)
            else:
                _pip_item(text, where, collector)


def _conda_item(item: str, place: SourcePosition, collector: Collector) -> None:
    if item.startswith(_ADDRESS) and "::" not in item:
        raise place.error(
            f"{redacted(item)!r} is an address, which conda's dependencies cannot be",
            hint="name the package and its channel, or put addresses of PyPI packages under `pip:`",
        )
    body, marker = _marked(item, place)
    name, constraint = read_conda_item(body, place)
    if name == "python":
        if marker:
            raise place.error(
                "the version of Python cannot depend on a marker", hint="write `python=3.11` without marker"
            )
        if constraint:
            if collector.python is not None:
                raise place.error(
                    "python is specified multiple times", expected=repr(collector.python), found=repr(constraint)
                )
            collector.python = constraint
    elif name in SYS_PACKAGES and constraint and constraint[0] not in "<>~!" and not marker:
        collector.require("sys", Requirement(name, constraint, place=place))
    else:
        collector.require("conda", Requirement(name, constraint, marker, place, is_prefix(body)))


def _pip_item(item: str, place: SourcePosition, collector: Collector) -> None:
    item = without_digests(item, place, collector)
    named = re.fullmatch(_NAMED_ADDRESS, item)
    if named or item.startswith(_ADDRESS):
        address, marker = _marked(named["address"] if named else item, place)
        name = named["name"].replace(" ", "") if named else _last_component(address)
        collector.require("pypi", Requirement(f"{name}@{address}", "", marker, place))
        return
    body, marker = _marked(item, place)
    name, constraint = read_item(body, place)
    if name == "python":
        raise place.error("python is no package of PyPI", hint="put it into `dependencies` itself")
    collector.require("pypi", Requirement(name, constraint, marker, place))


def _exact_sys(item: str, place: SourcePosition) -> Requirement:
    requirement = sys_requirement(item, place)
    if requirement.constraint[0] in "<>~!":
        raise place.error(
            f"the system dependency {requirement.name!r} requires a specific version",
            expected=f"{requirement.name}=VERSION",
            found=repr(requirement.constraint),
        )
    return requirement


def _marked(item: str, place: SourcePosition) -> tuple[str, str]:
    body, separator, text = item.partition(";")
    if not separator:
        return body.strip(), ""
    from packaging.markers import InvalidMarker, Marker  # noqa: PLC0415 - few files have one

    try:
        return body.strip(), str(Marker(text.strip()))
    except InvalidMarker:
        raise place.error(f"{text.strip()!r} is no environment marker") from None


def _text(item: str | Entry, place: SourcePosition) -> str:
    if isinstance(item, Entry):
        raise place.error("an item is malformed", expected="a text", found="a mapping")
    return item.strip()


def _last_component(address: str) -> str:
    """Name a package after its address: the last component of the path up to `@`, without `.git`.

    >>> _last_component("git+https://host/x/y.git@v1")
    'y'
    """
    path = re.split(r"[?#]", address)[0].rstrip("/")
    return path.rpartition("/")[2].partition("@")[0].removesuffix(".git")
