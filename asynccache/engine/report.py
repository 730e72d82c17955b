"""What a run did, added up from its events: the receipt that a person reads and a script checks."""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from dataclasses import field

from asynccache.engine import events
from asynccache.errors import AsyncCacheError, PartialFailureError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import document


@dataclass(slots=True)
class PhaseTotals:
    """One phase over all packages.

    Attributes:
        count: Packages that went through it.
        bytes: Bytes moved (see `events.BytesMoved`).
        busy_seconds: Time of all packages added up.
        span_seconds: Time during which at least one package was in the phase.
    """

    count: int = 0
    bytes: int = 0
    busy_seconds: float = 0.0
    span_seconds: float = 0.0
    active: int = field(default=0, repr=False)
    since: float = field(default=0.0, repr=False)


@dataclass(frozen=True, slots=True)
class StoredForm:
    """One form of a package in the store.

    Attributes:
        key: Object key, relative to the root.
        size: In bytes.
        created: Whether this run put it there.
    """

    key: str
    size: int
    created: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one package.

    Attributes:
        package: File name as published.
        url: Where it is published, without credentials.
        forms: What the store holds of it that was wanted.
        error: Why it is not complete; None when it is.
    """

    package: str
    url: str
    forms: tuple[StoredForm, ...]
    error: AsyncCacheError | None = None


class Report:
    """Adds up a run. Pass `take` as (or within) the event sink, call `finish` at the end.

    Args:
        store: Address of the store.

    Attributes:
        outcomes: One per distinct package, in the order of completion.
    """

    def __init__(self, store: str = "") -> None:
        self.store: str = store
        self.phases: dict[events.Phase, PhaseTotals] = {phase: PhaseTotals() for phase in events.PHASES}
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
        self._started = time.monotonic()
        self._cpu_started = _cpu_seconds()

    @property
    def failures(self) -> dict[str, AsyncCacheError]:
        """What failed, by URL."""
        return {o.url: o.error for o in self.outcomes if o.error is not None}

    def take(self, event: events.Event) -> None:
        """Count an event."""
        match event:
            case events.PhaseStarted(phase=phase):
                totals = self.phases[phase]
                totals.count += 1
                if not totals.active:
                    totals.since = time.monotonic()
                totals.active += 1
            case events.PhaseEnded(phase=phase, seconds=seconds):
                totals = self.phases[phase]
                totals.busy_seconds += seconds
                totals.active -= 1
                if not totals.active:
                    totals.span_seconds += time.monotonic() - totals.since
            case events.BytesMoved(phase=phase, bytes=count):
                self.phases[phase].bytes += count
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
        """Close the books.

        Args:
            requests: By whom they were answered -> how many this run made.
        """
        self.requests = requests
        self.seconds = time.monotonic() - self._started
        self.cpu_seconds = _cpu_seconds() - self._cpu_started
        self.peak_memory_bytes = peak_memory_bytes()

    def raise_for_failures(self) -> None:
        """Raise when a package is not complete.

        Raises:
            AsyncCacheError: The failure, when it is the only package.
            PartialFailureError: What failed, by URL.
        """
        failures = self.failures
        if not failures:
            return
        if len(self.outcomes) == 1:
            raise next(iter(failures.values()))
        raise PartialFailureError(
            f"{len(failures)} of {len(self.outcomes)} packages failed, the others are complete",
            failures,
            hint="run the same command again to continue",
        )

    def as_document(self, *, packages: bool = True) -> dict[str, object]:
        """Return the receipt as plain values; seconds and bytes as in the field names."""
        receipt: dict[str, object] = {
            "store": self.store,
            "packages": len(self.outcomes),
            "complete": len(self.outcomes) - len(self.failures),
            "failed": len(self.failures),
            "cache_hits": self.hits,
            "fetched_bytes": dict(self.fetched_bytes),
            "uploaded_bytes": self.uploaded_bytes,
            "adopted_objects": self.adopted,
            "requests": self.requests,
            "retries": self.retries,
            "damaged": self.damaged,
            "mended": self.mended,
            "seconds": round(self.seconds, 3),
            "cpu_seconds": round(self.cpu_seconds, 3),
            "peak_memory_bytes": self.peak_memory_bytes,
            "phases": {
                name: document(totals, "count", "bytes", "busy_seconds", "span_seconds")
                for name, totals in self.phases.items()
            },
        }
        if packages:
            receipt["outcomes"] = [
                {
                    "package": o.package,
                    "url": o.url,
                    "forms": [{"key": f.key, "bytes": f.size, "created": f.created} for f in o.forms],
                    **({} if o.error is None else o.error.as_document()),
                }
                for o in self.outcomes
            ]
        return receipt


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
