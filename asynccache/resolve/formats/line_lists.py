"""Lists with one package a line: `@EXPLICIT` files of conda, and plain lists of URLs with digests.

A line is a URL or a path, and its digests, in any of the notations that tools use:

    https://host/channel/noarch/a-1.0-h0_0.conda#d41d8cd98f00b204e9800998ecf8427e      md5, or sha256 by its length
    https://host/channel/noarch/a-1.0-h0_0.conda#md5=...      also #sha256=..., #sha256:...
    https://host/files/a-1.0-py3-none-any.whl sha256:...      also --hash=sha256:..., several of them
    a @ https://host/files/a-1.0-py3-none-any.whl --hash=sha256:...
    # pip a @ https://host/files/a-1.0-py3-none-any.whl --hash=sha256=...      in @EXPLICIT files, as conda-lock writes

Lines that are blank or start with `#` are comments, a backslash at a line's end continues it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from asynccache.errors import UsageError
from asynccache.model.digest import HEX_LENGTH, Digests
from asynccache.model.package import Kind, Package, split_filename
from asynccache.model.url import redacted
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree
from asynccache.resolve.requests.source_position import SourcePosition, has_scheme, package_at

EXPLICIT_MARK: Final = "@EXPLICIT"
_NAMED: Final = re.compile(r"^[A-Za-z0-9][\w.-]*(\[[^\]]*\])?\s*@\s*(?=\S)")
_PIP_COMMENT: Final = re.compile(r"#\s*pip\s+(?=\S+\s*@)")
_COMMENT: Final = re.compile(r"\s#.*")
_HASH_OPTION: Final = re.compile(r"(?<=\s)--hash\s+(?=\S)")
_DIGEST: Final = re.compile(r"(?:--hash[= ])?(?P<algorithm>[a-z0-9_]+)[:=](?P<digest>[0-9A-Fa-f]+)")

_ANY_DIGEST: Final = re.compile(r"(#|[#&]\w+=|\s(--hash[= ])?\w+[:=])[0-9A-Fa-f]{32}")


def read_explicit(text: str, place: SourcePosition, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    """Read an `@EXPLICIT` file.

    Raises:
        UsageError: A line names no package.
    """
    packages = []
    for line_place, line in _lines(text, place):
        pip = _PIP_COMMENT.match(line)
        if pip:
            packages.append(_package(line[pip.end() :], line_place, "pypi"))
        elif not line.startswith(("#", EXPLICIT_MARK)):
            packages.append(_package(line, line_place, None))
    return [package for package in packages if selection.wants_subdir(package.subdir)], []


def read_url_list(text: str, place: SourcePosition, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    """Read a plain list of URLs.

    Raises:
        UsageError: A line names no package.
    """
    packages = [_package(line, where, None) for where, line in _lines(text, place) if not line.startswith("#")]
    return [package for package in packages if selection.wants_subdir(package.subdir)], []


def _lines(text: str, place: SourcePosition) -> Iterator[tuple[SourcePosition, str]]:
    """Yield the lines that are not blank, with continued lines joined, each with its position."""
    joined, start = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        start = start or number
        stripped = line.strip()
        if stripped.endswith("\\") and not stripped.startswith("#"):
            joined += stripped[:-1] + " "
            continue
        whole = (joined + stripped).strip()
        if whole:
            yield place.at(start), whole
        joined, start = "", 0
    if joined.strip():
        yield place.at(start), joined.strip()


def _package(line: str, place: SourcePosition, kind: Kind | None) -> Package:
    location, *words = _HASH_OPTION.sub("--hash=", _COMMENT.sub("", _NAMED.sub("", line))).split()
    if ";" in words:
        raise place.error(
            "a line has an environment marker, which a list of URLs cannot carry",
            hint="write only the lines that hold for the target, or lock to a pylock.toml",
        )
    location, _, fragment = location.partition("#")
    texts = [*_fragment_digests(fragment), *words]
    return package_at(place, location, _digests(texts, place), kind=kind)


def _fragment_digests(fragment: str) -> list[str]:
    if not fragment:
        return []
    if not re.search("[:=]", fragment):
        return [f"{'sha256' if len(fragment) == HEX_LENGTH['sha256'] else 'md5'}:{fragment}"]
    # pip writes the project's name as `egg=NAME` beside the digest.
    return [part for part in fragment.split("&") if not part.startswith("egg=")]


def _digests(texts: list[str], place: SourcePosition) -> Digests:
    known = Digests()
    unknown = []
    for text in texts:
        match = _DIGEST.fullmatch(text)
        if match is None:
            raise place.error(
                "a line has something other than a digest after its URL",
                expected="--hash=sha256:DIGEST",
                found=repr(redacted(text[:80])),
            )
        algorithm = match["algorithm"]
        if algorithm not in HEX_LENGTH:
            unknown.append(algorithm)
            continue
        with place.located():
            known = known.merged(Digests.of(algorithm, match["digest"]))
    if unknown and not known:
        raise place.error("a line has only digests that are not checked here", expected="sha256 or md5", found=unknown)
    return known


def is_list_of_addresses(text: str, *, digests: bool = False) -> bool:
    r"""Whether the first line with content names an archive by its URL or path.

    Args:
        text: The list.
        digests: Whether it must have a digest as well: then it is not a requirement.

    >>> is_list_of_addresses("https://host/noarch/a-1-0.conda"), is_list_of_addresses("numpy==1.26")
    (True, False)
    >>> text = "a @ https://host/a-1.0.whl"
    >>> is_list_of_addresses(text, digests=True), is_list_of_addresses(text + " \\\n --hash=sha256:00", digests=True)
    (False, True)
    """
    line = next((line for _place, line in _lines(text, SourcePosition("")) if not line.startswith("#")), "")
    words = _NAMED.sub("", line).split()
    if not words or (digests and not _ANY_DIGEST.search(line)):
        return False
    if has_scheme(words[0]):
        return True
    try:
        split_filename(words[0].partition("#")[0])
    except UsageError:
        return False
    return True
