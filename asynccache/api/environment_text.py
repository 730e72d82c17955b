"""An environment as text: paragraphs for people, one line for programs (contract, section 6.1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynccache.api import Alias, Presence, ResolvedEnvironment


def long_text(
    found: ResolvedEnvironment,
    local: Presence,
    aliases: Iterable[Alias] = (),
    *,
    default: bool = False,
    resolver: str = "",
    none: str = "NONE",
    by_name: bool = False,
) -> Iterator[str]:
    """Yield the lines for people to read.

    Args:
        found: The environment.
        local: What this machine knows of it.
        aliases: Aliases other than those that this machine knows.
        default: Whether it is the default for its request on this machine.
        resolver: The resolver that has just found it, and how fast; empty if it was known.
        none: Text that is shown for no source at all.
        by_name: Show the names of the directories that it is in, not their paths.
    """
    yield f"{'DEFAULT ' if default else ''}Environment of type {found.environment_type} full hash {found.id}"
    if names := _names(local, aliases, " (mutable)"):
        yield f"Aliases {', '.join(names)}"
    yield f"Arch {found.id.arch}"
    yield f"Available on {', '.join(found.resolved_archs)}"
    yield ""
    yield f"Resolved on {found.resolved_on}"
    yield f"Resolved by {found.resolved_by}"
    if resolver:
        yield f"Resolved with {resolver}"
    yield ""
    if local.prefixes:
        yield f"Locally present as {', '.join(prefix.name if by_name else str(prefix) for prefix in local.prefixes)}"
        yield ""
    yield f"User-requested packages {', '.join(_by_value(found.request.deps))}"
    yield f"User sources {', '.join(_tagged(found.request.sources)) or none}"
    if found.request.extras:
        yield f"Extra resolution flags {', '.join(_tagged(found.request.extras))}"
    yield ""
    for kind, title in (("conda", "Conda"), ("pypi", "Pypi")):
        if packages := _packages(found, kind):
            yield f"{title} Packages installed {', '.join(packages)}"
    if local.digest:
        yield f"Digest sha256:{local.digest}"


def quiet_text(found: ResolvedEnvironment, local: Presence, aliases: Iterable[Alias] = ()) -> str:
    """Return the line for programs: twelve fields separated by blanks, lists separated by commas."""
    fields: Sequence[str] = (
        found.id.req_id,
        found.id.full_id,
        ",".join(_names(local, aliases, "(m)")),
        found.id.arch,
        found.resolved_on.isoformat(),
        found.resolved_by.replace(" ", "_"),
        ",".join(found.resolved_archs),
        ",".join(_by_value(found.request.deps)),
        ",".join(_tagged(found.request.sources)) or "NONE",
        "conda:" + ",".join(_packages(found, "conda")),
        "pypi:" + ",".join(_packages(found, "pypi")),
        ",".join(prefix.name for prefix in local.prefixes) or "NONE",
    )
    return " ".join(fields)


def _names(local: Presence, more: Iterable[Alias], mark: str) -> list[str]:
    """Return the aliases that people gave; those that can be moved come last and have a mark."""
    known = sorted({*local.names, *more}, key=lambda alias: (alias.mutable, str(alias)))
    return [f"{alias}{mark if alias.mutable else ''}" for alias in known if alias.kind == "generic"]


def _tagged(part: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{category}::{value}" for category, found in part.items() for value in found]


def _by_value(part: Mapping[str, Sequence[str]]) -> list[str]:
    return sorted(_tagged(part), key=lambda text: text.partition("::")[2])


def _packages(found: ResolvedEnvironment, kind: str) -> list[str]:
    return sorted(package.pinned for package in found.packages if package.kind == kind)
