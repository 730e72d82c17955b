"""uv.lock: of one lock for all platforms, what the project needs on one of them.

The walk begins at the project itself, which is not installed, and its group `dev`, which uv takes by default, and
follows dependencies whose marker holds. Where a package is locked in several versions, each for other platforms, a
dependency names the one it means.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from asynccache.model.package import Package
from asynccache.resolve.formats.pylock import best_archive
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree
from asynccache.resolve.place import Place, has_scheme
from asynccache.resolve.python_target import PythonTarget

Table = Mapping[str, Any]
_VERSION: Final = 1
_GROUPS: Final = frozenset({"dev"})
_PROJECT: Final = ("editable", "virtual")


def read_uv_lock(text: str, place: Place, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    """Read what is locked for the selected platforms, Python, extras and groups: archives and source trees, by name.

    Raises:
        UsageError: Not such a file, a target it was not locked for, or an entry that names no archive for the target.
    """
    try:
        return _read(tomllib.loads(text), place, selection)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise place.error(f"not a TOML document ({exc})") from exc
    except (KeyError, TypeError, AttributeError) as exc:
        raise place.error(f"it is malformed ({type(exc).__name__}: {exc})", hint="lock again") from exc


def _read(document: Table, place: Place, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    if document.get("version") != _VERSION:
        raise place.error(
            "this uv.lock version is unknown", expected=f"version = {_VERSION}", found=repr(document.get("version"))
        )
    packages: list[Package] = []
    trees: list[SourceTree] = []
    for platform in selection.platforms:
        target = PythonTarget(platform, selection.python_version, selection.glibc)
        archives, sources = _Walk(document, place, target).found(selection.extras, selection.groups)
        packages += archives
        trees += sources
    return packages, trees


class _Walk:
    def __init__(self, document: Table, place: Place, target: PythonTarget) -> None:
        self._place = place
        self._target = target
        self._packages: list[Table] = list(document.get("package", ()))
        self._by_name: dict[str, list[Table]] = {}
        for package in self._packages:
            self._by_name.setdefault(package["name"], []).append(package)
        self._members = set(document.get("manifest", {}).get("members", ()))
        self._check(document)

    def _check(self, document: Table) -> None:
        requires = document.get("requires-python")
        version = self._target.full_version
        try:
            fits = requires is None or SpecifierSet(requires).contains(version, prereleases=True)
        except InvalidSpecifier as exc:
            raise self._place.error("`requires-python` is malformed", found=repr(requires)[:80]) from exc
        if not fits:
            raise self._place.error(
                f"it does not hold for Python {version}",
                expected=f"Python {requires}",
                hint="choose another Python version, or lock again",
            )
        supported = document.get("supported-markers") or ()
        if supported and not any(self._holds(marker) for marker in supported):
            raise self._place.error(
                f"it was not locked for {self._target.arch} with Python {version}",
                expected=" or ".join(supported)[:400],
            )

    def found(self, extras: frozenset[str], groups: frozenset[str] | None) -> tuple[list[Package], list[SourceTree]]:
        roots = [p for p in self._packages if any(p["source"].get(kind) == "." for kind in _PROJECT)]
        roots = roots or [p for p in self._packages if p["name"] in self._members]
        if not roots:
            raise self._place.error("it names no project whose dependencies it locks", hint="lock again")
        taken: dict[str, Table] = {}
        seen: set[tuple[str, str, str]] = set()
        waiting: list[tuple[Table, tuple[str, ...]]] = []
        for root in roots:
            offered = root.get("optional-dependencies", {})
            self._check_choice("extras", extras, offered)
            waiting.append((root, tuple(sorted(extras))))
            grouped = root.get("dev-dependencies", {})
            self._check_choice("dependency groups", groups or frozenset(), grouped)
            for group in sorted(_GROUPS if groups is None else groups):
                waiting += self._needed(grouped.get(group, ()))
        while waiting:
            package, wanted = waiting.pop()
            name = package["name"]
            dependencies = [] if (name, self._key(package), "") in seen else list(package.get("dependencies", ()))
            seen.add((name, self._key(package), ""))
            for extra in wanted:
                if (name, self._key(package), extra) not in seen:
                    seen.add((name, self._key(package), extra))
                    dependencies += package.get("optional-dependencies", {}).get(extra, ())
            is_root = any(package is root for root in roots)
            if not is_root and taken.setdefault(name, package) is not package:
                raise self._where(package).error(
                    f"two versions of it are locked for {self._target.arch}",
                    hint="lock again: the file is ambiguous",
                )
            waiting += self._needed(dependencies)
        return self._sorted_out([taken[name] for name in sorted(taken)])

    def _check_choice(self, what: str, wanted: frozenset[str], offered: Table) -> None:
        if missing := sorted(wanted.difference(offered)):
            raise self._place.error(
                f"the project has not all the {what} asked for",
                expected=", ".join(missing),
                found=", ".join(offered) or "none",
            )

    def _needed(self, dependencies: Sequence[Table]) -> list[tuple[Table, tuple[str, ...]]]:
        return [
            (self._meant(dependency), tuple(dependency.get("extra", ())))
            for dependency in dependencies
            if not dependency.get("marker") or self._holds(dependency["marker"])
        ]

    def _meant(self, dependency: Table) -> Table:
        candidates = self._by_name.get(dependency["name"], [])
        for key in ("version", "source"):
            if key in dependency:
                candidates = [c for c in candidates if c.get(key) == dependency[key]]
        if len(candidates) > 1:
            forks = [c for c in candidates if any(map(self._holds, c.get("resolution-markers", ())))]
            candidates = forks or candidates
        if len(candidates) != 1:
            raise self._place.at(entry=f"package {dependency['name']}").error(
                "a dependency names a package that the file does not lock once", hint="lock again"
            )
        return candidates[0]

    def _holds(self, marker: str) -> bool:
        try:
            return Marker(marker).evaluate({**self._target.markers, "extra": ""})
        except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName) as exc:
            raise self._place.error("an environment marker is malformed", found=repr(marker[:200])) from exc

    @staticmethod
    def _key(package: Table) -> str:
        return f"{package.get('version')} {sorted(package['source'].items())}"

    def _where(self, package: Table) -> Place:
        return self._place.at(entry=f"package {package['name']}")

    def _sorted_out(self, packages: Sequence[Table]) -> tuple[list[Package], list[SourceTree]]:
        archives, trees = [], []
        for package in packages:
            tree = self._tree(package)
            if tree is not None:
                trees.append(tree)
            elif "virtual" not in package["source"]:
                archives.append(best_archive(self._as_entry(package), self._target, self._where(package)))
        return archives, trees

    def _tree(self, package: Table) -> SourceTree | None:
        source, where = package["source"], self._where(package)
        name, version = package["name"], package.get("version")
        for kind in ("directory", "editable"):
            if kind in source:
                return SourceTree(where, str(source[kind]), name, version, editable=kind == "editable")
        if "git" not in source:
            return None
        parts = urlsplit(str(source["git"]))
        subdirectory = parse_qs(parts.query).get("subdirectory", [""])[0]
        address = parts._replace(query="", fragment="").geturl()
        return SourceTree(where, f"git+{address}", name, version, parts.fragment or None, subdirectory)

    def _as_entry(self, package: Table) -> dict[str, Any]:
        """Return a package as a pylock.toml has it."""
        source = package["source"]
        location = source.get("url") or source.get("path")
        entry: dict[str, Any] = {}
        if wheels := [self._file(package, wheel, location) for wheel in package.get("wheels", ())]:
            entry["wheels"] = wheels
        if "sdist" in package:
            entry["sdist"] = self._file(package, package["sdist"], location)
        return entry

    def _file(self, package: Table, file: Table, location: str | None) -> dict[str, Any]:
        entry: dict[str, Any] = {}
        address = file.get("url") or file.get("path") or location
        if address is None:
            raise self._where(package).error("an archive has neither `url` nor `path`", found=str(file.get("filename")))
        registry = package["source"].get("registry")
        if "path" in file and registry and not has_scheme(registry):
            # of a registry that is a directory, paths are relative to it
            address = str(PurePosixPath(registry) / str(address))
        entry["url" if has_scheme(str(address)) else "path"] = str(address)
        algorithm, _, digest = str(file.get("hash") or "").partition(":")
        entry["hashes"] = {algorithm: digest} if digest else {}
        if "size" in file:
            entry["size"] = file["size"]
        return entry
