"""A conda specification, read as its MatchSpec reads it, as name and constraint of a request.

What conda writes in several ways becomes one text, which is part of the request's identity: version or range, then a
build after `=` (contract, section 7.8.2).
"""

from __future__ import annotations

import re
from typing import Final

from asynccache.model.url import redacted
from asynccache.resolve.requests.source_position import SourcePosition

_OPERATOR: Final = re.compile(r"=?(<=|>=|~=|!=|==|<|>|=)")
_NAME: Final = re.compile(r"(?:\S+::)?[A-Za-z0-9_][\w.-]*(?:\s*\[[\w.,\s-]*\])?")
_JOINED: Final = re.compile(r"\s*([<>=!~,|]+)\s*")
_VERSION: Final = re.compile(r"[0-9*<>=!~]")
_BUILD: Final = re.compile(r"[^\s=,|<>~'\"\[\]-]+")
_BRACKETS: Final = r"(?P<head>[^\[]+)\[(?P<fields>[^\[\]]*)\]\s*"
_PREFIX: Final = re.compile(r"[^=<>!~\[]+=\s*[^=<>!~,|*\s\[]+\s*")
_FIELD: Final = re.compile(r"""\s*(\w+)\s*=\s*(?:'([^']*)'|"([^"]*)"|([^,'"\s]*))\s*(?:,|\Z)""")
_KEYS: Final = ("version", "build", "channel")


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


def read_item(item: str, place: SourcePosition) -> tuple[str, str]:
    """Split an item into name and constraint, as `split_item` does.

    Raises:
        UsageError: Its name is invalid.
    """
    name = re.split(r"[=<>!~]", item, maxsplit=1)[0].strip()
    if not _NAME.fullmatch(name):
        raise _malformed(item, place)
    return split_item(item)


def is_prefix(item: str) -> bool:
    """Whether conda takes the version of an item for the beginning of one: after a single `=`, without a build.

    >>> is_prefix("a=1.2"), is_prefix("a ==1.2"), is_prefix("a=1.2=py_0"), is_prefix("a 1.2"), is_prefix("a=1.2.*")
    (True, False, False, False, False)
    """
    return _PREFIX.fullmatch(item) is not None


def read_conda_item(item: str, place: SourcePosition) -> tuple[str, str]:
    """Split a specification of conda into name and constraint.

    Args:
        item: `NAME`, `NAME=VERSION=BUILD`, `NAME>=VERSION=BUILD`, `NAME VERSION BUILD`, `NAME[version='>=1']`.
        place: Its position.

    Raises:
        UsageError: It is invalid, or asks for what a request cannot express.

    >>> at = SourcePosition("x")
    >>> read_conda_item("a >=1, <2 py3.1*", at), read_conda_item("b[version='>=1',build=h_*]", at)
    (('a', '>=1,<2=py3.1*'), ('b', '>=1=h_*'))
    >>> read_conda_item("ch::c 1.25|2.0.*", at), read_conda_item("d[build=*cuda*]", at)
    (('ch::c', '1.25|2.0.*'), ('d', '*=*cuda*'))
    """
    brackets = re.fullmatch(_BRACKETS, item)
    fields = _fields(brackets["fields"], item, place) if brackets else {}
    words = _JOINED.sub(r"\1", brackets["head"] if brackets else item).split()
    operator = _OPERATOR.search(words[0]) if words else None
    if operator is not None:
        words[:1] = [words[0][: operator.start()], words[0][operator.start() :]]
    elif len(words) > 1 and not _VERSION.match(words[1]):
        raise _malformed(item, place)
    if not words or len(words) > 3:
        raise _malformed(item, place)
    name, version, build = [*words, "", ""][:3]
    version, build = fields.get("version", version), fields.get("build", build)
    if "channel" in fields:
        name = f"{fields['channel']}::{name.rpartition('::')[2]}"
    if build and not _BUILD.fullmatch(build):
        raise place.error(f"{redacted(item[:120])!r} has a build that is none", found=repr(build))
    if version or build:
        version = version or "*"
        name += ("" if version[0] in "<>=!~" else "=") + version + (f"={build}" if build else "")
    return read_item(name, place)


def _fields(text: str, item: str, place: SourcePosition) -> dict[str, str]:
    fields, end = {}, 0
    while end < len(text):
        match = _FIELD.match(text, end)
        if match is None:
            raise _malformed(item, place)
        if match[1] not in _KEYS:
            raise place.error(
                f"{redacted(item[:120])!r} asks for {match[1]}, which a request cannot hold", expected=", ".join(_KEYS)
            )
        fields[match[1]], end = _JOINED.sub(r"\1", next(filter(None, match.groups()[1:]), "")).strip(), match.end()
    return fields


def _malformed(item: str, place: SourcePosition) -> Exception:
    return place.error(
        f"Could not parse {redacted(item[:120])!r}",
        expected="NAME, NAME=VERSION, NAME>=VERSION, NAME=VERSION=BUILD or NAME[version='>=VERSION']",
    )
