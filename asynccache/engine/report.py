"""What a run did, added up from its events: the receipt that a person reads and a script checks."""

from __future__ import annotations

import resource
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

from asynccache.engine import events
from asynccache.engine.progress import PhaseTotals, Progress
from asynccache.errors import AsyncCacheError, raise_failures
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.runtime.clock import Clock


@dataclass(frozen=True, slots=True)
class StoredFormat(Documented):
    """One format of a package in the store.

    Attributes:
        key: Object key, relative to the root.
        size: Size in bytes.
        created: Whether this run created it.
        sha256: sha256 of its bytes, if this run had them; otherwise empty.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("key", "size as bytes", "created")

    key: str
    size: int
    created: bool
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Outcome(Documented):
    """The outcome for one package.

    Attributes:
        package: File name as published.
        url: Where it is published, without credentials.
        forms: The wanted formats of it that the store has.
        error: Why it is not complete; None if it is.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("package", "url", "forms", "*error")

    package: str
    url: str
    forms: tuple[StoredFormat, ...]
    error: AsyncCacheError | None = None


@dataclass(frozen=True, slots=True)
class RunTotals(Documented):
    """What a run did and took, added up.

    Attributes:
        store: Address of the store.
        packages: Number of distinct packages.
        complete: Packages of which the store has everything that was wanted.
        failed: The other packages.
        cache_hits: Packages of which the store had everything before.
        fetched_bytes: Origin (`store`, `file`, `https://HOST`) -> bytes that came from it.
        uploaded_bytes: Bytes that were published.
        adopted_objects: Objects that another writer published meanwhile.
        requests: Server -> number of requests.
        retries: Requests that were retried.
        damaged: Keys of objects that differ from their own key in two readings.
        mended: Those that were replaced by correct ones.
        seconds: Total time.
        cpu_seconds: CPU time of this process and its children.
        peak_memory_bytes: The largest resident size of the process.
        phases: Phase (`fetch`, `transmute`, `upload`) -> what it transferred.
    """

    store: str
    packages: int
    complete: int
    failed: int
    cache_hits: int
    fetched_bytes: Mapping[str, int]
    uploaded_bytes: int
    adopted_objects: int
    requests: Mapping[str, int]
    retries: int
    damaged: Sequence[str]
    mended: Sequence[str]
    seconds: float
    cpu_seconds: float
    peak_memory_bytes: int
    phases: Mapping[events.Phase, PhaseTotals]


class Report(Documented):
    """What a run did, added up from its events. Pass `take` as (or within) their sink, call `finish` at the end.

    Args:
        store: Address of the store.
        clock: Clock to measure with; None for real time.

        keep: Keep the outcomes of complete packages, of which a million need much memory.

    Attributes:
        outcomes: One per distinct package, in the order of completion; only the failures unless all are kept.
        packages: Number of packages.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = ("*totals", "outcomes")

    def __init__(self, store: str = "", clock: Clock | None = None, *, keep: bool = True) -> None:
        self.store: str = store
        self._clock = clock or Clock()
        self._progress = Progress(self._clock.now)
        self.packages: int = 0
        self._keep = keep
        self.fetched_bytes: Counter[str] = Counter()  # by origin
        self.uploaded_bytes: int = 0
        self.adopted: int = 0
        self.hits: int = 0
        self.retries: int = 0
        self.damaged: list[str] = []
        self.mended: list[str] = []
        self.requests: dict[str, int] = {}
        self.outcomes: list[Outcome] = []
        self.seconds: float = 0.0
        self.cpu_seconds: float = 0.0
        self.peak_memory_bytes: int = 0
        self._started = self._clock.now()
        self._cpu_started = _cpu_seconds()

    @property
    def phases(self) -> dict[events.Phase, PhaseTotals]:
        """What each phase transferred."""
        return self._progress.phases

    @property
    def failures(self) -> dict[str, AsyncCacheError]:
        """What failed, by URL."""
        return {o.url: o.error for o in self.outcomes if o.error is not None}

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of a package."""
        self.packages += 1
        if self._keep or outcome.error is not None:
            self.outcomes.append(outcome)

    def take(self, event: events.Event) -> None:
        """Count an event."""
        self._progress.take(event)
        match event:
            case events.Fetched(source=source, bytes=count, resumed_from=resumed):
                self.fetched_bytes[_origin(source)] += count - resumed
            case events.Uploaded(bytes=count, created=created):
                self.uploaded_bytes += count if created else 0
                self.adopted += not created
            case events.CacheHit():
                self.hits += 1
            case events.Retried():
                self.retries += 1
            case events.DamageFound(key=key):
                self.damaged.append(key)
            case events.Mended(key=key):
                self.mended.append(key)

    def finish(self, requests: dict[str, int]) -> None:
        """Finish the report.

        Args:
            requests: Server -> number of requests of this run.
        """
        self.requests = requests
        self.seconds = self._clock.now() - self._started
        self.cpu_seconds = _cpu_seconds() - self._cpu_started
        self.peak_memory_bytes = peak_memory_bytes()

    def raise_for_failures(self) -> None:
        """Raise if a package is not complete.

        Raises:
            AsyncCacheError: The failure, if there was only one package.
            PartialFailureError: What failed, by URL.
        """
        failures = self.failures
        raise_failures(
            f"{len(failures)} of {self.packages} packages failed, the others are complete",
            failures,
            asked=self.packages,
            hint="run the same command again to continue",
        )

    @property
    def totals(self) -> RunTotals:
        """Totals of what it did and took."""
        return RunTotals(
            store=self.store,
            packages=self.packages,
            complete=self.packages - len(self.failures),
            failed=len(self.failures),
            cache_hits=self.hits,
            fetched_bytes=self.fetched_bytes,
            uploaded_bytes=self.uploaded_bytes,
            adopted_objects=self.adopted,
            requests=self.requests,
            retries=self.retries,
            damaged=self.damaged,
            mended=self.mended,
            seconds=self.seconds,
            cpu_seconds=self.cpu_seconds,
            peak_memory_bytes=self.peak_memory_bytes,
            phases=self.phases,
        )


def peak_memory_bytes() -> int:
    """Return the largest resident size this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _cpu_seconds() -> float:
    """Return what this process and its ended children have used: bzip2 is decoded in a child process."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _origin(source: str) -> str:
    scheme, separator, rest = source.partition("://")
    if scheme in {"http", "https"}:
        return scheme + separator + rest.split("/", 1)[0]
    return scheme if separator else "store"
