"""Environments as `metaflow environment` prints them: for people, and a line for programs (contract, section 6.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynccache.api import Alias, Presence, ResolvedEnvironment


class EnvironmentText:
    """Writes environments down.

    Args:
        presence: Tells what this machine knows of an environment.
    """

    def __init__(self, presence: Callable[[ResolvedEnvironment], Presence]) -> None:
        self._presence = presence

    @staticmethod
    def _aliases(here: Presence, more: Iterable[Alias], *, short: bool = False) -> list[str]:
        """Return the names of an environment, with a mark at those that move."""
        mark = "(m)" if short else " (mutable)"
        known = {*here.names, *more}
        return sorted(f"{alias}{mark if alias.mutable else ''}" for alias in known if alias.kind != "full-id")

    def present(self, found: ResolvedEnvironment) -> bool:
        """Tell whether an environment is on this machine."""
        return bool(self._presence(found).prefixes)

    def long(self, found: ResolvedEnvironment, *, default: bool = False, more: Iterable[Alias] = ()) -> Iterator[str]:
        """Yield the lines for people; `*` marks what is printed bold."""
        here = self._presence(found)
        yield f"{'DEFAULT ' if default else ''}Environment of type *{found.environment_type}* full hash *{found.id}*"
        aliases = self._aliases(here, more)
        if aliases:
            yield f"*Aliases* {', '.join(aliases)}"
        yield f"*Arch* {found.id.arch}"
        yield f"*Available on* {', '.join(found.resolved_archs)}"
        yield ""
        yield f"*Resolved on* {found.resolved_on}"
        yield f"*Resolved by* {found.resolved_by}"
        yield ""
        if here.prefixes:
            yield f"*Locally present as* {', '.join(map(str, here.prefixes))}"
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
        here = self._presence(found)
        fields: Sequence[str] = (
            found.id.req_id,
            found.id.full_id,
            ",".join(self._aliases(here, more, short=True)),
            found.id.arch,
            found.resolved_on.isoformat(),
            found.resolved_by.replace(" ", "_"),
            ",".join(found.resolved_archs),
            ",".join(_tagged(found.request.deps, by_value=True)),
            ",".join(_tagged(found.request.sources)) or "NONE",
            "conda:" + ",".join(_packages(found, "conda")),
            "pypi:" + ",".join(_packages(found, "pypi")),
            ",".join(str(prefix) for prefix in here.prefixes) or "NONE",
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


def _tagged(part: Mapping[str, Sequence[str]], *, by_value: bool = False) -> list[str]:
    values = [f"{category}::{value}" for category, found in part.items() for value in found]
    return sorted(values, key=lambda text: text.partition("::")[2]) if by_value else values


def _packages(found: ResolvedEnvironment, kind: str) -> list[str]:
    return sorted(package.pinned for package in found.packages if package.kind == kind)
