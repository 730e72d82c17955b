"""pylock.toml (PEP 751): of every package whose marker holds for the target, the best archive.

Best is the wheel whose tag comes first in the target's order, then the one with the higher build number; where no
wheel fits, the sdist. Entries for a directory or a repository name no archive.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from asynccache.errors import UsageError
from asynccache.model.digest import HEX_LENGTH, Digests
from asynccache.model.package import Package
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree
from asynccache.resolve.place import Place, has_scheme, local_url, package_at
from asynccache.resolve.python_target import PythonTarget

Table = Mapping[str, Any]
_MAJOR: Final = "1"
_SOURCES: Final = ("vcs", "directory")


def read_pylock(text: str, place: Place, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    """Read the packages for the selected platforms and Python, and the source trees.

    Raises:
        UsageError: Not such a file, a target it was not locked for, or an entry that names no archive for the target.
    """
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise place.error(f"not a TOML document ({exc})") from exc
    version = _get(document, "lock-version", str, place)
    if version is None or version.partition(".")[0] != _MAJOR:
        raise place.error(
            "this lock version is unknown", expected=f'lock-version = "{_MAJOR}.0"', found=repr(version or "none")[:40]
        )
    _check_choice(document, ("extras",), selection.extras, place)
    _check_choice(document, ("dependency-groups", "default-groups"), selection.groups or frozenset(), place)
    packages, trees = [], []
    for platform in selection.platforms:
        target = PythonTarget(platform, selection.python_version, selection.glibc)
        environment = _environment(document, target, selection, place)
        for table, where in _selected(document, target, environment, place):
            if any(key in table for key in _SOURCES):
                trees.append(_tree(table, where))
            else:
                packages.append(best_archive(table, target, where))
    return packages, trees


def _tree(table: Table, where: Place) -> SourceTree:
    name, version = _get(table, "name", str, where), _get(table, "version", str, where)
    directory = _get(table, "directory", dict, where)
    entry = directory or _get(table, "vcs", dict, where) or {}
    location = _get(entry, "url", str, where) or _get(entry, "path", str, where)
    if not location:
        raise where.error("a source tree has neither `url` nor `path`")
    subdirectory = _get(entry, "subdirectory", str, where) or ""
    if directory is not None:
        editable = bool(_get(directory, "editable", bool, where))
        return SourceTree(where, location, name, version, subdirectory=subdirectory, editable=editable)
    address = location if has_scheme(location) else local_url(location, where)
    commit = _get(entry, "commit-id", str, where)
    kind = _get(entry, "type", str, where) or "git"
    return SourceTree(where, f"{kind}+{address}", name, version, commit, subdirectory)


def _get(table: Table, key: str, kind: type, place: Place) -> Any:
    """Return a value of a type, None when it is absent.

    Raises:
        UsageError: It has another type.
    """
    value = table.get(key)
    if value is None or (isinstance(value, kind) and not (kind is int and isinstance(value, bool))):
        return value
    raise place.error(f"`{key}` is malformed", expected=f"a {kind.__name__}", found=f"a {type(value).__name__}")


def _tables(table: Table, key: str, place: Place) -> list[Table]:
    tables = _get(table, key, list, place) or []
    if not all(isinstance(item, dict) for item in tables):
        raise place.error(f"`{key}` is malformed", expected="a list of tables")
    return tables


def _check_choice(document: Table, keys: tuple[str, ...], wanted: frozenset[str], place: Place) -> None:
    offered = [str(name) for key in keys for name in _get(document, key, list, place) or []]
    missing = sorted(wanted.difference(offered))
    if missing:
        raise place.error(
            f"it has not all the {keys[0]} asked for", expected=", ".join(missing), found=", ".join(offered) or "none"
        )


def _environment(
    document: Table, target: PythonTarget, selection: Selection, place: Place
) -> dict[str, str | frozenset[str]]:
    """Return the values that markers are evaluated with, having checked that the lock is meant for them."""
    defaults = frozenset(map(str, _get(document, "default-groups", list, place) or []))
    groups = defaults if selection.groups is None else selection.groups
    environment: dict[str, str | frozenset[str]] = {**target.markers}
    environment |= {"extras": selection.extras, "dependency_groups": groups}
    meant_for = [str(marker) for marker in _get(document, "environments", list, place) or []]
    if meant_for and not any(_holds(marker, environment, place) for marker in meant_for):
        raise place.error(
            f"it was not locked for {target.arch} with Python {target.version}",
            expected=" or ".join(meant_for)[:400],
            hint="choose another platform or Python version, or lock again",
        )
    _check_python(document, target, place)
    return environment


def _check_python(table: Table, target: PythonTarget, place: Place) -> None:
    requires = _get(table, "requires-python", str, place)
    if requires is None:
        return
    try:
        fits = SpecifierSet(requires).contains(target.full_version, prereleases=True)
    except InvalidSpecifier as exc:
        raise place.error("`requires-python` is malformed", found=repr(requires[:80])) from exc
    if not fits:
        raise place.error(
            f"it does not hold for Python {target.version}",
            expected=f"Python {requires}",
            hint="choose another Python version, or lock again",
        )


def _holds(marker: str, environment: Mapping[str, str | frozenset[str]], place: Place) -> bool:
    try:
        return Marker(marker).evaluate(environment, context="lock_file")
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName, ValueError) as exc:
        raise place.error("an environment marker is malformed", found=repr(marker[:200])) from exc


def _selected(
    document: Table, target: PythonTarget, environment: Mapping[str, str | frozenset[str]], place: Place
) -> Iterable[tuple[Table, Place]]:
    chosen: dict[str, tuple[Table, Place]] = {}
    for number, table in enumerate(_tables(document, "packages", place), 1):
        name = _get(table, "name", str, place.at(entry=f"package {number}"))
        where = place.at(entry=f"package {name or number}")
        if not name:
            raise where.error("a package has no `name`")
        marker = _get(table, "marker", str, where)
        if marker and not _holds(marker, environment, where):
            continue
        _check_python(table, target, where)
        if name in chosen:
            raise where.error(
                f"it is listed twice for {target.arch} with Python {target.version}",
                expected="markers that exclude each other",
                hint="lock again: the file is ambiguous",
            )
        chosen[name] = (table, where)
    return chosen.values()


def best_archive(table: Table, target: PythonTarget, where: Place) -> Package:
    """Return the best wheel of an entry for a target, else its archive or sdist.

    Raises:
        UsageError: None fits, or an archive has no digest that is checked here.
    """
    wheels = _tables(table, "wheels", where)
    best = _best_wheel(wheels, target, where)
    archive = best or _get(table, "archive", dict, where) or _get(table, "sdist", dict, where)
    if archive is not None:
        package: Package = _package(archive, where)
        return package
    names = ", ".join(_filename(wheel, where) for wheel in wheels[:3])
    raise where.error(
        f"no archive fits {target.arch} with Python {target.version}",
        expected="a wheel with a tag of that target, or an sdist",
        found=f"{len(wheels)} other wheels ({names}{', ...' if len(wheels) > 3 else ''})" if wheels else "none",
        hint="choose another platform or Python version, or lock again for this one",
    )


def _best_wheel(wheels: list[Table], target: PythonTarget, where: Place) -> Table | None:
    candidates = []
    for number, wheel in enumerate(wheels):
        name = _filename(wheel, where)
        try:
            _, _, build, tags = parse_wheel_filename(name)
        except InvalidWheelFilename as exc:
            raise where.error("a wheel's name is malformed", found=repr(name[:120])) from exc
        rank = min((target.ranks[tag] for tag in tags if tag in target.ranks), default=None)
        if rank is not None:
            candidates.append((-rank, build, -number))
    return wheels[-max(candidates)[2]] if candidates else None


def _location(table: Table, where: Place) -> str:
    location = _get(table, "url", str, where) or _get(table, "path", str, where)
    if not location:
        raise where.error("an archive has neither `url` nor `path`")
    return str(location)


def _filename(table: Table, where: Place) -> str:
    name = _get(table, "name", str, where)
    if name:
        return str(name)
    location = _location(table, where).partition("#")[0].partition("?")[0]
    try:
        return package_at(where, location, Digests()).filename
    except UsageError:
        return location.rstrip("/").rpartition("/")[2]


def _package(table: Table, where: Place) -> Package:
    hashes = _get(table, "hashes", dict, where) or {}
    known = {name: str(value) for name, value in hashes.items() if name in HEX_LENGTH}
    if not known:
        raise where.error(
            "an archive has no digest that is checked here",
            expected="sha256 or md5",
            found=", ".join(hashes) or "none",
            hint="lock again with sha256",
        )
    size = _get(table, "size", int, where)
    if size is not None and size < 0:
        raise where.error("`size` is malformed", expected="a number of bytes", found=size)
    with where.located():
        digests = Digests(**known, size=size)
    return package_at(where, _location(table, where), digests, kind="pypi")
