"""What reading an archive to its end costs, beside decoding the same bytes and nothing else."""

from __future__ import annotations

import bz2
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from bench.task import Figures, Work

DECODING: Final = 3.0  # times the CPU of bare decoding that reading may take,
A_MEMBER: Final = 0.2 / 1000  # CPU seconds for each member,
FREE: Final = 0.01  # and for an archive of any size
_TRIES: Final = 3  # of each, the fastest of which counts: whatever else the machine does only slows down
_BLOCK: Final = 1 << 20


def reading(files: Sequence[str]) -> Work:
    """Read each file to its end as `cache` and `verify` do, and decode it alone; the process does nothing else."""
    from asynccache.archive import bzip2_read, check  # noqa: PLC0415 - imports are not measured
    from asynccache.errors import ArchiveError  # noqa: PLC0415

    bzip2_read.fast_decoder = lambda: None  # it works in another process, whose CPU would be missing here

    def work() -> Figures:
        found = dict.fromkeys(("packages", "refused", "worst_share", "worst_ratio", "unpacked_ratio"), 0.0)
        ours = theirs = 0.0
        for name in files:
            path = Path(name)
            try:
                read = check(path)
            except ArchiveError:
                found["refused"] += 1
                continue
            checking, decoding = _fastest(lambda p=path: check(p)), _fastest(lambda p=path: _decode(p))  # type: ignore[misc]
            ours, theirs = ours + checking, theirs + decoding
            share = checking / (DECODING * decoding + A_MEMBER * read.members + FREE)
            found["packages"] += 1
            found["worst_share"] = max(found["worst_share"], share)
            found["worst_ratio"] = max(found["worst_ratio"], checking / decoding)
            found["unpacked_ratio"] = max(found["unpacked_ratio"], read.unpacked_bytes / path.stat().st_size)
        return {**found, "read_cpu": ours, "decode_cpu": theirs}

    return work


def _fastest(job: Callable[[], object]) -> float:
    taken = []
    for _ in range(_TRIES):
        started = time.thread_time()
        job()
        taken.append(time.thread_time() - started)
    return min(taken)


def _decode(path: Path) -> None:
    if path.name.endswith(".conda"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".tar.zst"):
                    with archive.open(name) as packed:
                        _decode_zstd(packed)
        return
    with path.open("rb") as file:
        decoder = bz2.BZ2Decompressor()
        while not (decoder.eof and not decoder.unused_data and not file.peek(1)):
            if decoder.eof:
                rest, decoder = decoder.unused_data, bz2.BZ2Decompressor()
                decoder.decompress(rest, _BLOCK)
            else:
                decoder.decompress(file.read(1 << 18) if decoder.needs_input else b"", _BLOCK)


def _decode_zstd(packed: IO[bytes]) -> None:
    from asynccache.archive.zstd_stream import new_decompressor  # noqa: PLC0415

    decoder = new_decompressor(27)
    while not decoder.eof:
        data = packed.read(1 << 18) if decoder.needs_input else b""
        with suppress(EOFError):
            decoder.decompress(data, _BLOCK)
