"""Reading large objects in ranges, in parallel, and only from one version of the object."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Final

from asynccache.errors import StoreError
from asynccache.model.dataclass import dataclass
from asynccache.runtime.tasks import run_together
from asynccache.store.local_files import write_error
from asynccache.store.transfer import Body, Reader, Reading, Transfer, Wanted

READ_BYTES: Final = 256 << 10  # taken from the connection at once
_WRITE_BYTES: Final = 1 << 20  # written at once, in a thread
# parts; many packages are fetched at once, so one request for most of them beats several that finish sooner
_ONE_REQUEST: Final = 4
_INLINE_BYTES: Final = 128 << 10  # below this a thread costs more than the write


class ReplacedError(Exception):
    """The object was replaced while it was read; never leaves the store."""


def requests_of(size: int, part_bytes: int) -> int:
    """Return how many requests reading an object takes: one for the first range, and one for each further part.

    >>> requests_of(0, 8 << 20), requests_of(32 << 20, 8 << 20), requests_of((40 << 20) + 1, 8 << 20)
    (1, 1, 3)
    """
    return 1 + max(0, -(-(size - _ONE_REQUEST * part_bytes) // part_bytes))


@dataclass(slots=True, kw_only=True)
class Download(Transfer[Reader]):
    """Downloads one object into one file."""

    _etag: str | None = field(default=None, init=False)
    _total: int = field(default=0, init=False)

    async def run(self, size: int | None) -> int:
        """Read it all; return its size in bytes.

        Args:
            size: Its probable size, which decides whether ranges are used.

        Raises:
            CallFailedError: A request failed; with the status 412 the object was replaced.
            ReplacedError: The object was replaced.
            DiskError: The file cannot be written.
        """
        async with self._file() as descriptor:
            whole = size is not None and size <= _ONE_REQUEST * self.part_bytes
            first = _Range(0, None if whole else _ONE_REQUEST * self.part_bytes)
            await self._fetch(descriptor, first)
            if first.end is not None and first.end < self._total:
                await self._rest(descriptor, first.end)
            return self._total

    @asynccontextmanager
    async def _file(self) -> AsyncIterator[int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            descriptor = await self.threads.run(os.open, self.path, flags, 0o666)
        except OSError as exc:
            raise write_error(self.path, 0, exc) from exc
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    async def _rest(self, descriptor: int, begin: int) -> None:
        starts = iter(range(begin, self._total, self.part_bytes))

        async def work() -> None:
            for start in starts:
                await self._fetch(descriptor, _Range(start, min(start + self.part_bytes, self._total)))

        await run_together([work() for _ in range(self.at_once)])

    async def _fetch(self, descriptor: int, wanted: _Range) -> None:
        """Read one range, continuing where a broken connection left off."""

        def asked() -> Wanted:
            return Wanted(wanted.position, wanted.end, self._etag)

        async def receive(answer: Reading) -> None:
            self._check(answer, wanted)
            await self._write(descriptor, answer.body, wanted)

        length = self.part_bytes if wanted.end is None else wanted.end - wanted.position
        await self.client.read(self.key, asked, receive, length)

    def _check(self, answer: Reading, wanted: _Range) -> None:
        """Record which object it is, and refuse an answer about another part or version of it."""
        length, described = answer.length, answer.content_range
        begin, total = _content_range(described) if described else (0, length)
        asked = None if wanted.end is None else wanted.end - wanted.position
        if not described and wanted.position and length == asked:
            begin, total = wanted.position, self._total  # a server that sends ranges without a Content-Range header
        if begin != wanted.position:
            raise StoreError(
                f"{self.client.endpoint} sent another range of {self.key} than was asked for",
                expected=f"bytes from {wanted.position}",
                found=f"bytes from {begin}",
            )
        if self._etag is None:
            self._etag, self._total = answer.etag, total
            wanted.end = min(total, wanted.end if described and wanted.end is not None else total)
        elif total != self._total or answer.etag != self._etag:
            raise ReplacedError

    async def _write(self, descriptor: int, body: Body, wanted: _Range) -> None:
        blocks: list[bytes] = []
        held = 0
        while True:
            block = await body.read(READ_BYTES)
            blocks.append(block)
            held += len(block)
            if held >= _WRITE_BYTES or (not block and held):
                await self._flush(descriptor, blocks, held, wanted)
                blocks, held = [], 0
            if not block:
                break
        if wanted.end is not None and wanted.position < wanted.end:
            # the server closed the connection properly, but before the announced length
            raise ConnectionResetError(f"{wanted.end - wanted.position} bytes are missing")

    async def _flush(self, descriptor: int, blocks: list[bytes], held: int, wanted: _Range) -> None:
        if wanted.end is not None and wanted.position + held > wanted.end:
            raise StoreError(f"{self.client.endpoint} sent more of {self.key} than was asked for")
        try:
            if held <= _INLINE_BYTES:
                _write_all(descriptor, blocks, wanted.position)
            else:
                await self.threads.run(_write_all, descriptor, blocks, wanted.position)
        except OSError as exc:
            raise write_error(self.path, held, exc) from exc
        wanted.position += held
        if self.moved is not None:
            self.moved(held)


@dataclass(slots=True)
class _Range:
    """What is still missing of a range: `position` moves on; `end` is None until the size is known."""

    position: int
    end: int | None


def _content_range(text: str) -> tuple[int, int]:
    """Read `bytes FIRST-LAST/TOTAL` (RFC 9110, section 14.4): first byte and total size."""
    try:
        span, total = text.removeprefix("bytes ").split("/")
        return int(span.split("-")[0]), int(total)
    except ValueError:
        raise StoreError("the store sent a malformed Content-Range", found=repr(text[:80])) from None


def _write_all(descriptor: int, blocks: list[bytes], position: int) -> None:
    data = blocks[0] if len(blocks) == 1 else b"".join(blocks)
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, position)
        position += count
        view = view[count:]
