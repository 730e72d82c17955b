"""Making an environment of a lock or a list: caching what it names, giving it its identity, publishing and naming it.

A list says what was found and not what was asked for. Unless the user says it, the request is the list itself: every
package pinned to its version (`conda::NAME==VERSION`, `pypi::NAME==VERSION`), and the channels that its addresses name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from asynccache.catalog.export import channel_of
from asynccache.engine.engine import Engine
from asynccache.engine.report import Report
from asynccache.errors import UsageError
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import CATEGORIES, EnvID, Request
from asynccache.model.package import Format, Package
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.model.url import redacted
from asynccache.ops.environments import Aliased, Environments
from asynccache.ops.identify import UNIDENTIFIED, identified
from asynccache.store import layout

_INDEX: Final = "https://pypi.org/simple"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made.

    Attributes:
        environments: One per architecture.
        report: Of caching their packages.
        aliased: What became of the names; None when none was asked for.
    """

    environments: tuple[ResolvedEnvironment, ...]
    report: Report
    aliased: Aliased | None


async def import_environment(
    engine: Engine,
    catalog: Environments,
    lists: Mapping[str, Sequence[Package]],
    *,
    names: Sequence[str] = (),
    request: Request | None = None,
    wanted: Format | None = None,
) -> Imported:
    """Make an environment of lists of packages.

    Args:
        engine: An open engine on the catalog's store.
        catalog: Where it is published.
        lists: Architecture -> packages, in the order in which they are to be linked.
        names: Aliases to give it.
        request: What was asked for; None for the lists themselves.
        wanted: Form that conda packages are stored in besides the published one; None for that one alone.

    Raises:
        UsageError: A list is empty, or an architecture unknown.
        AsyncCacheError: Packages could not be cached: then nothing is published and no name given.
    """
    for arch, packages in lists.items():
        checked_architecture(arch)
        if not packages:
            raise UsageError(f"the list has no package for {arch}", hint="name another architecture with --arch")
    everything = [package for packages in lists.values() for package in packages]
    # the published form is stored in any case: its md5 is part of the identity, and lists may not say it
    report = await engine.cache(everything, wanted=wanted, keep_published=True)
    report.raise_for_failures()
    keys = {outcome.url: [form.key for form in outcome.forms] for outcome in report.outcomes}
    by_arch = {arch: [_with_keys(p, keys[str(p.url)], engine) for p in packages] for arch, packages in lists.items()}
    asked = request or pinned_request([p for packages in by_arch.values() for p in packages])
    environments = _resolved(by_arch, asked, catalog.settings.username)
    stored = [await catalog.publish(environment) for environment in environments]
    await catalog.keep(stored, default=True)
    aliased = await catalog.alias(str(stored[0].id), names) if names else None
    return Imported(tuple(stored), report, aliased)


def packages_of(
    file: str, arches: Sequence[str] = (), *, environment: str | None = None, python: str | None = None
) -> dict[str, tuple[Package, ...]]:
    """Return what a lock or list names, by architecture. Blocking.

    Args:
        file: Its path; `-` for standard input.
        arches: Architectures to take; none for this machine's.
        environment: Environment of a pixi.lock; None for `default`.
        python: Version that wheels of a lock of PyPI packages are chosen for; None for the running one.

    Raises:
        UsageError: It cannot be read, names no archives, or was not locked for an architecture.
    """
    from asynccache.resolve.formats.locks import read_package_list  # noqa: PLC0415 - documents do without
    from asynccache.resolve.formats.text import read_text  # noqa: PLC0415

    text = read_text(file)
    chosen = tuple(checked_architecture(arch) for arch in arches) or (current_architecture(),)
    return {
        arch: read_package_list(file, text, arches=(arch,), environment=environment, python=python).packages
        for arch in chosen
    }


def pinned_request(packages: Sequence[EnvironmentPackage]) -> Request:
    """Return the request that a list amounts to: each package in its version, from the channels of its address."""
    deps: dict[str, list[str]] = {}
    sources: dict[str, list[str]] = {}
    for package in packages:
        name = package.to_package().name
        text = f"{name.name}=={name.version}"
        source = channel_of(package) if package.kind == "conda" else _INDEX
        for part, value in ((deps, text), (sources, source)):
            values = part.setdefault(package.kind, [])
            if value not in values:
                values.append(value)
    return Request({k: sorted(v) for k, v in deps.items()}, sources)


def request_of(specs: Sequence[str], sources: Sequence[str]) -> Request:
    """Read a request from texts `CATEGORY::VALUE`.

    Raises:
        UsageError: A text is none.
    """
    return Request(_tagged("deps", specs), _tagged("sources", sources))


def _tagged(part: str, texts: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        category, separator, value = text.partition("::")
        if not separator or category not in CATEGORIES[part] or not value:
            raise UsageError(
                f"{text!r} is no requirement" if part == "deps" else f"{text!r} is no source",
                expected=" or ".join(f"{c}::..." for c in CATEGORIES[part]),
                hint="for example conda::python==3.11.*",
            )
        if redacted(value) != value:
            raise UsageError(f"a source has credentials: {redacted(text)!r}", hint="put them into the setting `auth`")
        found.setdefault(category, []).append(value)
    return found


def _with_keys(package: Package, keys: Sequence[str], engine: Engine) -> EnvironmentPackage:
    hashes = {"sha256": package.digests.sha256} if package.kind == "conda" and package.digests.sha256 else {}
    result = EnvironmentPackage(package.kind, package.stem, str(package.url), str(package.url_format))
    for key in keys:
        parts = layout.parse_key(key, engine.settings.packages_dirname)
        if parts is not None:
            result = result.with_cached(str(parts.format), key)
    return replace(result, hashes={**result.hashes, **hashes})


def _resolved(
    by_arch: Mapping[str, Sequence[EnvironmentPackage]], request: Request, user: str
) -> list[ResolvedEnvironment]:
    archs = tuple(sorted(by_arch))
    now = datetime.now()  # noqa: DTZ005 - documents carry local time without zone, which other readers sort
    kinds = {p.kind for packages in by_arch.values() for p in packages}
    kind = "mixed" if len(kinds) == 2 else f"{next(iter(kinds))}-only"
    return identified(
        [
            ResolvedEnvironment(
                EnvID(request.req_id, UNIDENTIFIED, arch), request, tuple(by_arch[arch]), now, user, archs, kind
            )
            for arch in archs
        ]
    )
