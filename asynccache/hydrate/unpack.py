"""Hydrating from a pack: the reader that bare nodes run, over any store, in threads beside the loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Final

from asynccache.boot.zstd import find_decompressor
from asynccache.engine import events
from asynccache.engine.host import Host
from asynccache.engine.sources import Sources
from asynccache.errors import AsyncCacheError, HydrationError, IntegrityError, ObjectNotFoundError, StoreError
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node import pack_reader as reader
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.ranges import LocalRanges, Ranges
from asynccache.runtime.clock import Deadline
from asynccache.runtime.threads import Progress
from asynccache.store.base import Store
from asynccache.store.request_counts import RequestCounts

_STREAMS: Final = 4
_RANGES: Final = 8
_LOOK_SECONDS: Final = 0.1  # between two looks whether a range is still wanted
_LARGEST: Final = 16 << 20  # bytes of one range, which is in memory whole; of some a quarter more
_INDEXED: Final = 128  # a pack has some more than this many times the bytes of its index
_LONGEST_TAIL: Final = 1 << 20  # bytes that the first request reads at most: nothing else is read beside it


class StoreRanges(Ranges):
    """An object of an open store, read from threads.

    Args:
        store: Open; its loop must be running.
        key: Key of the object.
        size: Size of the object, in bytes.
        timeout: Seconds for one range.

    Attributes:
        failure: What the store raised; None if it answered, whatever it sent.
    """

    streams = _STREAMS

    def __init__(self, store: Store, key: str, size: int, timeout: float) -> None:
        super().__init__(f"{store.address}/{key}")
        self.failure: AsyncCacheError | None = None
        self._store = store
        self._key = key
        self._size = size
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._piece = _piece_of(size)

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Read a range."""
        begin = max(0, self._size + start) if start < 0 else start
        return io.BytesIO(self._get(begin, min(length, self._size - begin))), self._size

    def tail(self, length: int) -> tuple[bytes, int]:
        """Return the last bytes of the object, as many as its index takes, and its size."""
        return super().tail(max(length, min(_LONGEST_TAIL, self._size // _INDEXED)))

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """Yield a range in large pieces, each a request; the store itself retries temporary failures."""
        end = start + length
        piece = -(-length // _pieces(length, self._piece))
        while start < end:
            self.requests += 1
            data = self._get(start, min(piece, end - start))
            self.received += len(data)
            self.arrived(len(data))
            start += len(data)
            yield data
            del data  # the next one would be written beside it

    def _get(self, start: int, length: int) -> bytes:
        reading = asyncio.run_coroutine_threadsafe(self._store.get(self._key, start=start, length=length), self._loop)
        try:
            data = self._answer(reading)
        except ObjectNotFoundError as exc:
            raise NoPackError(str(exc)) from exc
        except (AsyncCacheError, TimeoutError) as exc:
            reading.cancel()
            self.failure = exc if isinstance(exc, AsyncCacheError) else StoreError(f"{self.name} was not read in time")
            raise PackUnusableError(f"{self.name} cannot be read ({exc})") from exc
        if len(data) != length:
            raise PackUnusableError(f"{self.name} ended early: expected {length} bytes at {start}, found {len(data)}")
        return data

    def _answer(self, reading: Future[bytes]) -> bytes:
        """Wait for the store; stop waiting when the rest is no longer wanted."""
        ends = Deadline(self._timeout)
        while True:
            done, _waiting = wait([reading], min(_LOOK_SECONDS, ends.left))
            if done or ends.passed:
                return reading.result(0)
            try:
                self.arrived(0)
            except BaseException:
                reading.cancel()
                raise


def _piece_of(size: int) -> int:
    return max(2 << 20, min(_LARGEST, -(-size // _RANGES)))


def _pieces(length: int, piece: int) -> int:
    """Return in how many requests a range is read: what is left of it over a quarter of a piece is worth one."""
    count = -(-length // piece)
    fewer = max(1, count - 1)
    return fewer if length <= fewer * (piece + piece // 4) else count


def pack_ranges(store: Store, key: str, size: int, timeout: float) -> Ranges:
    """Return a pack as threads read it.

    Args:
        store: Open; its loop must be running.
        key: Key of the object.
        size: Size of the object, in bytes.
        timeout: Seconds for one range.
    """
    if store.root.is_directory:
        return LocalRanges(str(store.root.directory / key))
    return StoreRanges(store, key, size, timeout)


async def unpack_environment(
    host: Host, sources: Sources, environment: ResolvedEnvironment, building: Path, prefix: str
) -> bool:
    """Fill a directory from the pack of an environment; pass this to `hydrate` as `packed`.

    Returns:
        Whether there is a usable pack; a damaged one is reported as `SourceFailed`.

    Raises:
        HydrationError: The prefix is too long, or the disk is too small: packages would not fit either.
    """
    settings = host.settings
    named = environment.digest
    if settings.pack == "never" or (named is not None and not named.pack):
        return False  # with a digest, only the pack that it stands for is used
    key = pack_key(environment.id, settings.envs_dirname)
    info = await sources.store.head(key)
    decoder = find_decompressor()
    if info is None or decoder is None:
        return False
    ranges = pack_ranges(sources.store, key, info.size, settings.package_timeout)

    def run(progress: Progress) -> None:
        ranges.arrived = progress.advance
        env_id = environment.id
        identity = (env_id.req_id, env_id.full_id, env_id.arch)
        index = reader.read_index(ranges, decoder[1], identity=identity, digest=named.pack if named else None)
        reader.unpack(ranges, index, decoder[1], str(building), prefix, check_files=named is not None)

    def moved(count: int) -> None:
        host.emit(events.BytesMoved("fetch", "pack", count))

    started = host.clock.now()
    host.emit(events.PhaseStarted("fetch", "pack", info.size))
    try:
        await host.threads.run_reporting(run, moved)
    except NoPackError:
        return False
    except PackUnusableError as exc:
        host.emit(events.SourceFailed("pack", ranges.name, str(exc)))
        return False
    host.emit(events.Linked(str(building), "pack", 1, host.clock.now() - started))
    return True


def cost_of_verifying(size: int) -> RequestCounts:
    """Return the requests that `verify_pack` makes for a pack of so many bytes whose index the first of them reads."""
    return RequestCounts(head=1, get=1 + _pieces(size, _piece_of(size)))


async def verify_pack(host: Host, store: Store, env_id: EnvID) -> bool:
    """Read the pack of an environment and compare every digest in it; False if there is none.

    If something is wrong, it is read a second time on a new connection before it counts as damaged.

    Raises:
        IntegrityError: It is damaged; the message says where.
        StoreError: It cannot be read, so nothing is known about it.
        HydrationError: This machine cannot decompress it.
    """
    wrong = await _difference(host, store, env_id)
    if wrong:
        async with store.another() as other:
            wrong = await _difference(host, other, env_id)
    if wrong:
        raise IntegrityError(wrong)
    return wrong is not None


async def _difference(host: Host, store: Store, env_id: EnvID) -> str | None:
    """Return what is wrong with a pack, empty if it is intact; None if there is none."""
    key = pack_key(env_id, host.settings.envs_dirname)
    info = await store.head(key)
    if info is None:
        return None
    decoder = find_decompressor()
    if decoder is None:
        raise HydrationError(f"{key} cannot be read: no zstd decoder is available", hint="install backports.zstd")
    ranges = StoreRanges(store, key, info.size, host.settings.package_timeout)

    def run() -> None:
        index = reader.read_index(ranges, decoder[1], identity=(env_id.req_id, env_id.full_id, env_id.arch))
        reader.check_frames(ranges, index)

    try:
        await host.threads.run(run)
    except NoPackError:
        return None
    except PackUnusableError as exc:
        if ranges.failure is not None:
            raise ranges.failure from exc
        return str(exc)
    return ""
