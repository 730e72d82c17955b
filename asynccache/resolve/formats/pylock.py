"""pylock.toml (PEP 751): the best archive of every package whose marker holds for the target.

`packaging.pylock` reads and selects. Best is the wheel whose tag comes first in the target's order, then the one with
the higher build number; if no wheel fits, the sdist. Entries for a directory or a repository name no archive.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final, cast

from packaging import pylock
from packaging.markers import Environment
from packaging.utils import parse_wheel_filename

from asynccache.model.digest import HEX_LENGTH, Digests
from asynccache.model.package import Package
from asynccache.resolve.formats.selection import Selection
from asynccache.resolve.formats.source_trees import SourceTree, bears_name
from asynccache.resolve.formats.text import parse_toml
from asynccache.resolve.requests.python_target import PythonTarget
from asynccache.resolve.requests.source_position import SourcePosition, has_scheme, local_url, package_at

Found = tuple[list[Package], list[SourceTree]]
_SDISTS: Final = (".tar.gz", ".zip")


def read_pylock(text: str, place: SourcePosition, selection: Selection) -> Found:
    """Read the packages for the selected platforms and Python, and the source trees.

    Raises:
        UsageError: Not such a file, a target it was not locked for, or an entry that names no archive for the target.
    """
    document = parse_toml(text, place)
    _drop_old_sdists(document)
    try:
        # `created-by` is required by the standard, but nothing here depends on it
        lock = pylock.Pylock.from_dict({"created-by": "", **document})
    except pylock.PylockValidationError as exc:
        number = _number(exc)
        table = document["packages"][number] if number is not None else {}
        name = table.get("name") if isinstance(table, dict) else None
        where = place if number is None else place.at(entry=f"package {name or number + 1}")
        raise where.error(" ".join(str(exc).split()), hint="lock again") from exc
    groups = dict.fromkeys([*(lock.dependency_groups or ()), *(lock.default_groups or ())])
    check_choice("extras", selection.extras, lock.extras or (), place)
    check_choice("dependency groups", selection.groups or (), groups, place)
    packages, trees = [], []
    for target in targets(selection):
        archives, sources = select(lock, target, place, extras=selection.extras, groups=selection.groups)
        packages += archives
        trees += sources
    return packages, trees


def _number(error: Exception) -> int | None:
    """Return the package that the library refers to by its index."""
    found = re.search(r"\bpackages\[(\d+)\]", str(error))
    return int(found[1]) if found else None


def _drop_old_sdists(document: dict[str, Any]) -> None:
    """Remove sdists in a format that the standard no longer allows (`.tar.bz2`), which are not needed beside wheels."""
    packages = document.get("packages")
    for table in packages if isinstance(packages, list) else []:
        sdist = table.get("sdist") if isinstance(table, dict) else None
        if isinstance(sdist, dict) and table.get("wheels"):
            name = str(sdist.get("name") or sdist.get("path") or sdist.get("url"))
            if not name.endswith(_SDISTS):
                del table["sdist"]


def targets(selection: Selection) -> list[PythonTarget]:
    """Return the machines that wheels are selected for.

    Raises:
        UsageError: No wheels are made for an architecture.
    """
    return [PythonTarget(arch, selection.python_version, selection.glibc) for arch in selection.platforms]


def check_choice(what: str, wanted: Collection[str], offered: Collection[str], place: SourcePosition) -> None:
    """Check that a lock file offers what is selected.

    Raises:
        UsageError: It does not; the message says what it offers.
    """
    if missing := sorted(set(wanted).difference(offered)):
        raise place.error(
            f"it has not all the {what} asked for", expected=", ".join(missing), found=", ".join(offered) or "none"
        )


def select(
    lock: pylock.Pylock,
    target: PythonTarget,
    place: SourcePosition,
    *,
    extras: Collection[str] = (),
    groups: Collection[str] | None = None,
) -> Found:
    """Return the best archive of every package in a lock file for a target, and the source trees.

    Raises:
        UsageError: It was not made for the target, has nothing that fits it, or an archive has no supported digest.
    """
    packages, trees = [], []
    asked = f"{target.arch} with Python {target.version}"
    hint = "choose another platform or Python version, or lock again"
    environment = cast("Environment", target.markers)
    try:
        if lock.environments and not any(marker.evaluate(target.markers) for marker in lock.environments):
            expected = " or ".join(map(str, lock.environments))[:400]
            raise place.error(f"it was not locked for {asked}", expected=expected, hint=hint)
        lock = replace(lock, packages=[_best_build_first(package) for package in lock.packages])
        tags = list(target.ranks)
        chosen = list(lock.select(environment=environment, tags=tags, extras=extras, dependency_groups=groups))
    except (pylock.PylockSelectError, ValueError) as exc:
        number = _number(exc)
        package = None if number is None else lock.packages[number]
        where = place.at(entry=f"package {package.name}") if package else place
        wheels = [wheel.filename for wheel in package.wheels or ()] if package else []
        raise where.error(
            f"it does not hold for {asked}: {exc}", found=", ".join(wheels[:3]) or None, hint=hint
        ) from exc
    for package, source in chosen:
        where = place.at(entry=f"package {package.name}")
        if isinstance(source, pylock.PackageVcs | pylock.PackageDirectory):
            trees.append(_tree(package, source, where))
        elif isinstance(source, pylock.PackageWheel) or _bears_name(package, source, where):
            packages.append(package_at(where, source.url or source.path or "", _digests(source, where), kind="pypi"))
        else:
            trees.append(_tree(package, source, where))
    return packages, trees


def _best_build_first(package: pylock.Package) -> pylock.Package:
    # the library uses the first of several wheels with one tag
    wheels = sorted(package.wheels or (), key=lambda wheel: parse_wheel_filename(wheel.filename)[2], reverse=True)
    return replace(package, wheels=wheels)


def _bears_name(
    package: pylock.Package, source: pylock.PackageArchive | pylock.PackageSdist, where: SourcePosition
) -> bool:
    if isinstance(source, pylock.PackageArchive) and source.subdirectory:
        return False
    with where.located():
        version = str(package.version) if package.version else None
        return bears_name(source.url or source.path or "", package.name, version)


def _tree(
    package: pylock.Package,
    source: pylock.PackageVcs | pylock.PackageDirectory | pylock.PackageArchive | pylock.PackageSdist,
    where: SourcePosition,
) -> SourceTree:
    version = str(package.version) if package.version else None
    subdirectory = "" if isinstance(source, pylock.PackageSdist) else source.subdirectory or ""
    location = source.path if isinstance(source, pylock.PackageDirectory) else source.url or source.path or ""
    tree = SourceTree(where, location, package.name, version, subdirectory=subdirectory)
    if isinstance(source, pylock.PackageDirectory):
        return replace(tree, editable=bool(source.editable))
    if not isinstance(source, pylock.PackageVcs):
        return replace(tree, digests=_digests(source, where))
    address = location if has_scheme(location) else local_url(location, where)
    return replace(tree, location=f"{source.type}+{address}", commit=source.commit_id)


def _digests(
    source: pylock.PackageArchive | pylock.PackageWheel | pylock.PackageSdist, where: SourcePosition
) -> Digests:
    known = {name: value for name, value in source.hashes.items() if name in HEX_LENGTH}
    if not known:
        raise where.error(
            "an archive has no digest that is checked here",
            expected="sha256 or md5",
            found=", ".join(source.hashes) or "none",
            hint="lock again with sha256",
        )
    if source.size is not None and source.size < 0:
        raise where.error("`size` is malformed", expected="a number of bytes", found=source.size)
    with where.located():
        return Digests(**known, size=source.size)
