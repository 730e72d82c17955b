"""The child process of `bzip2_read`: decode a file to standard output, and succeed only if every bit was in its place.

Run as `python -I -S _bzip2_child.py MODULE DESCRIPTOR SHARED END_BIT`: the fast decoder's module file, an open
descriptor of the bzip2 file, another one whose position is moved along to tell the parent how far decoding went, and
the bit at which the file's last end mark starts. It imports nothing but that module.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

BLOCK = 1 << 20  # bytes


def load(path: str) -> Any:
    """Import the decoder without the cost of a search path."""
    spec = spec_from_file_location("indexed_bzip2", path, loader=ExtensionFileLoader("indexed_bzip2", path))
    if spec is None or spec.loader is None:
        raise ImportError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(module: str, descriptor: str, shared: str, end_bit: str) -> int:
    """Decode; return 0 when the decoder went through the file from its first bit to its last."""
    decoder = load(module)._IndexedBzip2File(int(descriptor))  # noqa: SLF001 - only here it tells where it found blocks
    buffer = bytearray(BLOCK)
    view = memoryview(buffer)
    while count := decoder.readinto(buffer):
        written = 0
        while written < count:
            written += os.write(1, view[written:count])
        os.lseek(int(shared), decoder.tell_compressed() // 8, os.SEEK_SET)
    # the decoder stops without complaint where fewer bits are left than a mark has, and before trailing data
    offsets = decoder.block_offsets()
    whole = decoder.block_offsets_complete() and next(reversed(offsets), None) == int(end_bit)
    return 0 if whole else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
