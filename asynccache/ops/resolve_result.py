"""What resolving found, one row for each environment and architecture that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import PurePosixPath

from asynccache.errors import AsyncCacheError, PartialFailureError
from asynccache.model.alias import Alias
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document
from asynccache.model.environment import ResolvedEnvironment
from asynccache.resolve.resolver import SourceBuild


@dataclass(frozen=True, slots=True)
class Row:
    """One environment for one architecture.

    Attributes:
        name: As it was asked for.
        arch: conda platform.
        req_id: Identity of the request.
        environment: What was found; None when that failed, or when wheels would have to be built first in a dry run.
        known: Whether it was known before, so that nothing was solved.
        default: Whether it is what the request means on this machine from now on.
        published: Whether its packages and its document are in the store as far as this run knows.
        aliases: Names that were given to it, or that it had already.
        resolver: Who found it; empty when it was known.
        seconds: Solving took; 0.0 when it was known.
        sizes: URL of a package -> bytes, where an index says it.
        builds: What has to be built of source, in a dry run.
        notes: What the user should know, a sentence each.
        errors: What failed; `""` -> why there is no environment, a package or name -> why that failed.
    """

    name: str
    arch: str
    req_id: str
    environment: ResolvedEnvironment | None = None
    known: bool = False
    default: bool = False
    published: bool = False
    aliases: tuple[Alias, ...] = ()
    resolver: str = ""
    seconds: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)
    builds: tuple[SourceBuild, ...] = ()
    notes: tuple[str, ...] = ()
    errors: Mapping[str, AsyncCacheError] = field(default_factory=dict)

    @property
    def bytes(self) -> int | None:
        """Bytes of all packages as they are published; None unless the indexes say all of them."""
        if self.environment is None or not all(p.url in self.sizes for p in self.environment.packages):
            return None
        return sum(self.sizes[p.url] for p in self.environment.packages)

    def as_document(self) -> dict[str, object]:
        """Return the row as plain values."""
        found = self.environment
        said = document(
            self, "name", "arch", "req_id", "known", "default", "published", "aliases", "resolver", "seconds", "bytes",
            "notes", "errors",
        )  # fmt: skip
        return {
            **said,
            "full_id": None if found is None else found.id.full_id,
            "packages": None if found is None else len(found.packages),
            "sizes": None if found is None else [self.sizes.get(p.url) for p in found.packages],
            "builds": [document(build, "name", "version", "location") for build in self.builds],
            "document": None if found is None else found.as_document(),
        }


@dataclass(slots=True)
class Resolved:
    """What one call found.

    Attributes:
        rows: In the order in which environments and architectures were asked for.
        seconds: In all.
        fetched_bytes: Bytes that came from upstream to be cached.
    """

    rows: list[Row] = field(default_factory=list)
    seconds: float = 0.0
    fetched_bytes: int = 0

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

    def as_document(self) -> dict[str, object]:
        """Return all rows as plain values."""
        return document(self, "notes", "fetched_bytes", "seconds", environments=self.rows)


def _label(row: Row, what: str) -> str:
    name = f"{PurePosixPath(row.name).name or row.name} ({row.arch})"
    return f"{name} {what}" if what else name
