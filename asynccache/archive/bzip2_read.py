"""Decode bzip2: with the standard library, or faster in a process of its own, never less strictly.

The fast decoder (`indexed_bzip2`) needs a third less CPU but holds the GIL, prints warnings, and lets some damage pass.
It therefore runs in a child process, which also contains whatever a hostile archive may do to native code, and its word
counts only when it found every bit of the file in its place. Where it has the slightest doubt the caller decodes again
with `bz2`, which is exact and names the damage.
"""

from __future__ import annotations

import bz2
import importlib.util
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import IO, Final

from asynccache.archive import bzip2_children
from asynccache.archive.window import Window
from asynccache.errors import ArchiveError

STANDARD: Final = "bz2 (standard library)"
FAST: Final = "indexed_bzip2"
# starting a child process costs some 25 ms of CPU, what it saves is 30 ms per MiB
_WORTH_A_PROCESS: Final = 1 << 20  # bytes of archive
_WORTH_A_MESSAGE: Final = 1 << 15  # bytes of archive
END_MARK: Final = 0x177245385090  # the digits of the square root of pi, 48 bits
_TAIL: Final = 11  # bytes that hold 48 bits of mark, 32 of checksum and up to 7 of padding


class DoubtError(Exception):
    """The fast decoder did not find everything in its place: decode with the standard library instead."""


def decompressed(file: IO[bytes], name: str) -> Generator[bytes, None, None]:
    """Yield the content of a file of bzip2 streams, in blocks of up to 1 MiB, with the standard library.

    Raises:
        ArchiveError: Damaged, unfinished, or followed by something else.
    """
    window = Window(file)
    while True:
        start = window.peek(3)
        if not start and window.frames:
            return
        if not start or not b"BZh".startswith(start):
            what = "is followed by other data" if window.frames else "is not a bzip2 file"
            raise ArchiveError(f"{name} {what}", expected="'BZh'", found=repr(window.peek(8)))
        try:
            yield from window.decoded(bz2.BZ2Decompressor(), name, "bzip2 stream")
        except OSError as exc:
            raise ArchiveError(f"{name} is damaged ({exc})", hint="fetch it again") from exc


def fast_decoder() -> str | None:
    """Return the file of the fast decoder's module, None if it cannot be used."""
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


_decoded_small = 0  # bytes of archives that were too small for a process


def choose(size: int) -> str:
    """Name the decoder to use for an archive of `size` bytes.

    A small archive is not worth a process, many of them are: each one counts towards the next.
    """
    global _decoded_small  # noqa: PLW0603 - of the whole process; a count that threads spoil costs nothing
    if size < _WORTH_A_MESSAGE or fast_decoder() is None:
        return STANDARD
    if size >= _WORTH_A_PROCESS or bzip2_children.available() or _decoded_small >= _WORTH_A_PROCESS:
        return FAST
    _decoded_small += size
    return STANDARD


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
    """Yield the content of a bzip2 file in blocks of up to 1 MiB, decoded by a child process.

    Args:
        file: The file, by its path; its position follows the child's.
        size: Its length in bytes.
        slots: How many stretches of 1 MiB may be decoded ahead. With 1 the child waits while the caller works, so that
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
    try:
        child = bzip2_children.acquire(origin)
    except bzip2_children.ChildFailedError as exc:
        raise DoubtError from exc
    whole = False
    try:
        # two descriptors: where the decoder reads its own one may move without notice
        with Path(file.name).open("rb") as own:
            yield from child.decoded(own.fileno(), file.fileno(), size * 8 - end, slots)
        whole = True
    except bzip2_children.ChildFailedError as exc:
        raise DoubtError from exc
    finally:
        if whole:
            bzip2_children.release(child)
        else:
            child.end(now=True)
