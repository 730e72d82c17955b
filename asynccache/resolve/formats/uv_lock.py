"""uv.lock: what the project needs on one platform, from one lock file for all of them.

The walk begins at the project itself, which is not installed, and its group `dev`, which uv takes by default, and
follows dependencies whose marker holds. If a package is locked in several versions for different platforms, a
dependency names the one it means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from packaging import pylock
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from asynccache.resolve.formats.pylock import Found, check_choice, select, targets
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.text import parse_toml
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.requests.source_position import SourcePosition, has_scheme

Table = Mapping[str, Any]
_VERSION: Final = 1
_GROUPS: Final = frozenset({"dev"})
_PROJECT: Final = ("editable", "virtual")


def read_uv_lock(text: str, place: SourcePosition, selection: Selection) -> Found:
    """Read what is locked for the selected platforms, Python, extras and groups: archives and source trees, by name.

    Raises:
        UsageError: It is not such a file, was not locked for the target, or an entry has no archive for the target.
    """
    document = parse_toml(text, place)
    try:
        return _read(document, place, selection)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise place.error(f"it is malformed ({type(exc).__name__}: {exc})", hint="lock again") from exc


def _read(document: Table, place: SourcePosition, selection: Selection) -> Found:
    if document.get("version") != _VERSION:
        raise place.error(
            "this uv.lock version is unknown", expected=f"version = {_VERSION}", found=repr(document.get("version"))
        )
    lock = pylock.Pylock(
        lock_version=Version("1.0"),
        created_by="uv",
        requires_python=SpecifierSet(document.get("requires-python", "")),
        environments=[Marker(marker) for marker in document.get("supported-markers", ())] or None,
        packages=[],
    )
    packages, trees = [], []
    for target in targets(selection):
        select(lock, target, place)  # only dependencies that the lock file itself includes can be followed
        found = _Walk(document, place, target).found(selection)
        archives, sources = select(replace(lock, packages=found), target, place)
        packages += archives
        trees += sources
    return packages, trees


class _Walk:
    def __init__(self, document: Table, place: SourcePosition, target: PythonTarget) -> None:
        self._place = place
        self._target = target
        self._packages: list[Table] = list(document.get("package", ()))
        self._members = set(document.get("manifest", {}).get("members", ()))

    def found(self, selection: Selection) -> list[pylock.Package]:
        roots = [p for p in self._packages if any(p["source"].get(kind) == "." for kind in _PROJECT)]
        roots = roots or [p for p in self._packages if p["name"] in self._members]
        if not roots:
            raise self._place.error("it names no project whose dependencies it locks", hint="lock again")
        waiting: list[tuple[Table, str]] = []  # packages, each by itself and with every requested extra
        for root in roots:
            check_choice("extras", selection.extras, root.get("optional-dependencies", {}), self._place)
            waiting += [(root, ""), *((root, extra) for extra in selection.extras)]
            grouped = root.get("dev-dependencies", {})
            check_choice("dependency groups", selection.groups or (), grouped, self._place)
            for group in _GROUPS if selection.groups is None else selection.groups:
                waiting += self._needed(grouped.get(group, ()))
        taken: dict[str, Table] = {}
        seen: set[tuple[int, str]] = set()
        while waiting:
            package, extra = waiting.pop()
            if (id(package), extra) in seen:
                continue
            seen.add((id(package), extra))
            is_root = any(package is root for root in roots)
            if not is_root and taken.setdefault(package["name"], package) is not package:
                raise self._where(package).error(
                    f"two versions of it are locked for {self._target.arch}",
                    hint="lock again: the file is ambiguous",
                )
            extras = package.get("optional-dependencies", {})
            waiting += self._needed(extras.get(extra, ()) if extra else package.get("dependencies", ()))
        return [self._as_entry(taken[name]) for name in sorted(taken) if "virtual" not in taken[name]["source"]]

    def _needed(self, dependencies: Sequence[Table]) -> list[tuple[Table, str]]:
        return [
            (self._meant(dependency), extra)
            for dependency in dependencies
            if not dependency.get("marker") or self._holds(dependency["marker"])
            for extra in ("", *dependency.get("extra", ()))
        ]

    def _meant(self, dependency: Table) -> Table:
        candidates = [package for package in self._packages if package["name"] == dependency["name"]]
        for key in ("version", "source"):
            if key in dependency:
                candidates = [c for c in candidates if c.get(key) == dependency[key]]
        if len(candidates) > 1:
            forks = [c for c in candidates if any(map(self._holds, c.get("resolution-markers", ())))]
            candidates = forks or candidates
        if len(candidates) != 1:
            raise self._where(dependency).error(
                "a dependency names a package that the file does not lock once", hint="lock again"
            )
        return candidates[0]

    def _holds(self, marker: str) -> bool:
        return Marker(marker).evaluate({**self._target.markers, "extra": ""})

    def _where(self, package: Table) -> SourcePosition:
        return self._place.at(entry=f"package {package['name']}")

    def _as_entry(self, package: Table) -> pylock.Package:
        """Return a package in the format of a pylock.toml."""
        source = package["source"]
        entry = pylock.Package(
            name=canonicalize_name(package["name"]),
            version=Version(package["version"]) if "version" in package else None,
        )
        for kind in ("directory", "editable"):
            if kind in source:
                return replace(entry, directory=pylock.PackageDirectory(path=source[kind], editable=kind == "editable"))
        if "git" in source:
            return replace(entry, vcs=_repository(source["git"]))
        if "url" in source and "sdist" in package and not package.get("wheels"):
            file = self._file(package, package["sdist"])
            return replace(entry, archive=pylock.PackageArchive(**file, subdirectory=source.get("subdirectory")))
        return replace(
            entry,
            wheels=[pylock.PackageWheel(**self._file(package, wheel)) for wheel in package.get("wheels", ())],
            sdist=pylock.PackageSdist(**self._file(package, package["sdist"])) if "sdist" in package else None,
        )

    def _file(self, package: Table, file: Table) -> dict[str, Any]:
        source = package["source"]
        address = file.get("url") or file.get("path") or source.get("url") or source.get("path")
        if address is None:
            raise self._where(package).error("an archive has neither `url` nor `path`", found=str(file.get("filename")))
        registry = source.get("registry")
        if "path" in file and registry and not has_scheme(registry):
            # paths in a registry that is a directory are relative to it
            address = str(PurePosixPath(registry) / str(address))
        algorithm, _, digest = str(file.get("hash") or "").partition(":")
        return {
            "url" if has_scheme(address) else "path": address,
            "hashes": {algorithm: digest} if digest else {},
            "size": file.get("size"),
        }


def _repository(address: str) -> pylock.PackageVcs:
    parts = urlsplit(address)
    return pylock.PackageVcs(
        type="git",
        url=parts._replace(query="", fragment="").geturl(),
        commit_id=parts.fragment,
        subdirectory=parse_qs(parts.query).get("subdirectory", [""])[0],
    )
