"""Hydrating from a pack: the reader that bare nodes run, over any store, in threads beside the loop."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from asynccache.boot.zstd import find_decompressor
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import AsyncCacheError, HydrationError, IntegrityError, ObjectNotFoundError, StoreError
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node import pack_reader as reader
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.ranges import LocalRanges, Ranges
from asynccache.store.base import Store

_STREAMS: Final = 4
_RANGES: Final = 8
_LARGEST: Final = 16 << 20  # bytes of one range, which is in memory whole


class StoreRanges(Ranges):
    """An object of an open store, read from threads.

    Args:
        store: Open; its loop must be running.
        key: Of the object.
        size: Of the object, in bytes.
        timeout: Seconds for one range.

    Attributes:
        failure: What the store raised; None when it answered, whatever it sent.
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
        self._piece = max(2 << 20, min(_LARGEST, -(-size // _RANGES)))

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Read a range."""
        begin = max(0, self._size + start) if start < 0 else start
        return io.BytesIO(self._get(begin, min(length, self._size - begin))), self._size

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """Yield a range in large pieces, each a request; the store itself tries again what may pass."""
        end = start + length
        while start < end:
            self.requests += 1
            data = self._get(start, min(self._piece, end - start))
            self.received += len(data)
            start += len(data)
            yield data
            del data  # the next one would come beside it

    def _get(self, start: int, length: int) -> bytes:
        reading = asyncio.run_coroutine_threadsafe(self._store.get(self._key, start=start, length=length), self._loop)
        try:
            data = reading.result(self._timeout)
        except ObjectNotFoundError as exc:
            raise NoPackError(str(exc)) from exc
        except (AsyncCacheError, TimeoutError) as exc:
            reading.cancel()
            self.failure = exc if isinstance(exc, AsyncCacheError) else StoreError(f"{self.name} was not read in time")
            raise PackUnusableError(f"{self.name} cannot be read ({exc})") from exc
        if len(data) != length:
            raise PackUnusableError(f"{self.name} ended early: expected {length} bytes at {start}, found {len(data)}")
        return data


def pack_ranges(engine: Engine, key: str, size: int) -> Ranges:
    """Return a pack of an engine's store as threads read it.

    Args:
        engine: Open; its loop must be running.
        key: Of the object.
        size: Of the object, in bytes.
    """
    if engine.store.root.kind == "local":
        return LocalRanges(str(engine.store.root.directory / key))
    return StoreRanges(engine.store, key, size, engine.settings.package_timeout)


async def unpack_environment(engine: Engine, environment: ResolvedEnvironment, building: Path, prefix: str) -> bool:
    """Fill a directory from the pack of an environment; give this to `hydrate` as `packed`.

    Returns:
        Whether there is a usable pack; a damaged one is reported as `SourceFailed`.

    Raises:
        HydrationError: The prefix is too long, or the disk too small: packages would not fit either.
    """
    settings = engine.settings
    if settings.pack == "never":
        return False
    key = pack_key(environment.id, settings.envs_dirname)
    info = await engine.store.head(key)
    decoder = find_decompressor()
    if info is None or decoder is None:
        return False
    ranges = pack_ranges(engine, key, info.size)

    def run() -> None:
        env_id = environment.id
        index = reader.read_index(ranges, decoder[1], identity=(env_id.req_id, env_id.full_id, env_id.arch))
        reader.unpack(ranges, index, decoder[1], str(building), prefix)

    started = engine.clock.now()
    try:
        await engine.threads.run(run)
    except NoPackError:
        return False
    except PackUnusableError as exc:
        engine.emit(events.SourceFailed("pack", ranges.name, str(exc)))
        return False
    engine.emit(events.Linked(str(building), "pack", 1, engine.clock.now() - started))
    return True


async def verify_pack(engine: Engine, env_id: EnvID) -> bool:
    """Read the pack of an environment and compare every digest in it; False when there is none.

    What is wrong is read a second time, by the store opened anew, before it counts as damaged.

    Raises:
        IntegrityError: It is damaged; says where.
        StoreError: It cannot be read, which says nothing of it.
        HydrationError: Nothing here can decompress it.
    """
    wrong = await _difference(engine, engine.store, env_id)
    if wrong:
        async with engine.store.another() as store:
            wrong = await _difference(engine, store, env_id)
    if wrong:
        raise IntegrityError(wrong)
    return wrong is not None


async def _difference(engine: Engine, store: Store, env_id: EnvID) -> str | None:
    """Return what is wrong with a pack, empty when it is whole; None when there is none."""
    key = pack_key(env_id, engine.settings.envs_dirname)
    info = await store.head(key)
    if info is None:
        return None
    decoder = find_decompressor()
    if decoder is None:
        raise HydrationError(f"{key} cannot be read: no zstd decoder is here", hint="install backports.zstd")
    ranges = StoreRanges(store, key, info.size, engine.settings.package_timeout)

    def run() -> None:
        index = reader.read_index(ranges, decoder[1], identity=(env_id.req_id, env_id.full_id, env_id.arch))
        reader.check_frames(ranges, index)

    try:
        await engine.threads.run(run)
    except NoPackError:
        return None
    except PackUnusableError as exc:
        if ranges.failure is not None:
            raise ranges.failure from exc
        return str(exc)
    return ""
