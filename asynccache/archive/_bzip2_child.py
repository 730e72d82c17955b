"""The child process of `bzip2_children`: decode files to shared memory, one after the other.

Run as `python -I -S _bzip2_child.py MODULE SOCKET MEMORY SLOTS`: the fast decoder's module file, the descriptor of a
stream socket, one of the shared memory and how many slots it has. The parent ends it by closing the socket.

For each file the parent sends the bit at which the file's last end mark starts, how many slots to use, and two
descriptors: the bzip2 file, and another one of it whose position is moved along to tell how far decoding went. The
slots are a ring. For each slot that was filled its count of bytes is sent; for each one that may be filled again a byte
arrives. A count of zero ends the file, and is followed by one byte: whether every bit of the file was in its place.

A pipe for the bytes would do the same, but wakes the reader for every few kilobytes: where both processes share a core,
each switch costs the decoder its cache, and half as much CPU time again.
"""

from __future__ import annotations

import _socket  # `socket` would take as long to import as everything else here
import mmap
import os
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

SLOT = 1 << 20  # bytes
COUNT_BYTES = 4  # of a count, little-endian
JOB_BYTES = 9  # the end mark's bit in 8, little-endian, and the count of slots
WHOLE = b"\1"
_DESCRIPTOR_BYTES = 4  # of a C int


def load(path: str) -> Any:
    """Import the decoder without the cost of a search path."""
    spec = spec_from_file_location("indexed_bzip2", path, loader=ExtensionFileLoader("indexed_bzip2", path))
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def next_job(link: Any) -> tuple[int, int, list[int]] | None:
    """Return (bit of the end mark, slots, descriptors) of the next file; None if the parent wants no more."""
    message, ancillary, _flags, _address = link.recvmsg(JOB_BYTES, _socket.CMSG_SPACE(2 * _DESCRIPTOR_BYTES))
    if len(message) != JOB_BYTES or not ancillary:
        return None
    raw = ancillary[0][2]
    numbers = [
        int.from_bytes(raw[at : at + _DESCRIPTOR_BYTES], sys.byteorder) for at in range(0, len(raw), _DESCRIPTOR_BYTES)
    ]
    return int.from_bytes(message[:8], "little"), message[8], numbers


def decode(link: Any, ring: memoryview, decoder: Any, position: int, slots: int, end_bit: int) -> bool:
    """Decode one file; return whether the decoder went through it from its first bit to its last."""
    size = slots * SLOT
    free = slots
    start = 0
    while True:
        if not free:
            free = len(link.recv(slots))
            if not free:
                sys.exit(4)  # the parent has gone
        count = decoder.readinto(ring[start : start + SLOT])
        if not count:
            break
        os.lseek(position, decoder.tell_compressed() // 8, os.SEEK_SET)
        link.sendall(count.to_bytes(COUNT_BYTES, "little"))
        free -= 1
        start = (start + SLOT) % size
    # the decoder stops without complaint where fewer bits are left than a mark has, and before trailing data
    offsets = decoder.block_offsets()
    whole = decoder.block_offsets_complete() and next(reversed(offsets), None) == end_bit
    # what the parent gives back late must not be taken for the next file
    while free < slots:
        given = len(link.recv(slots - free))
        if not given:
            sys.exit(4)
        free += given
    return bool(whole)


def main(module: str, link_descriptor: str, memory: str, slots: str) -> int:
    """Serve until the parent closes the socket."""
    indexed_bzip2 = load(module)
    link = _socket.socket(fileno=int(link_descriptor))
    ring = memoryview(mmap.mmap(int(memory), int(slots) * SLOT))
    while True:
        job = next_job(link)
        if job is None:
            return 0
        end_bit, used, descriptors = job
        # only this class reports where it found blocks
        decoder = indexed_bzip2._IndexedBzip2File(descriptors[0])  # noqa: SLF001
        whole = decode(link, ring, decoder, descriptors[1], used, end_bit)
        del decoder
        for descriptor in descriptors:
            try:
                os.close(descriptor)
            except OSError:
                continue  # the decoder has closed its own
        link.sendall(bytes(COUNT_BYTES) + (WHOLE if whole else b"\0"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
