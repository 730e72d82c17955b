"""From a pylock.toml to packages of an environment and to what has to be built for it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from packaging.markers import Marker
from packaging.utils import canonicalize_name

from asynccache.model.environment import EnvironmentPackage
from asynccache.model.package import Format, Package
from asynccache.model.url import redacted
from asynccache.resolve.place import Place, local_url
from asynccache.resolve.pylock import read_pylock
from asynccache.resolve.python_target import PythonTarget
from asynccache.resolve.resolver import SourceBuild
from asynccache.resolve.selection import Selection

_SOURCES: Final = ("vcs", "directory")


@dataclass(slots=True)
class PypiFound:
    """PyPI packages that were found.

    Attributes:
        packages: Wheels that are published.
        builds: The rest: sources, and wheels that only this machine has.
        sizes: URL -> bytes, where known.
    """

    packages: list[EnvironmentPackage] = field(default_factory=list)
    builds: list[SourceBuild] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)


def read_found(
    text: str, place: Place, target: PythonTarget, *, published_below: Iterable[str] = (), hash_key: str | None = None
) -> PypiFound:
    """Read what a pylock.toml holds for a target.

    Args:
        text: Its content.
        place: What errors call it, and what its relative paths are relative to.
        target: The machine.
        published_below: Addresses on this machine that count as indexes: wheels below them are published there.
        hash_key: Key that digests of wheels are recorded under; None for their format. Locks that were given use
            `sha256` (contract, section 10.5).

    Raises:
        UsageError: As `read_pylock` says.
    """
    selection = Selection((target.arch,), python=target.version, skip_sources=True, glibc=target.glibc)
    archives, _ = read_pylock(text, place, selection)
    return sorted_out(
        archives, source_entries(tomllib.loads(text), target, place), published_below=published_below, hash_key=hash_key
    )


def sorted_out(
    archives: Iterable[Package],
    sources: Sequence[SourceBuild] = (),
    *,
    published_below: Iterable[str] = (),
    hash_key: str | None = None,
) -> PypiFound:
    """Divide archives into what is installed as it is and what has to be built or brought first."""
    found = PypiFound(builds=list(sources))
    below = tuple(address.rstrip("/") + "/" for address in published_below if address.startswith("file:"))
    for archive in archives:
        address = str(archive.url)
        wheel = archive.url_format is Format.WHEEL
        if wheel and (archive.url.scheme != "file" or address.startswith(below)):
            digest, weak = archive.digests.sha256, archive.digests.md5
            hashes = {hash_key or str(Format.WHEEL): digest} if digest else {}
            if weak is not None and digest is None:
                hashes = {"md5": weak}
            found.packages.append(EnvironmentPackage("pypi", archive.stem, address, str(Format.WHEEL), hashes))
            if archive.digests.size is not None:
                found.sizes[address] = archive.digests.size
            continue
        name = archive.name
        digests = archive.digests
        found.builds.append(
            SourceBuild(
                canonicalize_name(name.name), name.version, address, "", digests.sha256, digests.size, digests.md5
            )
        )
    return found


def source_entries(document: Any, target: PythonTarget, place: Place) -> list[SourceBuild]:
    """Return the directories and repositories of a pylock.toml whose marker holds.

    Raises:
        UsageError: An entry that names no commit, or a directory that is editable.
    """
    builds = []
    for table in document.get("packages", ()):
        marker = table.get("marker")
        if not any(key in table for key in _SOURCES) or (marker and not Marker(marker).evaluate(dict(target.markers))):
            continue
        where = place.at(entry=f"package {table.get('name')}")
        builds.append(_source(table, where))
    return builds


def _source(table: Any, where: Place) -> SourceBuild:
    name, version = canonicalize_name(str(table["name"])), table.get("version")
    if "directory" in table:
        entry = table["directory"]
        if entry.get("editable"):
            raise where.error("Cannot include an editable PYPI package", found=str(entry.get("path")))
        return SourceBuild(name, version, local_url(str(entry["path"]), where), str(entry.get("subdirectory") or ""))
    entry = table["vcs"]
    commit = entry.get("commit-id")
    if not commit:
        raise where.error("a repository is named without its commit", expected="`commit-id`", hint="lock again")
    address = str(entry.get("url") or local_url(str(entry.get("path")), where))
    location = f"{entry.get('type', 'git')}+{redacted(address)}@{quote(str(commit), safe='')}"
    return SourceBuild(name, version, location, str(entry.get("subdirectory") or ""))
