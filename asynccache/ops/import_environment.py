"""Creating an environment from a file: caching its packages, identifying it, publishing it and assigning aliases.

An exported document says what was asked for and has its identity. A list only says what was found. Unless the user
gives the requirements, the request is the list itself: every package pinned to its version (`conda::NAME==VERSION`,
`pypi::NAME==VERSION`), and the channels that its addresses name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Final

from asynccache.catalog.export import channel_of
from asynccache.engine.engine import Engine
from asynccache.engine.report import Report, RunTotals
from asynccache.errors import AsyncCacheError, UsageError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import EnvironmentPackage, ResolvedEnvironment
from asynccache.model.identity import CATEGORIES, EnvID, Request
from asynccache.model.package import Package
from asynccache.model.platform import checked_architecture, current_architecture
from asynccache.model.url import redacted
from asynccache.ops.catalog import Aliased, Catalog, checked_name
from asynccache.ops.digests import publish_digests
from asynccache.ops.identify import UNIDENTIFIED, identified
from asynccache.ops.vouching import note_sha256
from asynccache.runtime.late_loop import in_thread
from asynccache.store import layout

if TYPE_CHECKING:
    from asynccache.model.alias import Alias
    from asynccache.ops.pack_cached import PacksMade

_INDEX: Final = "https://pypi.org/simple"


@dataclass(frozen=True, slots=True)
class Imported(Documented):
    """The result of an import.

    Attributes:
        environments: One per architecture.
        reports: Reports of caching their packages.
        bytes: Size of their packages in the store.
        packs: The result of packing; empty unless the setting `pack` asks for packs.
        aliased: The result of assigning aliases; None if none was requested.
        digest: sha256 that identifies exactly these bytes.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "ids as environments",
        "names",
        "failed",
        "digest",
        "bytes",
        "*packs",
        "runs",
    )

    environments: tuple[ResolvedEnvironment, ...]
    reports: tuple[Report, ...]
    bytes: int
    packs: PacksMade
    aliased: Aliased | None
    digest: str = ""

    def raise_for_failures(self) -> None:
        """Raise if an alias could not be assigned.

        Raises:
            AsyncCacheError: The failure, if it is the only one.
            PartialFailureError: Why, by alias.
        """
        if self.aliased is not None:
            self.aliased.raise_for_failures()

    @property
    def names(self) -> tuple[Alias, ...]:
        """The aliases that refer to it now."""
        return (*self.aliased.changed, *self.aliased.unchanged) if self.aliased is not None else ()

    @property
    def notes(self) -> list[str]:
        """Notes for the user, one sentence each."""
        return [note for environment in self.environments for note in self.packs.notes(environment.id)]

    @property
    def ids(self) -> list[EnvID]:
        """The environments, one per architecture."""
        return [environment.id for environment in self.environments]

    @property
    def failed(self) -> dict[str, AsyncCacheError]:
        """Aliases that could not be assigned, and why."""
        return self.aliased.failed if self.aliased is not None else {}

    @property
    def runs(self) -> list[RunTotals]:
        """Totals of caching their packages."""
        return [report.totals for report in self.reports]


@dataclass(frozen=True, slots=True)
class Import:
    """What to import.

    Attributes:
        file: Path; `-` for standard input.
        names: Aliases to assign to it.
        arches: Architectures to take; none for this machine's.
        specs: What was asked for, `CATEGORY::VALUE`; if empty, the list itself.
        sources: Channels and indexes that go with `specs`.
        environment: Environment of a pixi.lock; None for `default`.
        python: Python version that wheels of a lock file are chosen for; None for the running one.
    """

    file: str
    names: Sequence[str] = ()
    arches: Sequence[str] = ()
    specs: Sequence[str] = ()
    sources: Sequence[str] = ()
    environment: str | None = None
    python: str | None = None


async def import_file(engine: Engine, catalog: Catalog, asked: Import) -> Imported:
    """Create an environment from a lock file, a list or an exported document.

    Args:
        engine: An open engine on the catalog's store.
        catalog: Where it is published.
        asked: What to import.

    Raises:
        UsageError: The file, a requirement or an architecture is invalid.
        AsyncCacheError: Packages could not be cached; nothing is published and no alias assigned.
    """
    from asynccache.resolve.formats.locks import read_package_list  # noqa: PLC0415 - not needed for lists
    from asynccache.resolve.formats.registry import DOCUMENT, recognise  # noqa: PLC0415
    from asynccache.resolve.formats.text import read_text  # noqa: PLC0415

    if asked.sources and not asked.specs:
        raise UsageError("--source goes with --spec", hint="say with --spec what was asked for")
    request = request_of(asked.specs, asked.sources) if asked.specs else None
    for name in asked.names:
        checked_name(name)
    arches = tuple(checked_architecture(arch) for arch in asked.arches) or (current_architecture(),)
    file, text = asked.file, await in_thread(read_text, asked.file)
    fmt = recognise(file, text, locks=True)
    if file.endswith(".json") or (fmt is not None and fmt.name == DOCUMENT):
        if request is not None:
            raise UsageError(f"{file} is a document, which says what was asked for: --spec does not go with it")
        return await _import_documents(engine, catalog, asked, text, arches)
    read = partial(read_package_list, file, text, environment=asked.environment, python=asked.python)
    lists = {arch: read(arches=(arch,)).packages for arch in arches}
    return await import_environment(engine, catalog, lists, names=asked.names, request=request)


