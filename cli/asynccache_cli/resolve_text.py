"""What `asynccache resolve` tells people: a paragraph for each environment, notes on standard error."""

from __future__ import annotations

from collections.abc import Iterator

import click

from asynccache.config import Settings
from asynccache.hydrate.prefix import environment_name, environments_directory, read_marker
from asynccache.model.alias import Alias
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import Tagged
from asynccache.model.package import parse_stem
from asynccache.ops.environments import Environments
from asynccache.ops.resolve_result import Resolved, Row
from asynccache_cli.text import human_bytes


def show(resolved: Resolved, settings: Settings, *, dry_run: bool) -> None:
    """Print what was found; what failed is told by the error that follows."""
    for note in resolved.notes:
        click.echo(click.style("note: ", fg="yellow") + note, err=True)
    names = _names(settings)
    for row in resolved.rows:
        if row.environment is not None:
            click.echo("\n".join(_lines(row, row.environment, names, settings)))
        elif row.builds:
            click.echo("\n".join(_builds(row)))
    count, known = len(resolved.rows), sum(row.known for row in resolved.rows)
    failed = sum(bool(row.errors) for row in resolved.rows)
    words = [f"{f'{count - failed} of ' if failed else ''}{count} environment{'s' * (count != 1)}"]
    if known:
        words.append(f"{'' if known == count else f'{known} '}known already (--force resolves again)")
    if resolved.fetched_bytes:
        words.append(f"{human_bytes(resolved.fetched_bytes)} fetched")
    if dry_run:
        words.append("nothing was written")
    click.echo(f"{', '.join(words)}, in {resolved.seconds:.1f} seconds", err=True)


def _names(settings: Settings) -> dict[tuple[str, str], list[str]]:
    names: dict[tuple[str, str], list[str]] = {}
    for alias, ids in Environments(settings, None).here.names():
        names.setdefault(ids, []).append(_named(alias))
    return names


def _named(alias: Alias) -> str:
    return f"{alias} (mutable)" if alias.mutable else str(alias)


def _lines(
    row: Row, found: ResolvedEnvironment, names: dict[tuple[str, str], list[str]], settings: Settings
) -> Iterator[str]:
    """Yield the lines of the contract's long form (section 6.1.1), without its bold text."""
    ids = (found.id.req_id, found.id.full_id)
    yield f"### Environment for architecture {row.arch}" + (f" ({row.name})" if row.name else "")
    yield f"{'DEFAULT ' if row.default else ''}Environment of type {found.environment_type} full hash {found.id}"
    if aliases := sorted({*map(_named, row.aliases), *names.get(ids, ())}):
        yield f"Aliases {', '.join(aliases)}"
    yield f"Arch {found.id.arch}"
    yield f"Available on {', '.join(found.resolved_archs)}"
    yield ""
    yield f"Resolved on {found.resolved_on.isoformat(' ')}"
    yield f"Resolved by {found.resolved_by}"
    if row.resolver:
        yield f"Resolved with {row.resolver} in {row.seconds:.1f} seconds"
    yield ""
    if prefixes := list(_prefixes(found, settings)):
        yield f"Locally present as {', '.join(prefixes)}"
        yield ""
    yield f"User-requested packages {_tagged(found.request.deps, sort=True)}"
    yield f"User sources {_tagged(found.request.sources) or 'none'}"
    if found.request.extras:
        yield f"Extra resolution flags {_tagged(found.request.extras)}"
    yield ""
    for kind, title in (("conda", "Conda"), ("pypi", "Pypi")):
        if packages := sorted(_package(p) for p in found.packages if p.kind == kind):
            yield f"{title} Packages installed {', '.join(packages)}"
    if row.bytes is not None:
        yield f"Size of all packages {human_bytes(row.bytes)}"
    yield ""


def _builds(row: Row) -> Iterator[str]:
    yield f"### Environment for architecture {row.arch} ({row.name})"
    yield "To be built from source before it can be identified:"
    for build in row.builds:
        yield f"  {build.name}{f'=={build.version}' if build.version else ''} of {build.location}"
    yield ""


def _prefixes(found: ResolvedEnvironment, settings: Settings) -> Iterator[str]:
    for kind in ("step", "tmp", "builder"):
        prefix = environments_directory(settings) / environment_name(found.id, kind)
        if read_marker(prefix) == found.id:
            yield str(prefix)


def _tagged(part: Tagged, *, sort: bool = False) -> str:
    values = [f"{c}::{v}" for c, vs in part.items() for v in vs]
    return ", ".join(sorted(values, key=lambda text: text.partition("::")[2]) if sort else values)


def _package(package: EnvironmentPackage) -> str:
    name = parse_stem(package.kind, package.filename)
    return f"{name.name}=={name.version}" + (f"-{name.build}" if name.build else "")
