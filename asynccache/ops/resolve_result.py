"""What resolving found, one row for each environment and architecture that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path, PurePosixPath
from typing import ClassVar

from asynccache.errors import AsyncCacheError, PartialFailureError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.resolve.resolver import SourceBuild


@dataclass(frozen=True, slots=True)
class Row(Documented):
    """One environment for one architecture.

    Attributes:
        name: As it was asked for.
        arch: conda platform.
        req_id: Identity of the request.
        environment: What was found; None if that failed, or when wheels would have to be built first in a dry run.
        known: Whether it was known before, so that nothing was solved.
        default: Whether it is what the request means on this machine from now on.
        published: Whether its packages and its document are in the store as far as this run knows.
        digest: sha256 by which it is named, as far as this machine knows it; empty otherwise.
        aliases: Names that were given to it, or that it had already.
        resolver: Who found it; empty if it was known.
        seconds: Solving took; 0.0 if it was known.
        sizes: URL of a package -> bytes, where an index says it.
        builds: What has to be built of source, in a dry run.
        prefix: Where it was made on this machine; None unless that was asked for.
        notes: Notes for the user, one sentence each.
        errors: What failed; `""` -> why there is no environment, a package or name -> why that failed, `create` -> why
            it was not made on this machine.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "name", "arch", "req_id", "full_id", "known", "default", "published", "digest", "aliases", "resolver",
        "seconds", "package_count as packages", "bytes", "package_bytes", "builds", "prefix", "notes", "errors",
        "environment as document",
    )  # fmt: skip

    name: str
    arch: str
    req_id: str
    environment: ResolvedEnvironment | None = None
    known: bool = False
    default: bool = False
    published: bool = False
    digest: str = ""
    aliases: tuple[Alias, ...] = ()
    resolver: str = ""
    seconds: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)
    builds: tuple[SourceBuild, ...] = ()
    prefix: Path | None = None
    notes: tuple[str, ...] = ()
    errors: Mapping[str, AsyncCacheError] = field(default_factory=dict)

    @property
    def bytes(self) -> int | None:
        """Bytes of all packages as they are published; None unless the indexes say all of them."""
        if self.environment is None or not all(p.url in self.sizes for p in self.environment.packages):
            return None
        return sum(self.sizes[p.url] for p in self.environment.packages)

    @property
    def full_id(self) -> str | None:
        """Identity of what was found; None if there is none."""
        return None if self.environment is None else self.environment.id.full_id

    @property
    def package_count(self) -> int | None:
        """How many packages it has; None if there is no environment."""
        return None if self.environment is None else len(self.environment.packages)

    @property
    def package_bytes(self) -> list[int | None] | None:
        """Bytes of each package in the document's order, None if no index says it; None without environment."""
        return None if self.environment is None else [self.sizes.get(p.url) for p in self.environment.packages]


@dataclass(slots=True)
class Resolved(Documented):
    """What one call found.

    Attributes:
        rows: In the order in which environments and architectures were asked for.
        seconds: Total time.
        fetched_bytes: Bytes that came from upstream to be cached.
        dry_run: Whether nothing was to be written.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("dry_run", "rows as environments", "notes", "fetched_bytes", "seconds")

    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    fetched_bytes: int = 0
    dry_run: bool = False

    @property
    def environments(self) -> list[ResolvedEnvironment]:
        """What was found, in the order of the rows."""
        return [row.environment for row in self.rows if row.environment is not None]

    @property
    def notes(self) -> list[str]:
        """What the user should know, each sentence once."""
        return list(dict.fromkeys(note for row in self.rows for note in row.notes))

    def raise_for_failures(self) -> None:
        """Raise when anything failed.

        Raises:
            AsyncCacheError: The one failure.
            PartialFailureError: All failures, by environment and package.
        """
        failures = {
            _label(row, what): error for row in self.rows for what, error in row.errors.items()
        }  # fmt: skip
        # architectures that are solved together fail together: the same object is one failure
        distinct = {id(error): (label, error) for label, error in reversed(failures.items())}
        if len(distinct) == 1:
            raise next(iter(distinct.values()))[1]
        if failures:
            failed = len({(row.name, row.req_id) for row in self.rows if row.errors})
            asked = len({(row.name, row.req_id) for row in self.rows})
            raise PartialFailureError(
                f"{failed} of {asked} environments failed",
                {label: error for label, error in failures.items() if distinct[id(error)][0] == label},
                hint="the others are complete; run the same command again to continue" if failed < asked else None,
            )


def _label(row: Row, what: str) -> str:
    name = f"{PurePosixPath(row.name).name or row.name} ({row.arch})"
    return f"{name} {what}" if what else name
