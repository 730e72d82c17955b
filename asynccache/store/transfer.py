"""Transferring one object from or to one file in parts, for any kind of store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from asynccache.errors import IntegrityError
from asynccache.model.dataclass import dataclass
from asynccache.model.digest import Digests, Hasher
from asynccache.runtime.tasks import run_together
from asynccache.runtime.threads import ThreadRoom
from asynccache.store.base import BytesMoved

T = TypeVar("T")
WRITER: Final = "asynccache-writer"  # object metadata: who wrote it, to recognise our own object after a lost reply


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which bytes of an object are requested.

    Attributes:
        first: The first byte.
        end: After the last one; None for all that follow.
        etag: Only of this version of the object; None for any.
    """

    first: int
    end: int | None
    etag: str | None = None

    def header(self) -> str | None:
        """Return the value of a Range header (RFC 9110, section 14.2); None for the whole object."""
        if self.end is not None:
            return f"bytes={self.first}-{self.end - 1}"
        return f"bytes={self.first}-" if self.first else None


class Body(Protocol):
    """An answer's body."""

    async def read(self, amount: int = -1, /) -> bytes:
        """Return up to so many bytes (all: -1), none at the end."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """An answer that holds bytes of an object.

    Attributes:
        body: The bytes.
        length: How many, as announced.
        content_range: Which ones, as in the header Content-Range; None for a whole object.
        etag: Version of the object.
    """

    body: Body
    length: int
    content_range: str | None
    etag: str | None


class Reader(Protocol):
    """Reads objects of one bucket or container."""

    @property
    def endpoint(self) -> str:
        """Host and port of the service, without credentials."""
        ...

    async def read(
        self, key: str, wanted: Callable[[], Wanted], receive: Callable[[Reading], Awaitable[T]], body_bytes: int
    ) -> T:
        """Read a range.

        Args:
            key: Key in the bucket.
            wanted: Called for each try, so that it continues where the last one broke off.
            receive: Reads the body; part of the try.
            body_bytes: Size of the body, for the time limit.

        Raises:
            CallFailedError: It failed permanently.
        """
        ...


C = TypeVar("C", bound=Reader)


@dataclass(slots=True, kw_only=True)
class Transfer(Generic[C]):
    """Transfers one object from or to one file.

    Attributes:
        client: Makes the requests.
        threads: Threads that read or write the file.
        key: Key in the bucket.
        path: The file.
        part_bytes: Smallest size of a part.
        at_once: Concurrent parts.
        moved: Called with progress.
    """

    client: C
    threads: ThreadRoom
    key: str
    path: Path
    part_bytes: int
    at_once: int
    moved: BytesMoved | None

    async def send_parts(
        self, size: int, length: int, digests: Digests, send: Callable[[int, bytes], Awaitable[None]]
    ) -> None:
        """Read a file in parts, several at once, and send each; the whole is digested in order.

        Args:
            size: Size of the file, in bytes.
            length: Size of a part, in bytes.
            digests: Digests of the file; compared when all was read.
            send: Called with the number of a part, from 0, and its bytes.

        Raises:
            IntegrityError: The file is not what its digests say.
        """
        hasher = Hasher(*digests.algorithms()[:1])
        turn = asyncio.Lock()  # one reader, so that the whole file is digested in order
        numbers = iter(range(-(-size // length)))
        descriptor = await self.threads.run(os.open, self.path, os.O_RDONLY | os.O_CLOEXEC)

        async def work() -> None:
            while True:
                async with turn:
                    number = next(numbers, None)
                    if number is None:
                        return
                    data = await self.threads.run(_read_part, descriptor, length, number * length, hasher)
                if not data:
                    raise IntegrityError(
                        f"{self.path} became shorter while it was uploaded", hint="make the file again"
                    )
                await send(number, data)
                if self.moved is not None:
                    self.moved(len(data))

        try:
            await run_together([work() for _ in range(self.at_once)])
        finally:
            os.close(descriptor)
        digests.check(hasher.digests(), str(self.path), hint="the file has changed; make it again")


def _read_part(descriptor: int, length: int, offset: int, hasher: Hasher) -> bytes:
    blocks = []
    while length and (block := os.pread(descriptor, length, offset)):
        blocks.append(block)
        length -= len(block)
        offset += len(block)
    data = blocks[0] if len(blocks) == 1 else b"".join(blocks)
    hasher.update(data)
    return data
