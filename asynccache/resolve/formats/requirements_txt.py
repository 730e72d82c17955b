"""requirements.txt: PEP 508 requirements, and the options that an environment can have (contract, section 7.8.1).

Beyond pip's own format, `--conda-channel`, `--conda-pkg` and `--sys-pkg` name what does not come from an index. A
backslash at a line's end continues the line. Constraints, editable installs, included files and hashes are refused:
what is resolved is locked by digests anyway.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from asynccache.model.url import redacted
from asynccache.resolve.place import Place
from asynccache.resolve.requirements import SYS_PACKAGES, Collector, Requirement, Requirements

_COMMENT: Final = re.compile(r"(^|[ \t])#.*")
_OPERATOR: Final = re.compile(r"=?(<=|>=|~=|!=|==|<|>|=)")
_NAME: Final = re.compile(r"(?:\S+::)?[A-Za-z0-9_][\w.-]*(?:\s*\[[\w.,\s-]*\])?")
_FLAGS: Final = ("--pre", "--no-index")
_WITH_ARGUMENT: Final = (
    "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host",
    "--conda-channel", "--conda-pkg", "--sys-pkg",
)  # fmt: skip
_REFUSED: Final = {
    "-r": "name all files on the command line instead",
    "--requirement": "name all files on the command line instead",
    "-c": "write the constraint into the requirement itself",
    "--constraint": "write the constraint into the requirement itself",
    "-e": "editable installs cannot be part of an environment that other machines use; write `name @ file:///directory`",
    "--editable": "editable installs cannot be part of an environment that other machines use; "
    "write `name @ file:///directory`",
    "--hash": "the resolved environment records the digest of every package; to start from digests use a pylock.toml",
}


def read_requirements_txt(text: str, place: Place) -> Requirements:
    """Read a requirements.txt.

    Raises:
        UsageError: A line that is not supported; the message names file, line and reason.
    """
    collector = Collector()
    for where, line in _lines(text, place):
        read_line(line, where, collector)
    return collector.result()


def read_line(line: str, place: Place, collector: Collector) -> None:
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
        name, constraint = read_item(argument, place)
        collector.require("npconda", Requirement(name, constraint, place=place))
    elif option == "--sys-pkg":
        collector.require("sys", sys_requirement(argument, place))
    else:
        collector.flag("pypi", f"{option} {argument}", place)


def split_item(item: str) -> tuple[str, str]:
    """Split `NAME OP VERSION` as conda's files write it: blanks do not count, `=` and `==` both say "this version".

    >>> split_item("ffmpeg = 4"), split_item("a >= 1, < 2"), split_item("e=1.0=py38_0"), split_item("git-lfs")
    (('ffmpeg', '4'), ('a', '>=1,<2'), ('e', '1.0=py38_0'), ('git-lfs', ''))
    """
    packed = re.sub(r"\s+", "", item)
    operator = _OPERATOR.search(packed)
    if operator is None:
        return packed, ""
    version = packed[operator.end() :]
    exact = operator[1] in {"=", "=="}
    return packed[: operator.start()], version.lstrip("=") if exact else operator[1] + version


def read_item(item: str, place: Place) -> tuple[str, str]:
    """Split an item into name and constraint, as `split_item` does.

    Raises:
        UsageError: Its name is none.
    """
    name = re.split(r"[=<>!~]", item, maxsplit=1)[0].strip()
    if not _NAME.fullmatch(name):
        brackets = "write version and build as NAME=VERSION=BUILD" if "[" in item else None
        raise place.error(
            f"Could not parse {redacted(item[:120])!r}", expected="NAME, NAME=VERSION or NAME>=VERSION", hint=brackets
        )
    return split_item(item)


def sys_requirement(item: str, place: Place) -> Requirement:
    """Read a virtual package with its version.

    Raises:
        UsageError: It has no version, or is none that can be asked for.
    """
    name, version = read_item(item, place)
    if name not in SYS_PACKAGES:
        raise place.error(
            f"the system dependency {name!r} is not allowed", expected=" or ".join(SYS_PACKAGES), found=repr(name)
        )
    if not version:
        raise place.error(f"the system dependency {name!r} requires a version", expected=f"{name}==VERSION")
    return Requirement(name, version, place=place)


def pep508_requirement(line: str, place: Place) -> Requirement:
    """Read a requirement by PEP 508; extras are put in order, so that its identity does not vary.

    Raises:
        UsageError: It is none.
    """
    from packaging import requirements  # noqa: PLC0415 - conda's lines need none

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


def _requirement(line: str, place: Place, collector: Collector) -> None:
    requirement = pep508_requirement(line, place)
    if requirement.name != "python":
        collector.require("pypi", requirement)
        return
    if requirement.marker:
        raise place.error(
            "the version of Python cannot depend on a marker", hint="write `python==3.11.*` without marker"
        )
    if requirement.constraint:
        collector.want_python(requirement.constraint, place)


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


def _lines(text: str, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield the lines that say something, without comments, continued ones joined, each with where it starts."""
    joined, start = "", 0
    lines = text.removeprefix("\ufeff").splitlines()
    for number, raw in enumerate(lines, 1):
        start = start or number
        comment = _COMMENT.search(raw)
        line = raw[: comment.start()] if comment else raw
        # as pip does: a comment ends the line that it stands in, also where that is a continuation
        if comment is None and line.rstrip().endswith("\\") and number < len(lines):
            joined += line.rstrip()[:-1] + " "
            continue
        if whole := (joined + line).strip():
            yield place.at(start), whole
        joined, start = "", 0
