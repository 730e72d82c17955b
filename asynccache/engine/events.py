"""What the engine reports: a stream of values that progress bars, receipts, metrics and tests all read.

Events are delivered synchronously on the loop, in order; a sink must return quickly and not raise. `package` is the
package's file name, `url` its address without credentials, `key` an object's, which its document shows without tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from asynccache.errors import without_tokens
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented, document

Phase = Literal["fetch", "transmute", "upload"]
PHASES: tuple[Phase, ...] = ("fetch", "transmute", "upload")


@dataclass(frozen=True, slots=True)
class Event(Documented):
    """Base of all events."""

    def as_document(self) -> dict[str, Any]:
        """Return the event as plain values with its type under `event`, for `--json`."""
        said = document(self, *self.DOCUMENT)
        plain = {k: without_tokens(v) if isinstance(v, str) else v for k, v in said.items()}
        return {"event": type(self).__name__, **plain}


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A call began: how many distinct packages, and their bytes as far as known."""

    packages: int
    known_bytes: int


@dataclass(frozen=True, slots=True)
class Located(Event):
    """The store was asked what it holds: packages complete, packages with work to do, requests it took."""

    complete: int
    missing: int
    requests: int
    seconds: float


@dataclass(frozen=True, slots=True)
class CacheHit(Event):
    """Everything wanted of a package is in the store."""

    package: str
    url: str
    bytes: int


@dataclass(frozen=True, slots=True)
class LockWaited(Event):
    """Another process works on this package; reported after a second and then every half minute."""

    package: str
    holder: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LocksUnsupported(Event):
    """Files in a directory cannot be locked; work continues, and concurrent work of another process is done twice."""

    directory: str
    reason: str

    def __str__(self) -> str:
        return (
            f"warning: files in {self.directory} cannot be locked ({self.reason}):"
            " what several processes want at once is done by each of them"
        )


@dataclass(frozen=True, slots=True)
class PhaseStarted(Event):
    """A package entered a phase; `size` is the expected work in bytes, None if unknown."""

    DOCUMENT: ClassVar[tuple[str, ...]] = ("phase", "package", "size as bytes")

    phase: Phase
    package: str
    size: int | None


@dataclass(frozen=True, slots=True)
class SizeKnown(Event):
    """A server reported how many bytes of a package are still to come, if that was unknown or a part existed."""

    DOCUMENT: ClassVar[tuple[str, ...]] = ("phase", "package", "remaining as remaining_bytes")

    phase: Phase
    package: str
    remaining: int


@dataclass(frozen=True, slots=True)
class BytesMoved(Event):
    """Progress within a phase, in bytes since the last event of this package and phase.

    fetch: received. transmute: read of the source archive. upload: sent.
    """

    phase: Phase
    package: str
    bytes: int


@dataclass(frozen=True, slots=True)
class PhaseEnded(Event):
    """A package left a phase, whether it succeeded or not."""

    phase: Phase
    package: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Fetched(Event):
    """A package's bytes are on local disk and verified; `source` is where they came from, without credentials."""

    DOCUMENT: ClassVar[tuple[str, ...]] = ("package", "source", "bytes", "resumed_from as resumed_from_bytes")

    package: str
    source: str
    bytes: int
    resumed_from: int


@dataclass(frozen=True, slots=True)
class Transmuted(Event):
    """The other format of a package exists and holds the same members."""

    package: str
    target: str
    source_bytes: int
    derived_bytes: int
    members: int
    verified: bool


@dataclass(frozen=True, slots=True)
class Uploaded(Event):
    """An object is visible in the store; `created` is False if another writer's was adopted."""

    package: str
    key: str
    bytes: int
    created: bool


@dataclass(frozen=True, slots=True)
class Retried(Event):
    """A request failed temporarily; the next try is in `delay` seconds."""

    DOCUMENT: ClassVar[tuple[str, ...]] = ("package", "url", "attempt", "delay as delay_seconds", "reason")

    package: str
    url: str
    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class SourceFailed(Event):
    """One source of a package was given up; the next one is tried."""

    package: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class DamageFound(Event):
    """A stored object differed from its own key in two independent readings; it was left where it is."""

    store: str
    key: str
    reason: str
    mend: str

    def __str__(self) -> str:
        return f"{without_tokens(self.key)} in {self.store} is damaged: {self.reason}; {self.mend}"


@dataclass(frozen=True, slots=True)
class Misread(Event):
    """A stored object was read wrong once and right on another connection: the transfer was damaged, not the object."""

    store: str
    key: str
    reason: str

    def __str__(self) -> str:
        return f"{without_tokens(self.key)} was read wrong from {self.store} and right the second time: {self.reason}"


@dataclass(frozen=True, slots=True)
class Mended(Event):
    """A damaged object was replaced by a correct one."""

    key: str

    def __str__(self) -> str:
        return f"{without_tokens(self.key)} was damaged and is mended"


@dataclass(frozen=True, slots=True)
class PackageExtracted(Event):
    """A package is unpacked on this node; `source` is where its archive came from, `bytes` its unpacked size."""

    package: str
    source: str
    bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Linked(Event):
    """Packages of one kind were linked into a prefix."""

    prefix: str
    kind: str
    packages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ResolveStarted(Event):
    """Solving one environment began: nothing known satisfies the request."""

    name: str
    arch: str
    resolver: str


@dataclass(frozen=True, slots=True)
class ResolveEnded(Event):
    """Solving one environment ended; packages is None if it failed."""

    name: str
    arch: str
    packages: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class PackStarted(Event):
    """Building the pack of an environment began."""

    environment: str
    arch: str


@dataclass(frozen=True, slots=True)
class PackEnded(Event):
    """The pack of an environment is in the store; `size` in bytes."""

    DOCUMENT: ClassVar[tuple[str, ...]] = ("environment", "arch", "size as bytes", "seconds")

    environment: str
    arch: str
    size: int
    seconds: float


@dataclass(frozen=True, slots=True)
class PackageDone(Event):
    """A package is complete in the store."""

    package: str
    url: str
    seconds: float


@dataclass(frozen=True, slots=True)
class PackageFailed(Event):
    """A package could not be completed."""

    package: str
    url: str
    error: str


EventSink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take an event and do nothing: the default sink."""
