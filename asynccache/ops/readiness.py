"""The result of warming: a row for each environment and architecture, and what it took."""

from __future__ import annotations

from dataclasses import field, replace
from typing import ClassVar

from asynccache.engine.report import Report, RunTotals
from asynccache.errors import AsyncCacheError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID


@dataclass(frozen=True, slots=True)
class Ready(Documented):
    """One row of the readiness table.

    Attributes:
        id: The environment.
        name: The name by which it was requested.
        packages: Number of packages.
        complete: How many of them are where they were requested.
        verified: How many of them were read, now or before, and found correct.
        bytes: Size of the complete ones.
        sources: Where packages came from -> how many: `store`, `node`, or a host.
        seconds: From the start until the last of them was complete.
        published: Whether its document is in the store; None if that was not requested.
        errors: What failed, by package.
        digest: sha256 that identifies exactly its bytes; None if unknown.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "name as environment", "sources as from", "id", "packages", "complete", "verified", "bytes", "seconds",
        "published", "ready", "digest", "errors",
    )  # fmt: skip

    id: EnvID
    name: str
    packages: int
    complete: int
    verified: int
    bytes: int
    sources: dict[str, int]
    seconds: float
    published: bool | None = None
    errors: dict[str, AsyncCacheError] = field(default_factory=dict)
    digest: str | None = None

    @property
    def ready(self) -> bool:
        """Whether everything is complete."""
        return self.complete == self.packages and not self.errors


@dataclass(slots=True)
class Readiness(Documented):
    """The result of warming.

    Attributes:
        rows: One per environment and architecture, as requested.
        distinct: Packages that they need together, of this shard.
        elsewhere: Packages of other shards that the store lacks.
        checked_bytes: Bytes read from the store to verify them.
        damaged: Objects that differ from their own keys in two readings.
        reports: Reports of the engine's runs; none if the store had everything.
        documents: Documents of the environments in the store, as far as they were looked up or written.
        digests: Environment -> the digest for its name, if the sha256 of all packages are known.
        sizes: URL -> size of the published archive in the store.
        seconds: Total time.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "shown as environments", "ready", "distinct as distinct_packages", "elsewhere as missing_elsewhere",
        "fetched_bytes", "checked_bytes", "damaged", "mended", "seconds", "runs",
    )  # fmt: skip

    rows: list[Ready] = field(default_factory=list)
    distinct: int = 0
    elsewhere: int = 0
    checked_bytes: int = 0
    damaged: list[str] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    documents: dict[EnvID, ResolvedEnvironment] = field(default_factory=dict)
    digests: dict[EnvID, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def fetched_bytes(self) -> int:
        """Bytes that came from upstream."""
        return sum(n for report in self.reports for origin, n in report.fetched_bytes.items() if is_host(origin))

    @property
    def shown(self) -> list[Ready]:
        """One per environment and architecture, as requested."""
        return [replace(row, digest=self.digests.get(row.id)) for row in self.rows]

    @property
    def ready(self) -> bool:
        """Whether everything is complete."""
        return all(row.ready for row in self.rows)

    @property
    def runs(self) -> list[RunTotals]:
        """Totals of the engine's runs; none if the store had everything."""
        return [report.totals for report in self.reports]

    @property
    def mended(self) -> list[str]:
        """Number of damaged objects that were replaced by correct ones."""
        return [key for report in self.reports for key in report.mended]

    def raise_for_failures(self) -> None:
        """Raise unless everything is complete.

        Raises:
            PartialFailureError: What failed, by package.
        """
        errors = {package: error for row in self.rows for package, error in row.errors.items()}
        missing = sum(not row.ready for row in self.rows)
        if missing:
            raise PartialFailureError(
                f"{missing} of {len(self.rows)} environments are not ready: {len(errors)} packages are not there",
                errors,
                hint="run the same command again to continue",
            )


def is_host(source: str) -> bool:
    """Return whether a source is an upstream address."""
    return source.startswith(("http://", "https://", "file:"))
