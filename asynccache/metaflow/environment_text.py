"""Environments as `metaflow environment` prints them: for people, and a line for programs (contract, section 6.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from asynccache.config import Settings
from asynccache.hydrate.prefix import environments_directory, read_marker
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import Tagged
from asynccache.model.package import parse_stem
from asynccache.node.environments import MARKER
from asynccache.ops.environments import Environments


class EnvironmentText:
    """Writes environments down.

    Args:
        settings: All settings.
        catalog: What this machine knows.
    """

    def __init__(self, settings: Settings, catalog: Environments) -> None:
        self._directory = environments_directory(settings)
        self._names: dict[tuple[str, str], list[Alias]] = {}
        for alias, ids in catalog.here.names():
            self._names.setdefault(ids, []).append(alias)

    def aliases(self, found: ResolvedEnvironment, more: Iterable[Alias] = (), *, short: bool = False) -> list[str]:
        """Return the names of an environment, with a mark at those that move."""
        known = {*self._names.get((found.id.req_id, found.id.full_id), ()), *more}
        mark = "(m)" if short else " (mutable)"
        return sorted(f"{alias}{mark if alias.mutable else ''}" for alias in known if alias.kind != "full-id")

    def prefixes(self, found: ResolvedEnvironment) -> list[Path]:
        """Return where an environment is on this machine."""
        if not self._directory.is_dir():
            return []
        markers = sorted(self._directory.glob(f"*/{MARKER}"))
        return [marker.parent for marker in markers if read_marker(marker.parent) == found.id]

    def long(self, found: ResolvedEnvironment, *, default: bool = False, more: Iterable[Alias] = ()) -> Iterator[str]:
        """Yield the lines for people; `*` marks what is printed bold."""
        yield f"{'DEFAULT ' if default else ''}Environment of type *{found.environment_type}* full hash *{found.id}*"
        aliases = self.aliases(found, more)
        if aliases:
            yield f"*Aliases* {', '.join(aliases)}"
        yield f"*Arch* {found.id.arch}"
        yield f"*Available on* {', '.join(found.resolved_archs)}"
        yield ""
        yield f"*Resolved on* {found.resolved_on}"
        yield f"*Resolved by* {found.resolved_by}"
        yield ""
        prefixes = self.prefixes(found)
        if prefixes:
            yield f"*Locally present as* {', '.join(map(str, prefixes))}"
            yield ""
        yield f"*User-requested packages* {_stars(', '.join(_tagged(found.request.deps, by_value=True)))}"
        yield f"*User sources* {', '.join(_tagged(found.request.sources)) or 'NONE'}"
        if found.request.extras:
            yield f"*Extra resolution flags* {', '.join(_tagged(found.request.extras))}"
        yield ""
        for kind, title in (("conda", "Conda"), ("pypi", "Pypi")):
            packages = _packages(found, kind)
            if packages:
                yield f"*{title} Packages installed* {', '.join(packages)}"
        yield ""

    def quiet(self, found: ResolvedEnvironment, more: Iterable[Alias] = ()) -> str:
        """Return the line for programs: twelve fields with blanks between them, lists with commas."""
        fields: Sequence[str] = (
            found.id.req_id,
            found.id.full_id,
            ",".join(self.aliases(found, more, short=True)),
            found.id.arch,
            found.resolved_on.isoformat(),
            found.resolved_by.replace(" ", "_"),
            ",".join(found.resolved_archs),
            ",".join(_tagged(found.request.deps, by_value=True)),
            ",".join(_tagged(found.request.sources)) or "NONE",
            "conda:" + ",".join(_packages(found, "conda")),
            "pypi:" + ",".join(_packages(found, "pypi")),
            ",".join(str(prefix) for prefix in self.prefixes(found)) or "NONE",
        )
        return " ".join(fields)


def plain(line: str) -> str:
    """Return a line without the marks of bold text.

    >>> plain("*Arch* linux-64")
    'Arch linux-64'
    """
    return line.replace("*", "")


def _stars(text: str) -> str:
    """Write `3.8.*` so that its star is not taken for a mark."""
    return text.replace("*", "x")


def _tagged(part: Tagged, *, by_value: bool = False) -> list[str]:
    values = [f"{category}::{value}" for category, found in part.items() for value in found]
    return sorted(values, key=lambda text: text.partition("::")[2]) if by_value else values


def _packages(found: ResolvedEnvironment, kind: str) -> list[str]:
    return sorted(_package(package) for package in found.packages if package.kind == kind)


def _package(package: EnvironmentPackage) -> str:
    name = parse_stem(package.kind, package.filename)
    return f"{name.name}=={name.version}" + (f"-{name.build}" if name.build else "")
