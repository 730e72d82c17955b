"""pixi.lock, versions 4 to 7: environments, each with a list of packages per platform.

Versions 4 and 5 describe a package under `kind:` and `url:`, later ones under `conda:` or `pypi:`; version 7 adds
platforms with names of their own, and `conda_source:` for packages built from source. If several platforms of one
subdir differ in virtual packages, the one with the subdir's name is used, or the requested one.
"""

from __future__ import annotations

from typing import Final

from asynccache.model.package import Kind, Package
from asynccache.model.url import redacted
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree, is_source_tree
from asynccache.resolve.formats.yaml_document import Entry, parse_yaml
from asynccache.resolve.requests.source_position import SourcePosition, package_at

_VERSIONS: Final = ("4", "5", "6", "7")
_KINDS: Final[tuple[Kind, ...]] = ("conda", "pypi")
_OF: Final = ":"  # between an environment and one of its platforms, in the choice of an environment
_SOURCE_KEY: Final = "conda_source"


def read_pixi_lock(text: str, place: SourcePosition, selection: Selection) -> tuple[list[Package], list[SourceTree]]:
    """Read the packages of one environment on the selected platforms, and the source trees.

    Raises:
        UsageError: An unknown version, environment or platform, or an entry without a package.
    """
    document = parse_yaml(text, place)
    version = document.required_text("version")
    if version not in _VERSIONS:
        raise document.place.error(
            "this pixi.lock version is unknown",
            expected=f"version {_VERSIONS[0]} to {_VERSIONS[-1]}",
            found=f"version {version[:20]}",
            hint="lock again with a current pixi" if version in {"1", "2", "3"} else "update asynccache",
        )
    records = {_key(record): record for record in document.entries("packages")}
    by_platform = _environment(document, selection).entry("packages")
    subdirs = _subdirs(document)
    packages, trees = [], []
    for platform in selection.platforms:
        names = [name for name in by_platform or () if subdirs.get(name, name) == platform]
        if by_platform is None or not names:
            raise (by_platform or document).place.error(
                f"the environment was not locked for {platform}",
                found=", ".join(by_platform or ()) or "no platform at all",
                hint="choose one of its platforms with --arch",
            )
        name = _one_of(names, platform, by_platform, selection)
        for reference in by_platform.entries(name):
            kind, location = _key(reference)
            if kind == _SOURCE_KEY or is_source_tree(location):
                trees.append(SourceTree(reference.place, location))
            else:
                packages.append(_package(reference, records.get((kind, location))))
    return packages, trees


def _environment(document: Entry, selection: Selection) -> Entry:
    environments = document.entry("environments")
    name = (selection.environment or "").partition(_OF)[0] or "default"
    environment = environments.entry(name) if environments is not None else None
    if environment is None:
        raise document.place.error(
            f"it has no environment {name!r}",
            found=", ".join(environments or ()) or "none at all",
            hint="choose one of its environments with --environment",
        )
    return environment


def _one_of(names: list[str], platform: str, by_platform: Entry, selection: Selection) -> str:
    wanted = (selection.environment or "").partition(_OF)[2]
    chosen = [name for name in names if name == (wanted or platform)] or ([] if wanted else names)
    if len(chosen) != 1:
        environment = (selection.environment or "").partition(_OF)[0] or "default"
        raise by_platform.place.error(
            f"the environment is locked for {platform} in several ways" if not wanted else f"it has no {wanted!r}",
            found=", ".join(names),
            hint=f"name one of them: --environment {environment}{_OF}{names[0]}",
        )
    return chosen[0]


def _subdirs(document: Entry) -> dict[str, str]:
    """Return the conda platform of each named platform; before version 7 the names are conda's."""
    platforms = document.entries("platforms")
    return {p.required_text("name"): p.text("subdir") or p.required_text("name") for p in platforms}


def _key(entry: Entry) -> tuple[str, str]:
    """Return how an entry names its package: the kind, and a URL or path."""
    for kind in (*_KINDS, _SOURCE_KEY):
        location = entry.text(kind)
        if location is not None:
            return kind, location
    kind = entry.required_text("kind")
    return kind, entry.text("url") or entry.required_text("path")


def _package(reference: Entry, record: Entry | None) -> Package:
    kind, location = _key(reference)
    if record is None:
        raise reference.place.error(
            f"an environment names {redacted(location)!r}, which `packages` does not describe",
            hint="lock again: the file is incomplete",
        )
    for known in _KINDS:
        if kind == known:
            # `direct+` means that the requirement itself has the address
            return package_at(record.place, location.removeprefix("direct+"), record.digests(), kind=known)
    raise record.place.error("a package has an unknown kind", expected="conda or pypi", found=repr(kind[:40]))
