"""The child process of `bzip2_read`: decode a file to shared memory, and succeed only if every bit was in its place.

Run as `python -I -S _bzip2_child.py MODULE DESCRIPTOR POSITION MEMORY SLOTS END_BIT`: the fast decoder's module file,
an open descriptor of the bzip2 file, another one whose position is moved along to tell the parent how far decoding
went, one of the shared memory and how many slots it has, and the bit at which the file's last end mark starts.

The memory is a ring of slots. For each slot that was filled, its count of bytes goes to standard output; for each one
that may be filled again, a byte comes from standard input. A pipe would do the same, but wakes the reader for every few
kilobytes: where both processes share a core, each switch costs the decoder its cache, and half as much CPU time again.
"""

from __future__ import annotations

import mmap
import os
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

SLOT = 4 << 20  # bytes
COUNT_BYTES = 4  # of a count, little-endian


def load(path: str) -> Any:
    """Import the decoder without the cost of a search path."""
    spec = spec_from_file_location("indexed_bzip2", path, loader=ExtensionFileLoader("indexed_bzip2", path))
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(module: str, descriptor: str, position: str, memory: str, slots: str, end_bit: str) -> int:
    """Decode; return 0 when the decoder went through the file from its first bit to its last."""
    decoder = load(module)._IndexedBzip2File(int(descriptor))  # noqa: SLF001 - only here it tells where it found blocks
    free = int(slots)
    size = free * SLOT
    ring = memoryview(mmap.mmap(int(memory), size))
    start = 0
    while True:
        if not free:
            free = len(os.read(0, int(slots)))
            if not free:
                return 4  # the parent has gone
        count = decoder.readinto(ring[start : start + SLOT])
        if not count:
            break
        os.lseek(int(position), decoder.tell_compressed() // 8, os.SEEK_SET)
        os.write(1, count.to_bytes(COUNT_BYTES, "little"))
        free -= 1
        start = (start + SLOT) % size
    # the decoder stops without complaint where fewer bits are left than a mark has, and before trailing data
    offsets = decoder.block_offsets()
    whole = decoder.block_offsets_complete() and next(reversed(offsets), None) == int(end_bit)
    return 0 if whole else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
