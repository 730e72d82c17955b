"""Read any list of packages that `asynccache cache --from` takes, recognising its format by name and content."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from asynccache.errors import IntegrityError, UsageError
from asynccache.model.package import Package
from asynccache.resolve.conda_lock import read_conda_lock
from asynccache.resolve.line_lists import EXPLICIT_MARK, looks_like_package_line, read_explicit, read_url_list
from asynccache.resolve.pixi_lock import read_pixi_lock
from asynccache.resolve.place import Place
from asynccache.resolve.pylock import read_pylock
from asynccache.resolve.selection import Selection


class ListFormat(StrEnum):
    """A format of lists of packages."""

    EXPLICIT = "@EXPLICIT"
    CONDA_LOCK = "conda-lock.yml"
    PIXI_LOCK = "pixi.lock"
    PYLOCK = "pylock.toml"
    URLS = "list of URLs"


@dataclass(frozen=True, slots=True)
class PackageList:
    """What a list holds for a selection.

    Attributes:
        format: What the list was recognised as.
        packages: In the list's order, each URL once.
        skipped: What was left out because it is no archive, a sentence each; only with `skip_sources`.
    """

    format: ListFormat
    packages: tuple[Package, ...]
    skipped: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Package]:
        return iter(self.packages)

    def __len__(self) -> int:
        return len(self.packages)


_NAMES: Final = (
    (re.compile(r"(.*[._-])?pixi\.lock"), ListFormat.PIXI_LOCK),
    (re.compile(r"(.*[._-])?conda-lock\.ya?ml"), ListFormat.CONDA_LOCK),
    (re.compile(r"pylock\.([^.]+\.)?toml"), ListFormat.PYLOCK),
)
# All patterns of a line must be found: one that spans lines would take quadratic time on a hostile list.
_CONTENTS: Final = (
    ((re.compile(rf"^{EXPLICIT_MARK}\b", re.MULTILINE),), ListFormat.EXPLICIT),
    ((re.compile(r"^lock-version\s*=", re.MULTILINE),), ListFormat.PYLOCK),
    ((re.compile(r"^environments:", re.MULTILINE), re.compile(r"^packages:", re.MULTILINE)), ListFormat.PIXI_LOCK),
    ((re.compile(r"^package:", re.MULTILINE),), ListFormat.CONDA_LOCK),
)
# Files that people try, and what turns them into one that can be read.
_OTHERS: Final = (
    (re.compile(r"^\[\[package\]\]", re.MULTILINE), "a uv.lock or poetry.lock", "`uv export --format pylock.toml`"),
    (re.compile(r"^dependencies:", re.MULTILINE), "an environment.yml", "`conda-lock -f` with it"),
    (re.compile(r"^\[(project|tool\.|build-system|workspace|dependencies)", re.MULTILINE), "a manifest", "a lock"),
    (re.compile(r"^[A-Za-z0-9][\w.-]*(\[.*\])?\s*([=<>~!]=?|$)", re.MULTILINE), "a list of requirements", "a lock"),
)
_DIVIDED: Final[dict[ListFormat, Callable[[str, Place, Selection], tuple[list[Package], list[str]]]]] = {
    ListFormat.CONDA_LOCK: read_conda_lock,
    ListFormat.PIXI_LOCK: read_pixi_lock,
    ListFormat.PYLOCK: read_pylock,
}
_UNDIVIDED: Final[dict[ListFormat, Callable[[str, Place, Selection], list[Package]]]] = {
    ListFormat.EXPLICIT: read_explicit,
    ListFormat.URLS: read_url_list,
}


def recognise(name: str, text: str) -> ListFormat:
    """Tell a list's format by its name, else by its content.

    Raises:
        UsageError: It is none that can be read; the error names what it seems to be.

    >>> recognise("pylock.dev.toml", "")
    <ListFormat.PYLOCK: 'pylock.toml'>
    """
    filename = Path(name).name
    for pattern, fmt in _NAMES:
        if pattern.fullmatch(filename):
            return fmt
    for patterns, fmt in _CONTENTS:
        if all(pattern.search(text) for pattern in patterns):
            return fmt
    lines = (line.strip() for line in text.split("\n"))
    first = next((line for line in lines if line and not line.startswith("#")), None)
    if first is None or looks_like_package_line(first):
        return ListFormat.URLS
    readable = ", ".join(ListFormat)
    for pattern, other, remedy in _OTHERS:
        if pattern.search(text):
            raise Place(name).error(
                f"it looks like {other}", expected=readable, hint=f"make a list that names archives, with {remedy}"
            )
    raise Place(name).error("its format is unknown", expected=readable)


def read_package_list(
    name: str,
    text: str,
    *,
    arches: tuple[str, ...] = (),
    environment: str | None = None,
    python: str | None = None,
    extras: frozenset[str] = frozenset(),
    groups: frozenset[str] | None = None,
    skip_sources: bool = False,
) -> PackageList:
    """Read a list of packages.

    Args:
        name: Its path, which relative entries are relative to and errors name; `-` for standard input.
        text: Its content.
        arches: Architectures to take, by conda names; empty means this machine's, or all of an undivided list.
        environment: Environment of a pixi.lock, `default` unless given.
        python: `3.N` or `3.N.M`, the Python that wheels of a pylock.toml are chosen for; by default the one running.
        extras: Extras of a pylock.toml to include.
        groups: Dependency groups of a pylock.toml to include; None for its default groups.
        skip_sources: Leave out directories and repositories instead of refusing the list.

    Raises:
        UsageError: The format is unknown, or the list, an entry or the selection is wrong; the message names file,
            line (or entry), reason and what to do.
    """
    text = text.removeprefix("\ufeff")
    place = Place(name)
    selection = Selection(arches, environment, python, extras, groups, skip_sources)
    fmt = recognise(name, text)
    if environment is not None and fmt is not ListFormat.PIXI_LOCK:
        raise place.error(
            f"an environment was asked for ({environment!r}), which only a pixi.lock has", found=f"a {fmt.value}"
        )
    if fmt in _DIVIDED:
        packages, skipped = _DIVIDED[fmt](text, place, selection)
    else:
        packages, skipped = _UNDIVIDED[fmt](text, place, selection), []
    return PackageList(fmt, _each_once(packages, place), tuple(skipped))


def _each_once(packages: list[Package], place: Place) -> tuple[Package, ...]:
    merged: dict[str, Package] = {}
    for package in packages:
        url = str(package.url)
        try:
            merged[url] = merged[url].with_digests(package.digests) if url in merged else package
        except IntegrityError as exc:
            raise UsageError(
                f"{place}: it lists {url} twice ({exc.message})", expected=exc.expected, found=exc.found
            ) from exc
    return tuple(merged.values())