async def _import_documents(
    engine: Engine, catalog: Catalog, asked: Import, text: str, arches: Sequence[str]
) -> Imported:
    """Publish a document as it is, once the store has what it names."""
    from asynccache.ops.warm import Warm  # noqa: PLC0415 - not needed for lists
    from asynccache.resolve.formats.document import read_document  # noqa: PLC0415
    from asynccache.resolve.requests.source_position import SourcePosition  # noqa: PLC0415

    found = [read_document(text, SourcePosition(asked.file), arch) for arch in arches]
    warming = Warm(engine, catalog, to="remote", wanted=engine.host.settings.wanted_format, vouch=True)
    readiness = await warming.run([(str(environment.id), environment) for environment in found])
    readiness.raise_for_failures()
    stored = [readiness.documents.get(environment.id, environment) for environment in found]
    size = sum(row.bytes for row in readiness.rows)
    return await _entered(engine, catalog, stored, readiness.reports, size, asked.names)


async def import_environment(
    engine: Engine,
    catalog: Catalog,
    lists: Mapping[str, Sequence[Package]],
    *,
    names: Sequence[str] = (),
    request: Request | None = None,
) -> Imported:
    """Create an environment from lists of packages.

    Args:
        engine: An open engine on the catalog's store.
        catalog: Where it is published.
        lists: Architecture -> packages, in link order.
        names: Aliases to assign to it.
        request: What was asked for; None for the lists themselves.

    Raises:
        UsageError: A list is empty, or an architecture unknown.
        AsyncCacheError: Packages could not be cached; nothing is published and no alias assigned.
    """
    for arch, packages in lists.items():
        checked_architecture(arch)
        if not packages:
            raise UsageError(f"the list has no package for {arch}", hint="name another architecture with --arch")
    everything = [package for packages in lists.values() for package in packages]
    # the published archive is always stored: its md5 is part of the identity, and lists may lack it
    host, dirname = engine.host, engine.host.settings.packages_dirname
    report = await engine.cache(everything, wanted=host.settings.wanted_format, keep_published=True)
    created = [(form.key, form.sha256) for outcome in report.outcomes for form in outcome.forms]
    # also if the run failed: the next one finds these packages in the store
    await host.threads.run(note_sha256, host.settings.cache_dir, engine.store.root.identity, created)
    report.raise_for_failures()
    keys = {outcome.url: [form.key for form in outcome.forms] for outcome in report.outcomes}
    by_arch = {arch: [_with_keys(p, keys[str(p.url)], dirname) for p in packages] for arch, packages in lists.items()}
    asked = request or pinned_request([p for packages in by_arch.values() for p in packages])
    environments = _resolved(by_arch, asked, catalog.settings.username)
    stored = [await catalog.publish(environment) for environment in environments]
    size = sum(form.size for outcome in report.outcomes for form in outcome.forms)
    return await _entered(engine, catalog, stored, (report,), size, names)


async def _entered(
    engine: Engine,
    catalog: Catalog,
    stored: Sequence[ResolvedEnvironment],
    reports: Sequence[Report],
    size: int,
    names: Sequence[str],
) -> Imported:
    """Pack what is published, add it to this machine's list and assign aliases."""
    from asynccache.ops.pack_cached import PacksMade, pack_cached, packs_wanted  # noqa: PLC0415 - after the packages

    await catalog.keep(stored, default=True)
    packs = (
        await pack_cached(engine.host, engine.sources, stored, verify=True)
        if packs_wanted(engine.host.settings)
        else PacksMade()
    )
    fresh = [environment.id for environment in stored]
    digests = await publish_digests(engine.host, engine.sources, stored, packs=packs.packs, vouch=True, fresh=fresh)
    aliased = await catalog.alias(str(stored[0].id), names) if names else None
    return Imported(tuple(stored), tuple(reports), size, packs, aliased, digests.get(stored[0].id, ""))


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
        UsageError: A text is not of this form.
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


def _with_keys(package: Package, keys: Sequence[str], dirname: str) -> EnvironmentPackage:
    hashes = {"sha256": package.digests.sha256} if package.kind == "conda" and package.digests.sha256 else {}
    result = EnvironmentPackage(package.kind, package.stem, str(package.url), str(package.url_format))
    for key in keys:
        parts = layout.parse_key(key, dirname)
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
