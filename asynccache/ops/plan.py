"""What a command would do, found out without doing it: objects, bytes, requests by kind, seconds, money.

A plan reads what the command itself would look at (listings, documents) and counts those requests, and estimates the
rest from known sizes. Nothing is written to the store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Final

from asynccache.engine.engine import Engine
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError
from asynccache.model.dataclass import dataclass
from asynccache.model.document import Documented
from asynccache.model.package import Format, Package
from asynccache.model.prices import Money, Prices
from asynccache.ops.plan_speed import SAMPLE_BYTES, SAMPLES, Load, measured
from asynccache.store.counted import CountedStore
from asynccache.store.request_counts import RequestCounts
from asynccache.store.stored import StoredArchive

if TYPE_CHECKING:
    from asynccache.ops.clean import Cleaned
    from asynccache.ops.opening import Opening

_GROWTH: Final = 3  # an archive's other format stays below this multiple of it
# whether this client may write, the record that it did today, and whether the server honours conditions
_FIRST_WRITE: Final = RequestCounts(get=1, put=4, delete=1)


@dataclass(frozen=True, slots=True)
class Planned(Documented):
    """What a command would do.

    Attributes:
        command: The command.
        store: Address of the store.
        objects: Number of objects that it would act on.
        work: The same by what would be done with them.
        unknown: How many of them have an unknown size, which counts as no bytes.
        failing: What would fail, as far as can be foreseen, and why.
        read_bytes: Bytes read from the store: archives and packs.
        fetched_bytes: Bytes fetched from upstream.
        written_bytes: Bytes written to the store: archives and packs.
        freed_bytes: Bytes freed on this machine or in the store.
        requests: Requests to the store, as far as known.
        requests_at_most: The same including all that may be needed in addition, as `assumptions` say.
        fetches: Requests to upstream.
        seconds: An estimate; null if nothing could be measured.
        measured: What the estimate of seconds is based on.
        money: Cost at the prices of the setting `prices`; null without it.
        assumptions: What was assumed, and what may differ.
    """

    DOCUMENT: ClassVar[tuple[str, ...]] = (
        "command", "store", "objects", "work", "unknown", "failing", "read_bytes", "fetched_bytes", "written_bytes",
        "freed_bytes", "requests", "requests_at_most", "fetches", "seconds", "measured", "money", "assumptions",
    )  # fmt: skip

    command: str
    store: str
    work: Mapping[str, int]
    unknown: int
    failing: Mapping[str, AsyncCacheError]
    read_bytes: int
    fetched_bytes: int
    written_bytes: int
    freed_bytes: int
    requests: RequestCounts
    requests_at_most: RequestCounts
    fetches: int
    seconds: float | None
    measured: str
    money: Money | None
    assumptions: tuple[str, ...]

    @property
    def objects(self) -> int:
        """Number of objects that it would act on."""
        return sum(self.work.values())


@dataclass(slots=True)
class Ledger:
    """Adds up what one command would do.

    Attributes:
        command: The command.
        engine: An open engine on `store`.
        store: The store that is examined; requests to it are those that the command would make as well.
        work: What would be acted on, by what would be done with it.
        failing: What would fail, and why.
        freed_bytes: Bytes that would be freed.
        marks_every: Seconds after which the command records its progress; None if it does not.
    """

    command: str
    engine: Engine
    store: CountedStore
    work: Counter[str] = field(default_factory=Counter)
    failing: dict[str, AsyncCacheError] = field(default_factory=dict)
    freed_bytes: int = 0
    marks_every: float | None = None
    _unknown: int = 0
    _read_bytes: int = 0
    _fetched_bytes: int = 0
    _fetches: int = 0
    _written_bytes: int = 0
    _transmuted_bytes: int = 0
    _more: RequestCounts = field(default_factory=RequestCounts)
    _on_top: RequestCounts = field(default_factory=RequestCounts)
    _to: Format | None = None
    _samples: list[StoredArchive] = field(default_factory=list)
    _fetchable: Package | None = None
    _said: dict[str, None] = field(default_factory=dict)

    @property
    def host(self) -> Host:
        """Settings, threads and budgets to work with."""
        return self.engine.host

    @property
    def sources(self) -> Sources:
        """The store, and upstream."""
        return self.engine.sources

    def ask(self, **requests: int) -> None:
        """Count requests by kind, besides those made by planning itself."""
        self._more += RequestCounts(**requests)

    def maybe(self, **requests: int) -> None:
        """Count requests that may be needed or not."""
        self._on_top += RequestCounts(**requests)

    def say(self, sentence: str) -> None:
        """Record an assumption, once."""
        self._said[sentence] = None

    def read(self, archive: StoredArchive) -> None:
        """Count reading an archive of the store."""
        self.read_size(archive.size)
        if archive.size:
            self._samples.append(archive)
            if len(self._samples) > SAMPLES:
                self._samples.remove(min(self._samples, key=_worth_measuring))

    def read_size(self, size: int, requests: RequestCounts | None = None) -> None:
        """Count reading an object of so many bytes, with these requests or those that a download takes."""
        self._read_bytes += size
        self._more += self.store.cost_of_reading(size) if requests is None else requests

    async def fetch(self, package: Package) -> int:
        """Count fetching a package from upstream; return its size, which is requested if unknown."""
        size = package.digests.size
        if size is None:
            size = await self.sources.fetcher.size_of(package)
        if size is None:
            self._unknown += 1
            self.say("packages whose size neither a list nor their server says count no bytes")
        self._fetches += 1
        self._fetched_bytes += size or 0
        if self._fetchable is None and 0 < (size or 0) <= SAMPLE_BYTES:
            self._fetchable = package
        return size or 0

    def write(self, size: int) -> None:
        """Count writing an object of so many bytes."""
        self._written_bytes += size
        self._more += self.store.cost_of_writing(size)

    def copy(self, number: int, size: int) -> None:
        """Count reading and writing some objects of so many bytes together, assumed to be of equal size."""
        self._read_bytes += size
        self._written_bytes += size
        each = size // number if number else 0
        self._more += (self.store.cost_of_reading(each) + self.store.cost_of_writing(each)).times(number)

    def write_transmuted(self, size: int, to: Format) -> None:
        """Count making the other format of an archive of so many bytes, and writing it with its receipt."""
        self._to = to
        self._transmuted_bytes += size
        likely, large = self.store.cost_of_writing(size), self.store.cost_of_writing(_GROWTH * size)
        self._more += likely + RequestCounts(put=1)
        if large != likely:
            self.say("the other format of a large archive may be sent in more parts, or in fewer")
            self._on_top += RequestCounts(head=large.head - likely.head, put=large.put - likely.put)

    def writes(self) -> None:
        """Record that the command writes, which takes a few requests first."""
        self._on_top += _FIRST_WRITE
        self.say(
            "the first write of a machine takes up to 6 requests more: whether it may, that it did, and whether the"
            " store honours conditions"
        )

    async def planned(self) -> Planned:
        """Measure, and return the totals."""
        # before measuring, which makes requests as well
        requests, pages = self.store.counts + self._more, self.store.counts.list
        self.say("nothing has to be tried again, and nobody else changes the store meanwhile")
        speed = await measured(self.host, self.sources, self._samples, self._to, self._fetchable)
        derived = round(self._transmuted_bytes * speed.ratio)
        if self._transmuted_bytes:
            self.say(f"another format has {speed.ratio:.3g} times the bytes of its archive")
        written = self._written_bytes + derived
        load = Load(requests, pages, self._read_bytes + written, self._fetched_bytes, self._transmuted_bytes)
        seconds = speed.seconds(load, self.host.settings)
        if self.marks_every is not None:
            self.maybe(put=3 + round(3 * (seconds or 0.0) / self.marks_every))
            self.say(f"it takes no more than three times the estimate, and is marked every {self.marks_every:g} s")
        at_most = requests + self._on_top
        prices = Prices.of(self.host.settings.prices)
        return Planned(
            command=self.command,
            store=self.store.address,
            work=dict(self.work),
            unknown=self._unknown,
            failing=self.failing,
            read_bytes=self._read_bytes,
            fetched_bytes=self._fetched_bytes,
            written_bytes=written,
            freed_bytes=self.freed_bytes,
            requests=requests,
            requests_at_most=at_most,
            fetches=self._fetches,
            seconds=seconds,
            measured=speed.said,
            money=None if prices is None else prices.of_work(requests, at_most, self._read_bytes, written),
            assumptions=tuple(self._said),
        )


@asynccontextmanager
async def planning(opening: Opening, command: str, *, writing: bool = False) -> AsyncIterator[Ledger]:
    """Provide a ledger on the opened store, with an engine of its own that writes nothing to it.

    Args:
        opening: What opens the store.
        command: The planned command.
        writing: Whether the command may create the store.

    Raises:
        StoreError: The store cannot be opened.
    """
    store = CountedStore(await opening.store(writing=writing))
    async with Engine(opening.settings, store=store) as engine:
        yield Ledger(command, engine, store)


def _worth_measuring(archive: StoredArchive) -> int:
    return archive.size if archive.size <= SAMPLE_BYTES else -archive.size


def of_removals(found: Cleaned) -> Planned:
    """Return what cleaning this machine would do; no store is involved."""
    kinds = Counter(removal.kind for removal in found.removed)
    return Planned(
        command="clean",
        store="",
        work={f"{kind}s to be removed": number for kind, number in kinds.items()},
        unknown=0,
        failing=found.failed,
        read_bytes=0,
        fetched_bytes=0,
        written_bytes=0,
        freed_bytes=found.freed_bytes,
        requests=RequestCounts(),
        requests_at_most=RequestCounts(),
        fetches=0,
        seconds=None,
        measured="nothing was measured: only local files are removed",
        money=None,
        assumptions=("nobody uses or removes any of it meanwhile",),
    )
