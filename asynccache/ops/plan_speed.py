"""A short measurement of a store and of this machine, and the estimate of durations based on it.

A few requests for an object's properties give the time of one request; a few objects of up to 4 MiB, read together,
give the bytes per second; transmuting one of them in one thread gives the speed of a core. At most ten seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.engine.fetch import Fetcher
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError
from asynccache.model.dataclass import dataclass
from asynccache.model.package import Format, Package
from asynccache.runtime.clock import Clock
from asynccache.runtime.tasks import run_together
from asynccache.store.base import Store
from asynccache.store.request_counts import RequestCounts
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import VerifiedReader, Whole

SAMPLE_BYTES: Final = 4 << 20  # of one object
SAMPLES: Final = 4
_SECONDS: Final = 10.0
_ASKED: Final = 3
_TELLING: Final = 256 << 10  # bytes: fewer measure the time of a request, not the throughput


@dataclass(frozen=True, slots=True)
class Load:
    """The work to estimate.

    Attributes:
        requests: Requests to the store.
        pages: Those of them that can only be made one after the other.
        moved_bytes: Bytes to and from the store.
        fetched_bytes: Bytes from sources.
        transmuted_bytes: Bytes of archives to transmute.
    """

    requests: RequestCounts
    pages: int
    moved_bytes: int
    fetched_bytes: int
    transmuted_bytes: int


@dataclass(slots=True)
class Speed:
    """What was measured; None if that was not possible.

    Attributes:
        request: Seconds of one request.
        moving: Bytes per second, to and from the store.
        fetching: Bytes per second from a source.
        transmuting: Bytes per second of one core.
        ratio: Bytes of the other format for each byte of an archive.
        said: What was measured, as text for people.
    """

    request: float | None = None
    moving: float | None = None
    fetching: float | None = None
    transmuting: float | None = None
    ratio: float = 1.0
    said: str = "nothing was measured"

    def seconds(self, load: Load, settings: Settings) -> float | None:
        """Return how long a load takes: its listings, and then the longest of what is done concurrently."""
        if self.request is None:
            return None
        at_once = min(settings.store_connections, settings.in_flight)
        rates = [
            (load.requests.total - load.pages, at_once / self.request),
            (load.moved_bytes, self.moving),
            (load.fetched_bytes, self.fetching),
            (load.transmuted_bytes, self.transmuting and self.transmuting * settings.cpu_slots),
            (load.requests.total, settings.store_rate),
            (load.moved_bytes, settings.store_bandwidth),
        ]
        return load.pages * self.request + max(number / rate for number, rate in rates if rate)


async def measured(
    host: Host, sources: Sources, samples: Sequence[StoredArchive], to: Format | None, fetchable: Package | None
) -> Speed:
    """Measure.

    Args:
        host: Settings, threads and budgets to work with.
        sources: The store, and upstream.
        samples: Archives of the store that may be read.
        to: The format to transmute one of them to; None to skip this.
        fetchable: A small package to fetch from its source; None to skip this.
    """
    speed, said = Speed(), list[str]()
    try:
        async with asyncio.timeout(_SECONDS):
            await _of_store(host.clock, sources.store, samples, speed, said)
            if fetchable is not None:
                await _of_source(host, sources.fetcher, fetchable, speed, said)
            source = next((each for each in samples if each.size <= SAMPLE_BYTES and each.format != to), None)
            if to is not None and source is not None:
                await _of_transmuting(host, sources.reader, source, to, speed, said)
    except TimeoutError:
        said.append(f"measuring was ended after {_SECONDS:g} s")
    except AsyncCacheError as exc:
        said.append(f"measuring ended: {exc}")
    speed.said = "; ".join(said) or speed.said
    return speed


async def _of_store(
    clock: Clock, store: Store, samples: Sequence[StoredArchive], speed: Speed, said: list[str]
) -> None:
    now = clock.now
    began = now()
    for _ in range(_ASKED):
        await store.head(samples[0].key if samples else "asynccache/format-floor")
    speed.request = max((now() - began) / _ASKED, 1e-6)
    said.append(f"{_ASKED} requests of {1000 * speed.request:.3g} ms each")
    if not samples:
        return
    began = now()
    reads = await run_together([store.get(each.key, start=0, length=SAMPLE_BYTES) for each in samples])
    read, took = sum(map(len, reads)), max(now() - began, 1e-6)
    if read >= _TELLING:
        speed.moving = read / took
        said.append(f"{read} bytes of {len(samples)} objects read in {took:.3g} s")


async def _of_source(host: Host, fetcher: Fetcher, package: Package, speed: Speed, said: list[str]) -> None:
    path = await host.threads.run(host.workspace.passing_file, package.filename)
    began = host.clock.now()
    try:
        fetched = await fetcher.fetch(package, path)
    finally:
        await host.threads.certainly(_remove, path)
    took = max(host.clock.now() - began, 1e-6)
    speed.fetching = (fetched.digests.size or 0) / took * min(host.settings.connections_per_host, 4)
    said.append(f"{fetched.digests.size} bytes fetched from {package.url.origin} in {took:.3g} s")


async def _of_transmuting(
    host: Host, reader: VerifiedReader, source: StoredArchive, to: Format, speed: Speed, said: list[str]
) -> None:
    from asynccache.archive import transmute  # noqa: PLC0415 - most plans need no codec

    settings = host.settings
    directory = await host.threads.run(host.workspace.passing_file, f"plan-{source.filename}")
    path, target = directory.with_name(f"{directory.name}{source.format}"), directory.with_name(f"{directory.name}{to}")
    try:
        if not isinstance(await reader.read(source, path), Whole):
            return
        began = host.clock.now()
        receipt = await host.threads.work(
            lambda stop: transmute(
                path,
                target,
                level=settings.zstd_level,
                verify=settings.verify_transmute,
                threads=1,
                limits=host.limits(),
                cancelled=stop,
            )
        )
    finally:
        await host.threads.certainly(_remove, path)
        await host.threads.certainly(_remove, target)
    took = max(host.clock.now() - began, 1e-6)
    speed.transmuting = source.size / took
    speed.ratio = (receipt.derived.size or source.size) / source.size
    said.append(f"{source.size} bytes transmuted in {took:.3g} s to {receipt.derived.size}")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
