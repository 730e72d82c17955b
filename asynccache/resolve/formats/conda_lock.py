"""conda-lock.yml, version 1 of the format: one entry per package and platform, from conda and from PyPI.

Entries of every category (`main`, `dev` and others) are taken: a cache serves them all.
"""

from __future__ import annotations

from typing import Final

from asynccache.model.digest import Digests
from asynccache.model.package import Kind, Package
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree, bears_name, is_source_tree
from asynccache.resolve.formats.yaml_document import Entry, parse_yaml
from asynccache.resolve.requests.source_position import SourcePosition, package_at

_KINDS: Final[dict[str, Kind]] = {"conda": "conda", "pip": "pypi"}


def read_conda_lock(text: str, place: SourcePosition, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    """Read the packages of the selected platforms, and the source trees.

    Raises:
        UsageError: The format has another version, the file was not locked for a platform, or an entry names no
            package.
    """
    document = parse_yaml(text, place)
    version = document.required_text("version")
    if version != "1":
        raise document.place.error(
            "this conda-lock version is unknown", expected="version 1", found=f"version {version[:20]}"
        )
    entries = document.entries("package")
    packages, trees = [], []
    for platform in selection.platforms:
        chosen = [entry for entry in entries if entry.required_text("platform") == platform]
        if not chosen:
            raise place.error(
                f"it was not locked for {platform}",
                found=", ".join(sorted({entry.required_text("platform") for entry in entries})) or "no package at all",
                hint="choose one of its platforms with --arch",
            )
        real = [entry for entry in chosen if not (entry.text("name") or "").startswith("__")]
        if not real:
            raise place.error(f"of {platform} it has virtual packages only, whose digests are empty", hint="lock again")
        for entry in real:
            url = entry.required_text("url")
            if is_source_tree(url):
                trees.append(SourceTree(entry.place, url))
                continue
            kind, digests = _described(entry)
            name, locked = entry.text("name") or "", entry.text("version")
            with entry.place.located():
                plain = kind == "conda" or not name or bears_name(url, name, locked)
            if plain:
                packages.append(package_at(entry.place, url, digests, kind=kind))
            else:
                trees.append(SourceTree(entry.place, url, name, locked, digests=digests))
    return packages, trees


def _described(entry: Entry) -> tuple[Kind, Digests]:
    manager = entry.required_text("manager")
    if manager not in _KINDS:
        raise entry.place.error("a package has an unknown manager", expected="conda or pip", found=repr(manager[:40]))
    digests = entry.entry("hash")
    known = digests.digests(size=False) if digests is not None else Digests()
    if digests is not None and not known and list(digests):
        if not any(map(digests.text, digests)):
            raise digests.place.error(
                "the digests of a package are empty",
                expected="sha256 or md5",
                hint="lock again with a current conda-lock",
            )
        raise digests.place.error(
            "a package has only digests that are not checked here", expected="sha256 or md5", found=", ".join(digests)
        )
    return _KINDS[manager], known
