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
from asynccache.errors import AsyncCacheError, HydrationError, IntegrityError, ObjectNotFoundError
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.node import pack_reader as reader
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.ranges import LocalRanges, Ranges

_STREAMS: Final = 4
_RANGES: Final = 8
_LARGEST: Final = 16 << 20  # bytes of one range, which is in memory whole


class StoreRanges(Ranges):
    """An object of an open store, read from threads.

    Args:
        engine: Its store is read.
        key: Of the object.
        size: Of the object, in bytes.
        loop: That the store lives on; it must be running.
    """

    streams = _STREAMS

    def __init__(self, engine: Engine, key: str, size: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(f"{engine.store.address}/{key}")
        self._store = engine.store
        self._key = key
        self._size = size
        self._loop = loop
        self._timeout = engine.settings.package_timeout
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
            raise PackUnusableError(f"{self.name} cannot be read ({exc})") from exc
        if len(data) != length:
            raise PackUnusableError(f"{self.name} ended early: expected {length} bytes at {start}, found {len(data)}")
        return data


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
    if engine.store.root.kind == "local":
        ranges: Ranges = LocalRanges(str(engine.store.root.directory / key))
    else:
        ranges = StoreRanges(engine, key, info.size, asyncio.get_running_loop())

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
    except HydrationError as exc:
        raise HydrationError(str(exc)) from exc
    engine.emit(events.Linked(str(building), "pack", 1, engine.clock.now() - started))
    return True


async def verify_pack(engine: Engine, env_id: EnvID) -> bool:
    """Read the pack of an environment and compare every digest in it; False when there is none.

    Raises:
        IntegrityError: It is damaged; says where.
        HydrationError: Nothing here can decompress it.
    """
    key = pack_key(env_id, engine.settings.envs_dirname)
    info = await engine.store.head(key)
    if info is None:
        return False
    decoder = find_decompressor()
    if decoder is None:
        raise HydrationError(f"{key} cannot be read: no zstd decoder is here", hint="install backports.zstd")
    ranges = StoreRanges(engine, key, info.size, asyncio.get_running_loop())

    def run() -> None:
        index = reader.read_index(ranges, decoder[1], identity=(env_id.req_id, env_id.full_id, env_id.arch))
        reader.check_frames(ranges, index)

    try:
        await engine.threads.run(run)
    except PackUnusableError as exc:
        raise IntegrityError(str(exc)) from exc
    return True
