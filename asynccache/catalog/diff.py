"""What differs between two environments, by package name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import ClassVar

from asynccache.errors import UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.package import parse_stem


@dataclass(frozen=True, slots=True)
class Change(Documented):
    """One package that differs.

    Attributes:
        kind: `conda` or `pypi`.
        name: Package name.
        before: Version and build in the first environment; None if it has none.
        after: In the second one; None if it has none.
        bytes: Size of the second one's archive (of the first one's, if it was removed); None if unknown.
    """

    kind: str
    name: str
    before: str | None
    after: str | None
    bytes: int | None


@dataclass(slots=True)
class Difference(Documented):
    """What differs between two environments.

    Attributes:
        added: Only in the second.
        removed: Only in the first.
        changed: In both, with another version, build or digest.
        same: How many packages are in both.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("added", "removed", "changed", "same", "bytes")

    added: list[Change] = field(default_factory=list)
    removed: list[Change] = field(default_factory=list)
    changed: list[Change] = field(default_factory=list)
    same: int = 0

    @property
    def bytes(self) -> int:
        """Bytes of what only the second has, as far as sizes are known."""
        return sum(change.bytes or 0 for change in (*self.added, *self.changed))

    def marked(self) -> Iterator[tuple[str, Change]]:
        """Yield the changes with `+`, `-` or `~`, by name."""
        marks = (("+", self.added), ("-", self.removed), ("~", self.changed))
        yield from sorted(((m, c) for m, changes in marks for c in changes), key=lambda each: each[1].name)


def compare(
    before: ResolvedEnvironment, after: ResolvedEnvironment, sizes: Mapping[tuple[str, str], int]
) -> Difference:
    """Compare two environments.

    Args:
        before: The first.
        after: The second.
        sizes: (URL, file name without extension) -> bytes, as far as known.
    """
    old, new = _by_name(before), _by_name(after)
    result = Difference()
    for kind, name in sorted(old.keys() | new.keys()):
        first, second = old.get((kind, name)), new.get((kind, name))
        package = second or first
        size = sizes.get((package.url, package.filename)) if package is not None else None
        change = Change(kind, name, _version(first), _version(second), size)
        if first is None:
            result.added.append(change)
        elif second is None:
            result.removed.append(change)
        elif (first.filename, first.published_hash) == (second.filename, second.published_hash):
            result.same += 1
        else:
            result.changed.append(change)
    return result


def _by_name(environment: ResolvedEnvironment) -> dict[tuple[str, str], EnvironmentPackage]:
    return {(p.kind, _parts(p)[0]): p for p in environment.packages}


def _parts(package: EnvironmentPackage) -> tuple[str, str]:
    try:
        name = parse_stem(package.kind, package.filename)
    except UsageError:
        return package.filename, package.published_hash or ""
    return name.name, "-".join(part for part in (name.version, name.build) if part)


def _version(package: EnvironmentPackage | None) -> str | None:
    return None if package is None else _parts(package)[1]
