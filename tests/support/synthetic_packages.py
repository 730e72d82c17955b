"""Many conda packages with the shapes of real ones, made quickly and the same for the same seed.

Their content is random data of two kinds in turn: bytes from a small alphabet, which only entropy coding shrinks (as
machine code), and runs of words, which repeat (as source text).
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import random
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from asynccache.model.package import Format
from tests.support.channel_index import write_index
from tests.support.conda_package import PLACEHOLDER, Member, Metadata, write_package

_TEXT_BYTES: Final = 1 << 20
_TYPICAL_FILE_BYTES: Final = 16 << 10


def lognormal_sizes(
    count: int, *, median: int = 1 << 20, sigma: float = 1.7, largest: int = 64 << 20, seed: int = 0
) -> list[int]:
    """Return unpacked sizes in bytes: most packages small, a few a hundred times larger, none over `largest`.

    The default spread is that of conda-forge's linux-64 packages (sigma of the logarithm 1.7); their median is about
    three times the default one.
    """
    source = random.Random(seed)
    return [min(largest, max(256, round(source.lognormvariate(math.log(median), sigma)))) for _ in range(count)]


@functools.cache
def _text() -> bytes:
    """Return a megabyte of phrases, the frequent ones many times, as in source text."""
    source = random.Random("text")
    words = ["".join(source.choices("etaoinshrdlucmfwypvbgkqjxz_", k=source.randint(2, 9))) for _ in range(6000)]
    frequent = list(itertools.accumulate(1 / rank for rank in range(1, len(words) + 1)))
    phrases = [" ".join(source.choices(words, cum_weights=frequent, k=source.randint(2, 12))) for _ in range(3000)]
    ranks = [1 / rank for rank in range(1, len(phrases) + 1)]
    return "\n    ".join(source.choices(phrases, ranks, k=60_000)).encode()[:_TEXT_BYTES]


class _Content:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._words = _text()
        # The mean of 8 and the share of 0.37 below make bzip2 and zstd shrink the whole 3.5 times, as they do for
        # the median of 64 published packages.
        self._alphabet = bytes(min(255, int(self._random.expovariate(1 / 8))) for _ in range(256))

    def take(self, size: int) -> bytes:
        parts: list[bytes] = []
        left = size
        while left > 0:
            length = min(left, self._random.randint(2 << 10, 24 << 10))
            if self._random.random() < 0.37:
                part = self._random.randbytes(length).translate(self._alphabet)
            else:
                start = self._random.randrange(len(self._words) - length)
                part = self._words[start : start + length]
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def members(self, name: str, size: int) -> list[Member]:
        members = [
            Member(f"etc/{name}.conf", f"prefix={PLACEHOLDER}\n".encode()),
            Member(f"lib/{name}/current", symlink="0.bin"),
        ]
        number, left = 0, size
        while left > 0 or number == 0:
            length = min(left, round(self._random.expovariate(1 / _TYPICAL_FILE_BYTES)) + 1)
            length = left if number >= 4000 else length
            members.append(Member(f"lib/{name}/{number}.bin", self.take(length)))
            number, left = number + 1, left - length
        return members


def write_synthetic_channel(
    channel: Path,
    sizes: Sequence[int],
    *,
    subdir: str = "linux-64",
    formats: Iterable[Format] = (Format.TAR_BZ2, Format.CONDA),
    seed: int = 0,
    level: int = 3,
    threads: int = 2,
) -> list[Path]:
    """Write one package a size into a new channel; return the archives in order.

    Args:
        channel: Directory to create.
        sizes: Unpacked sizes in bytes.
        subdir: conda platform of all of them.
        formats: Taken in turn, one a package.
        seed: Same seed, same bytes.
        level: zstd level.
        threads: How many packages are compressed at a time.
    """
    directory = channel / subdir
    directory.mkdir(parents=True)
    cycle = tuple(formats)

    def write(number: int) -> Path:
        name = f"synthetic-{number:04d}"
        metadata = Metadata(name=name, version=f"1.{number}", build="h0_0", subdir=subdir)
        members = _Content(seed * 1_000_003 + number).members(name, sizes[number])
        return write_package(directory, metadata, members, (cycle[number % len(cycle)],), level=level)[0]

    with ThreadPoolExecutor(threads) as pool:
        paths = list(pool.map(write, range(len(sizes))))
    write_index(channel)
    return paths


def main() -> None:
    """Write a channel: `python -m tests.support.synthetic_packages --out DIR --count N`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--median", type=int, default=1 << 20, help="unpacked bytes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sizes = lognormal_sizes(arguments.count, median=arguments.median, seed=arguments.seed)
    paths = write_synthetic_channel(arguments.out, sizes, seed=arguments.seed)
    print(f"{len(paths)} packages, {sum(sizes):,} bytes unpacked, {sum(p.stat().st_size for p in paths):,} packed")  # noqa: T201 - a program's output


if __name__ == "__main__":
    main()
