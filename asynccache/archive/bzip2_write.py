"""Write one bzip2 stream whose blocks are compressed side by side.

bzip2's blocks are independent: each is compressed to a stream of its own, whose bits are then moved into one stream
with one header and one combined checksum. Some readers stop after the first of several streams, so there is only one.
The result depends on the content alone, not on the number of threads.

Stream layout: `BZh9`, blocks, a 48-bit end mark, the 32-bit combined checksum, zero bits up to a whole byte. A block
starts with a 48-bit mark and its own 32-bit checksum; a stream's checksum is rotated left by one bit and combined with
the next block's by exclusive or.
"""

from __future__ import annotations

import bz2
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from asynccache.archive.bzip2_read import END_MARK, end_of_stream
from asynccache.errors import TransmuteError

if TYPE_CHECKING:
    from concurrent.futures import Future

LEVEL: Final = 9
# A block holds 899 981 bytes after runs were encoded, which lengthens a run of four bytes by one: this leaves room for
# 5 % growth, and at half the size no content can outgrow a block.
CHUNK: Final = 850_000  # bytes
_HEADER: Final = b"BZh9"
_BLOCK_MARK: Final = 0x314159265359  # the digits of pi, 48 bits
_MASK_32: Final = 0xFFFFFFFF


class Bzip2Writer:
    """Compresses what it is given in chunks; use it within `writer()`.

    Args:
        submit: Runs the compression of a chunk somewhere.
        lookahead: Chunks that may be under way.
    """

    def __init__(self, submit: Callable[[bytes], Future[list[tuple[bytes, int]]]], lookahead: int) -> None:
        self._submit = submit
        self._lookahead = lookahead
        self._collected: list[memoryview] = []
        self._size = 0
        self._under_way: deque[Future[list[tuple[bytes, int]]]] = deque()
        self._bits = int.from_bytes(_HEADER, "big")
        self._bit_count = 8 * len(_HEADER)
        self._checksum = 0

    def write(self, data: memoryview) -> bytes:
        """Take bytes, give what is ready of the stream."""
        ready: list[bytes] = []
        position = 0
        while self._size + len(data) - position >= CHUNK:
            stop = position + CHUNK - self._size
            self._collected.append(data[position:stop])
            position = stop
            ready.append(self._next_chunk())
        if position < len(data):
            self._collected.append(data[position:])
            self._size += len(data) - position
        return b"".join(ready)

    def finish(self) -> bytes:
        """Give the rest of the stream."""
        ready = [self._next_chunk()] if self._size else []
        while self._under_way:
            ready.append(self._append(self._under_way.popleft().result()))
        self._bits = (self._bits << 80) | (END_MARK << 32) | self._checksum
        self._bit_count += 80
        padding = -self._bit_count % 8
        ready.append((self._bits << padding).to_bytes((self._bit_count + padding) // 8, "big"))
        return b"".join(ready)

    def _next_chunk(self) -> bytes:
        chunk = b"".join(self._collected)
        self._collected.clear()
        self._size = 0
        self._under_way.append(self._submit(chunk))
        if len(self._under_way) <= self._lookahead:
            return b""
        return self._append(self._under_way.popleft().result())

    def _append(self, blocks: list[tuple[bytes, int]]) -> bytes:
        """Move blocks into the stream; return its whole bytes."""
        ready = []
        for block, bit_count in blocks:
            # the first 80 bits of a block are its mark and its checksum
            checksum = int.from_bytes(block[6:10], "big")
            rotated = ((self._checksum << 1) | (self._checksum >> 31)) & _MASK_32
            self._checksum = rotated ^ checksum
            surplus = 8 * len(block) - bit_count
            self._bits = (self._bits << bit_count) | (int.from_bytes(block, "big") >> surplus)
            self._bit_count += bit_count
            rest = self._bit_count % 8
            ready.append((self._bits >> rest).to_bytes(self._bit_count // 8, "big"))
            self._bits &= (1 << rest) - 1
            self._bit_count = rest
        return b"".join(ready)


@contextmanager
def writer(threads: int) -> Iterator[Bzip2Writer]:
    """Give a writer that compresses in up to `threads` threads; they are gone at the end of the block."""
    if threads <= 1:
        yield Bzip2Writer(_compress_at_once, 0)
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - imports logging

    pool = ThreadPoolExecutor(threads, thread_name_prefix="asynccache-bzip2")
    try:
        yield Bzip2Writer(lambda chunk: pool.submit(compress_chunk, chunk), threads)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _compress_at_once(chunk: bytes) -> Future[list[tuple[bytes, int]]]:
    from concurrent.futures import Future  # noqa: PLC0415 - as above

    future: Future[list[tuple[bytes, int]]] = Future()
    future.set_result(compress_chunk(chunk))
    return future


def compress_chunk(chunk: bytes) -> list[tuple[bytes, int]]:
    """Compress a chunk to one block, or to two of half the content when it does not fit into one.

    Returns:
        Each block with its length in bits; bits behind it count for nothing.
    """
    stream = bz2.compress(chunk, LEVEL)
    if _is_single_block(stream):
        return [_block(stream)]
    middle = len(chunk) // 2
    return [_block(bz2.compress(half, LEVEL)) for half in (chunk[:middle], chunk[middle:])]


def _block(stream: bytes) -> tuple[bytes, int]:
    end = end_of_stream(stream[-11:])
    if end is None:
        raise TransmuteError("the bzip2 library gave a stream without an end mark")
    return stream[len(_HEADER) :], 8 * (len(stream) - len(_HEADER)) - end


def _is_single_block(stream: bytes) -> bool:
    # one block mark, at the start: a second one, at whatever bit, is a second block or looks like one
    for shift in range(8):
        # the five whole bytes that the mark covers at this shift
        core = (_BLOCK_MARK << (8 - shift)).to_bytes(7, "big")[1:6]
        position = stream.find(core, 5 if shift == 0 else 4)
        while position >= 0:
            window = int.from_bytes(stream[position - 1 : position + 6], "big")
            at = 8 * (position - 1) + shift
            if (window >> (8 - shift)) & ((1 << 48) - 1) == _BLOCK_MARK and at != 8 * len(_HEADER):
                return False
            position = stream.find(core, position + 1)
    return True
