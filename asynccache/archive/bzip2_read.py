"""Decode bzip2: with the standard library, or faster in a process of its own, never less strictly.

The fast decoder (`indexed_bzip2`) needs a third less CPU but holds the GIL, prints warnings, and lets some damage pass.
It therefore runs in a child process, which also contains whatever a hostile archive may do to native code, and its word
counts only when it found every bit of the file in its place. Where it has the slightest doubt the caller decodes again
with `bz2`, which is exact and names the damage.
"""

from __future__ import annotations

import bz2
import importlib.util
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from asynccache.archive._bzip2_child import COUNT_BYTES, SLOT
from asynccache.errors import ArchiveError

STANDARD: Final = "bz2 (standard library)"
FAST: Final = "indexed_bzip2"
# a child process costs some 25 ms of CPU, what it saves is 30 ms per MiB
_WORTH_A_PROCESS: Final = 1 << 20  # bytes of archive
_READ: Final = 1 << 18  # bytes
_BLOCK: Final = 1 << 20  # bytes
END_MARK: Final = 0x177245385090  # the digits of the square root of pi, 48 bits
_TAIL: Final = 11  # bytes that hold 48 bits of mark, 32 of checksum and up to 7 of padding
_HELPER: Final = Path(__file__).with_name("_bzip2_child.py")


class DoubtError(Exception):
    """The fast decoder did not find everything in its place: decode with the standard library instead."""


def decompressed(file: IO[bytes], name: str) -> Generator[bytes, None, None]:
    """Yield the content of a file of bzip2 streams, in blocks of up to 1 MiB, with the standard library.

    Raises:
        ArchiveError: Damaged, unfinished, or followed by something else.
    """
    data = file.read(_READ)
    if not data.startswith(b"BZh"):
        raise ArchiveError(f"{name} is not a bzip2 file", expected="'BZh'", found=repr(data[:8]))
    while data:
        if not b"BZh".startswith(data[:3]) and not data.startswith(b"BZh"):
            raise ArchiveError(f"{name} is followed by other data", expected="its end", found=repr(data[:8]))
        decoder = bz2.BZ2Decompressor()
        while not decoder.eof:
            try:
                block = decoder.decompress(data, _BLOCK)
            except OSError as exc:
                raise ArchiveError(f"{name} is damaged ({exc})", hint="fetch it again") from exc
            if block:
                yield block
            data = b""
            if decoder.needs_input and not decoder.eof:
                data = file.read(_READ)
                if not data:
                    raise ArchiveError(f"{name} ends within a bzip2 stream", hint="fetch it again")
        data = decoder.unused_data or file.read(_READ)


def fast_decoder() -> str | None:
    """Return the file of the fast decoder's module, None where it cannot be used."""
    if not sys.executable or os.name != "posix":
        return None
    spec = importlib.util.find_spec(FAST)
    return spec.origin if spec is not None else None


def fast_backend() -> str:
    """Name the fast decoder and its version."""
    # importlib.metadata would cost as much as decoding a small package
    where = Path(fast_decoder() or "").parent
    found = [path.name.removesuffix(".dist-info").rpartition("-")[2] for path in where.glob(f"{FAST}-*.dist-info")]
    return " ".join([FAST, *found[:1]])


def choose(size: int) -> str:
    """Name the decoder to use for an archive of `size` bytes."""
    return FAST if size >= _WORTH_A_PROCESS and fast_decoder() is not None else STANDARD


def end_of_stream(tail: bytes) -> int | None:
    """Find the end mark of the last stream: how many bits before the end of the file it starts; None without one.

    Args:
        tail: The last 11 bytes of the file.
    """
    bits = int.from_bytes(tail, "big")
    for padding in range(8):
        if bits & ((1 << padding) - 1) == 0 and (bits >> (padding + 32)) & ((1 << 48) - 1) == END_MARK:
            return padding + 80
    return None


def fast_decompressed(file: IO[bytes], size: int, slots: int = 1) -> Generator[bytes, None, None]:
    """Yield the content of a bzip2 file in blocks of up to 1 MiB, decoded by the child process.

    Args:
        file: The file, by its path; its position follows the child's.
        size: Its length in bytes.
        slots: How many stretches of 4 MiB may be decoded ahead. With 1 the child waits while the caller works, so that
            both together use one core, and each finds its cache as it left it; with 2 they overlap.

    Raises:
        DoubtError: Decode again with `decompressed`; what was yielded so far is worth nothing.
    """
    origin = fast_decoder()
    file.seek(max(0, size - _TAIL))
    end = end_of_stream(file.read(_TAIL))
    if end is None or origin is None:
        raise DoubtError
    file.seek(0)
    # two descriptors: where the decoder reads its own one may move without notice
    with Path(file.name).open("rb") as own, _shared_memory(slots * SLOT) as memory:
        descriptors = (own.fileno(), file.fileno(), memory.fileno())
        command = [sys.executable, "-I", "-S", str(_HELPER), origin, *map(str, (*descriptors, slots, size * 8 - end))]
        try:
            child = subprocess.Popen(  # noqa: S603 - our own module, with an argument list
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=descriptors,
            )
        except OSError as exc:
            raise DoubtError from exc
        with child, mmap.mmap(memory.fileno(), slots * SLOT) as ring:
            try:
                yield from _received(child, ring)
                if child.wait() != 0:
                    raise DoubtError
            finally:
                child.kill()


def _received(child: subprocess.Popen[bytes], ring: mmap.mmap) -> Iterator[bytes]:
    """Yield the blocks that the child puts into the slots in turn, giving each slot back."""
    if child.stdin is None or child.stdout is None:
        raise DoubtError
    start = 0
    while message := child.stdout.read(COUNT_BYTES):
        count = int.from_bytes(message, "little")
        if len(message) != COUNT_BYTES or not 0 < count <= SLOT:
            raise DoubtError
        for position in range(start, start + count, _BLOCK):
            yield ring[position : min(position + _BLOCK, start + count)]
        # a child that has just finished does not care
        with suppress(BrokenPipeError):
            child.stdin.write(b"\0")
        start = (start + SLOT) % len(ring)


def _shared_memory(size: int) -> IO[bytes]:
    """Return a file of `size` bytes without a name, in memory where the system can."""
    if sys.platform == "linux":
        file: IO[bytes] = open(os.memfd_create("asynccache-bzip2"), "wb+")  # noqa: PTH123, SIM115 - the caller's
    else:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.truncate(size)
    return file
