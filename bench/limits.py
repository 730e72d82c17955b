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
        jobs: dict[str, tuple[Callable[[], object], int]] = {
            "md5": (lambda: hashlib.md5(data, usedforsecurity=False), len(data)),
            "sha256": (lambda: hashlib.sha256(data), len(data)),
            "bz2_decode": (lambda: bz2.decompress(packed), len(data)),
            "indexed_bz2_decode": (lambda: indexed(1), len(data)),
            "indexed_bz2_decode_2": (lambda: indexed(2), len(data)),
            "bz2_encode": (lambda: bz2.compress(slow, 9), len(slow)),
            "zstd_decode": (lambda: zstandard.decompress(compressed), len(data)),
            "zstd_encode": (lambda: zstandard.compress(data, 3), len(data)),
            "zstd_encode_19": (lambda: zstandard.compress(slow, 19), len(slow)),
            "copy": (lambda: bytearray(data), len(data)),
        }
        return {name: _rate(job, count) for name, (job, count) in jobs.items()}

    return work


def _rate(job: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    job()
    return count / (time.perf_counter() - started)
