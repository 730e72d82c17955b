"""conda-lock.yml, version 1 of the format: one entry per package and platform, from conda and from PyPI.

Entries of every category (`main`, `dev` and others) are taken: a cache serves them all.
"""

from __future__ import annotations

from typing import Final

from asynccache.model.digest import Digests
from asynccache.model.package import Kind, Package
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree, is_source_tree
from asynccache.resolve.formats.yaml_document import Entry, parse_yaml
from asynccache.resolve.place import Place, package_at

_KINDS: Final[dict[str, Kind]] = {"conda": "conda", "pip": "pypi"}


def read_conda_lock(text: str, place: Place, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    """Read the packages of the selected platforms, and the source trees.

    Raises:
        UsageError: Another version, a platform the file was not locked for, or an entry that names no package.
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
        for entry in chosen:
            url = entry.required_text("url")
            if is_source_tree(url):
                trees.append(SourceTree(entry.place, url))
            else:
                packages.append(_package(entry, url))
    return packages, trees


def _package(entry: Entry, url: str) -> Package:
    manager = entry.required_text("manager")
    if manager not in _KINDS:
        raise entry.place.error("a package has an unknown manager", expected="conda or pip", found=repr(manager[:40]))
    digests = entry.entry("hash")
    known = digests.digests(size=False) if digests is not None else Digests()
    if digests is not None and not known and list(digests):
        raise digests.place.error(
            "a package has only digests that are not checked here", expected="sha256 or md5", found=", ".join(digests)
        )
    return package_at(entry.place, url, known, kind=_KINDS[manager])
