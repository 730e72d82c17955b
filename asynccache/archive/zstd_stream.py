"""zstd with the two things that its bindings leave open: bounded output, and an error for every unfinished frame."""

from __future__ import annotations

import bz2
import re
import sys
from collections.abc import Generator
from typing import Final

import zstandard

from asynccache.archive.window import Readable, Window
from asynccache.errors import ArchiveError, HostileArchiveError

# The decoder has the interface that the standard library took over (PEP 784): it gives bounded output for pushed input
# and reports where a frame ended, which zstandard's does not.
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BACKEND: Final = "libzstd " + ".".join(map(str, zstandard.ZSTD_VERSION))
_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
_SKIPPABLE: Final = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")
Decoder = bz2.BZ2Decompressor | zstd.ZstdDecompressor


class ZstdWriter:
    """Compresses to one frame with a checksum. The output depends on input, level and library version only.

    Args:
        level: 1 to 22.
    """

    def __init__(self, level: int) -> None:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=False)
        self._compressor = compressor.compressobj()

    def write(self, data: memoryview) -> bytes:
        """Take bytes, give what is ready of the frame."""
        return self._compressor.compress(data)

    def finish(self) -> bytes:
        """Give the rest of the frame."""
        return self._compressor.flush()


def new_decompressor(window_log: int) -> zstd.ZstdDecompressor:
    """Return a decoder of one frame that refuses windows of more than 2 ** `window_log` bytes."""
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window_log})


def decompressed(file: Readable, window_log: int, name: str) -> Generator[bytes, None, None]:
    """Yield the content of a file of zstd frames, in blocks of up to 1 MiB.

    Args:
        file: Read to its end.
        window_log: See `Limits.zstd_window_log`.
        name: What to call the file in an error.

    Raises:
        ArchiveError: Damaged, unfinished, or followed by something else.
        HostileArchiveError: The window is too large.
    """
    window = Window(file)
    while True:
        start = window.peek(len(_MAGIC))
        if start == b"" and window.frames:
            return
        if _SKIPPABLE.fullmatch(start):
            window.next_frame(name)
            _skip(window, name)
            continue
        if start != _MAGIC:
            what = "is followed by other data" if window.frames else "is not zstd data"
            raise ArchiveError(f"{name} {what}", expected="a zstd frame", found=repr(window.peek(8)))
        try:
            yield from window.decoded(new_decompressor(window_log), name, "zstd frame")
        except zstd.ZstdError as exc:
            if "too much memory" in str(exc):
                raise HostileArchiveError(
                    f"{name} asks for a large zstd window", expected=f"at most {1 << window_log} bytes"
                ) from exc
            raise ArchiveError(f"{name} is damaged ({exc})", hint="fetch it again") from exc


def _skip(window: Window, name: str) -> None:
    """Pass over a skippable frame, which holds nothing of the content (RFC 8878, section 3.1.2)."""
    head = window.peek(8)
    left = 8 + int.from_bytes(head[4:], "little")
    while left:
        data = window.take(left)
        if not data:
            raise ArchiveError(f"{name} ends within a skippable zstd frame", hint="fetch it again")
        left -= len(data)
