"""The machine's own limits on one core: digests and codecs on the bytes of a real package."""

from __future__ import annotations

import bz2
import hashlib
import importlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.task import Figures, Work

SPEEDS: Final = {
    "md5": "md5",
    "sha256": "sha256",
    "bz2_decode": "bz2 decoding (standard library)",
    "indexed_bz2_decode": "bz2 decoding (indexed_bzip2, 1 thread)",
    "indexed_bz2_decode_2": "bz2 decoding (indexed_bzip2, 2 threads)",
    "bz2_encode": "bz2 coding, level 9",
    "zstd_decode": "zstd decoding",
    "zstd_encode": "zstd coding, level 3",
    "zstd_encode_19": "zstd coding, level 19",
    "copy": "copying in memory",
}
"""What is measured: name of the figure -> what it is. All in unpacked bytes a second."""


def limits(sample: str, size: int) -> Work:
    """Read the first `size` unpacked bytes of a .tar.bz2.

    Args:
        sample: The archive.
        size: How much of it to use, in bytes.
    """
    indexed_bzip2 = importlib.import_module("indexed_bzip2")
    zstandard = importlib.import_module("zstandard")
    with bz2.open(Path(sample)) as file:
        data = file.read(size)
    packed, slow = bz2.compress(data, 9), data[: len(data) // 8]
    compressed = zstandard.compress(data, 3)

    def indexed(threads: int) -> None:
        with indexed_bzip2.open(io.BytesIO(packed), parallelization=threads) as reader:
            while reader.read(1 << 20):
                pass

    def work() -> Figures:
        return {
            "md5": _rate(len(data), hashlib.md5, data),
            "sha256": _rate(len(data), hashlib.sha256, data),
            "bz2_decode": _rate(len(data), bz2.decompress, packed),
            "indexed_bz2_decode": _rate(len(data), indexed, 1),
            "indexed_bz2_decode_2": _rate(len(data), indexed, 2),
            "bz2_encode": _rate(len(slow), bz2.compress, slow, 9),
            "zstd_decode": _rate(len(data), zstandard.decompress, compressed),
            "zstd_encode": _rate(len(data), zstandard.compress, data, 3),
            "zstd_encode_19": _rate(len(slow), zstandard.compress, slow, 19),
            "copy": _rate(len(data), bytearray, data),
        }

    return work


def _rate(count: int, job: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    job(*arguments)
    return count / (time.perf_counter() - started)
