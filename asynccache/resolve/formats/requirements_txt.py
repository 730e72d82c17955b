"""requirements.txt: PEP 508 requirements, and the options that an environment can have (contract, section 7.8.1).

In addition to pip's own format, `--conda-channel`, `--conda-pkg` and `--sys-pkg` name what does not come from an index.
A backslash at a line's end continues the line. A file of constraints and the digests of a requirement become flags of
the request, so that they are part of its id. Editable installs and included files are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.model.url import redacted
from asynccache.resolve.formats.conda_item import read_conda_item, read_item
from asynccache.resolve.formats.text import read_text
from asynccache.resolve.requests.requirement_text import read_requirement
from asynccache.resolve.requests.requirements import SYS_PACKAGES, Collector, Requirement, Requirements
from asynccache.resolve.requests.source_position import SourcePosition, local_url

_COMMENT: Final = re.compile(r"(^|[ \t])#.*")
_FLAGS: Final = ("--pre", "--no-index")
_WITH_ARGUMENT: Final = (
    "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host",
    "--conda-channel", "--conda-pkg", "--sys-pkg",
)  # fmt: skip
_SHA256_DIGITS: Final = 64
_LINKS: Final = ("-f", "--find-links")
_RELATIVE: Final = re.compile(r"(?!/|~|\$)(?:file:(?!/)|(?![\w+]+:))")  # relative to the file, as for pip
_REFUSED: Final = {
    "-r": "name all files on the command line instead",
    "--requirement": "name all files on the command line instead",
    "-c": "name a file of constraints",
    "--constraint": "name a file of constraints",
    "-e": "editable installs cannot be part of an environment that other machines use; write `name @ file:///directory`",
    "--editable": "editable installs cannot be part of an environment that other machines use; "
    "write `name @ file:///directory`",
    "--hash": "digests stand behind a requirement: `name==1.0 --hash=sha256:...`",
}
_END_OF_NAME: Final = re.compile(r"[^\w.-]")
_CONSTRAINTS: Final = ("-c", "--constraint")
_HASH: Final = r"\s--hash(?:=|\s+)(?P<algorithm>\w+):(?P<digest>[0-9A-Fa-f]+)(?=\s|$)"


def read_requirements_txt(text: str, place: SourcePosition) -> Requirements:
    """Read a requirements.txt.

    Raises:
        UsageError: A line is not supported; the message names file, line and reason.
    """
    collector = Collector()
    for where, line in _lines(text, place):
        read_line(line, where, collector)
    return collector.result()


def read_line(line: str, place: SourcePosition, collector: Collector) -> None:
    """Read one line without its comment.

    Raises:
        UsageError: The line is not supported.
    """
    if not line.startswith("-"):
        _requirement(line, place, collector)
        return
    option, argument = _option(line)
    if option in _FLAGS and not argument:
        collector.flag("pypi", option, place)
    elif option in _CONSTRAINTS and argument:
        for where, constraint in _constraints(argument, place):
            collector.flag("pypi", f"--constraint {constraint}", where)
    elif option not in _WITH_ARGUMENT or not argument:
        hint = _REFUSED.get(option) or (f"{option} needs an argument" if option in _WITH_ARGUMENT else None)
        raise place.error(f"{redacted(line)!r} is not a supported line", hint=hint)
    elif option in {"-i", "--index-url"}:
        collector.notes.append(
            f"{place}: {option} is ignored: write --extra-index-url, or set default_pypi_source for the first index"
        )
    elif option == "--extra-index-url":
        collector.source("pypi", argument, place)
    elif option == "--conda-channel":
        collector.source("conda", argument, place)
    elif option == "--conda-pkg":
        name, constraint = read_conda_item(argument, place)
        collector.require("npconda", Requirement(name, constraint, place=place))
    elif option == "--sys-pkg":
        collector.require("sys", sys_requirement(argument, place))
    else:
        if option in _LINKS and _RELATIVE.match(argument):
            argument = local_url(argument, place)
            if not Path(unquote(urlsplit(argument).path)).exists():
                raise place.error(f"{redacted(line)!r} leads to nothing", found=f"{argument} does not exist")
        collector.flag("pypi", f"{option} {argument}", place)


def read_constraint(line: str, place: SourcePosition) -> str:
    """Return a constraint on a package's versions in the format of a request's flag; empty if it allows all.

    Raises:
        UsageError: It is not a version constraint.
    """
    found = None if line.startswith("-") else pep508_requirement(line, place)
    if found is None or "@" in found.name or "[" in found.name:
        raise place.error(
            f"{redacted(line)!r} is no constraint that can be kept", expected="a name and versions: `name<2`"
        )
    versions = read_requirement(found.value, "pypi").constraint
    return f"{_normal(found.name)}{versions}{f'; {found.marker}' if found.marker else ''}" if versions else ""


def _constraints(path: str, place: SourcePosition) -> Iterator[tuple[SourcePosition, str]]:
    """Yield the constraints of a file, each in PEP 508 notation.

    Raises:
        ObjectNotFoundError: There is no such file.
        UsageError: It is not a local file, or a line is not a version constraint.
    """
    if "://" in path and not path.startswith("file:"):
        raise place.error(
            f"constraints are read from a file on this machine, not from {redacted(path)}", hint="download it first"
        )
    name = unquote(urlsplit(local_url(path, place)).path) if _RELATIVE.match(path) else path.removeprefix("file://")
    if not Path(name).exists():
        raise place.error(
            f"the file of constraints {redacted(path)!r} leads to nothing", found=f"{name} does not exist"
        )
    for where, line in _lines(read_text(name), SourcePosition(name)):
        if constraint := read_constraint(re.sub(_HASH, "", line), where):
            yield where, constraint


def without_digests(line: str, place: SourcePosition, collector: Collector) -> str:
    """Return a requirement without its digests, which become a flag.

    Raises:
        UsageError: There are some, and none of them is a sha256.
    """
    found = [(match["algorithm"].lower(), match["digest"].lower()) for match in re.finditer(_HASH, line)]
    digests = sorted({digest for algorithm, digest in found if algorithm == "sha256" and len(digest) == _SHA256_DIGITS})
    if found and not digests:
        raise place.error(
            "the digests of a requirement cannot be compared with those that indexes say",
            expected="--hash=sha256: and 64 hexadecimal digits",
            found=", ".join(f"{algorithm}:{digest[:12]}" for algorithm, digest in found),
        )
    line = re.sub(_HASH, "", line).strip()
    if digests:
        collector.flag("pypi", f"--hash {_normal(re.split(_END_OF_NAME, line)[0])} {','.join(digests)}", place)
    return line


def sys_requirement(item: str, place: SourcePosition) -> Requirement:
    """Read a virtual package with its version.

    Raises:
        UsageError: It has no version, or cannot be requested.
    """
    name, version = read_item(item, place)
    if name not in SYS_PACKAGES:
        raise place.error(
            f"the system dependency {name!r} is not allowed", expected=" or ".join(SYS_PACKAGES), found=repr(name)
        )
    if not version:
        raise place.error(f"the system dependency {name!r} requires a version", expected=f"{name}==VERSION")
    return Requirement(name, version, place=place)


def pep508_requirement(line: str, place: SourcePosition) -> Requirement:
    """Read a PEP 508 requirement; extras are sorted, so that its identity does not vary.

    Raises:
        UsageError: It is invalid.
    """
    from packaging import requirements  # noqa: PLC0415 - not needed for conda's lines

    try:
        parsed = requirements.Requirement(line)
    except requirements.InvalidRequirement as exc:
        raise place.error(f"Could not parse {redacted(line)!r}", hint=_why_not(line, exc)) from None
    name = parsed.name
    if parsed.extras:
        name += f"[{','.join(sorted(parsed.extras))}]"
    if parsed.url:
        name += f"@{parsed.url}"
    # equal clauses (`>=1`, `>=1.0`) count once, as first written: the text is part of the identity
    clauses = dict.fromkeys(parsed.specifier)
    constraint = ",".join(sorted(map(str, clauses))).lstrip(" =")
    return Requirement(name, constraint, str(parsed.marker) if parsed.marker else "", place)


def _requirement(line: str, place: SourcePosition, collector: Collector) -> None:
    requirement = pep508_requirement(without_digests(line, place, collector), place)
    if requirement.name != "python":
        collector.require("pypi", requirement)
        return
    if requirement.marker:
        raise place.error(
            "the version of Python cannot depend on a marker", hint="write `python==3.11.*` without marker"
        )
    if requirement.constraint:
        collector.want_python(requirement.constraint, place)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _why_not(line: str, error: ValueError) -> str:
    if "--hash" in line:
        return _REFUSED["--hash"]
    if line.endswith("\\"):
        return "the line ends in a backslash, but there is no line after it"
    if re.match(r"([a-z+]+://|\.{0,2}/|file:)", line) or line in {".", ".."}:
        return "an address or a directory needs a name: `name @ https://...`, `name @ file:///directory`"
    if re.fullmatch(r"[\w.\[\],-]+=[^=<>!~].*", line):
        return "write `==` for an exact version"
    return str(error).partition("\n")[0]


def _option(line: str) -> tuple[str, str]:
    """Split an option line at its first blank, or at the `=` of a long option."""
    long = re.match(r"(--[a-z-]+)=(.*)", line)
    if long:
        return long[1], long[2].strip()
    option, _, argument = line.replace("\t", " ").partition(" ")
    return option, argument.strip()


def _lines(text: str, place: SourcePosition) -> Iterator[tuple[SourcePosition, str]]:
    """Yield the lines with content, without comments, with continued lines joined, each with its position."""
    joined, start = "", 0
    lines = text.removeprefix("\ufeff").splitlines()
    for number, raw in enumerate(lines, 1):
        start = start or number
        comment = _COMMENT.search(raw)
        line = raw[: comment.start()] if comment else raw
        # as pip does: a comment ends its line, even if that is a continuation
        if comment is None and line.rstrip().endswith("\\") and number < len(lines):
            joined += line.rstrip()[:-1] + " "
            continue
        if whole := (joined + line).strip():
            yield place.at(start), whole
        joined, start = "", 0
