"""zstd with the two things that its bindings leave open: bounded output, and an error for every unfinished frame."""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Final, Protocol

import zstandard

from asynccache.errors import ArchiveError, HostileArchiveError

# The decoder has the interface that the standard library took over (PEP 784): it gives bounded output for pushed input
# and tells where a frame ended, which zstandard's does not.
if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BACKEND: Final = "libzstd " + ".".join(map(str, zstandard.ZSTD_VERSION))
_MAGIC: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878, section 3.1.1
_READ: Final = 1 << 18  # bytes
_WRITE: Final = 1 << 20  # bytes


class Readable(Protocol):
    """The part of a file that decoders use."""

    def read(self, size: int = ..., /) -> bytes:
        """Read up to `size` bytes; nothing at the end."""
        ...

    def tell(self) -> int:
        """Return how many bytes were read."""
        ...


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
    data = file.read(_READ)
    while True:
        while len(data) < len(_MAGIC) and (more := file.read(_READ)):
            data += more
        if not data.startswith(_MAGIC):
            what = "is followed by other data" if data and file.tell() > len(data) else "is not zstd data"
            raise ArchiveError(f"{name} {what}", expected="a zstd frame", found=repr(data[:8]))
        decoder = new_decompressor(window_log)
        while not decoder.eof:
            try:
                block = decoder.decompress(data, _WRITE)
            except zstd.ZstdError as exc:
                if "too much memory" in str(exc):
                    raise HostileArchiveError(
                        f"{name} asks for a large zstd window",
                        expected=f"at most {1 << window_log} bytes",
                        hint="raise the limit on the zstd window if this package is to be trusted",
                    ) from exc
                raise ArchiveError(f"{name} is damaged ({exc})", hint="fetch it again") from exc
            if block:
                yield block
            data = b""
            if decoder.needs_input and not decoder.eof:
                data = file.read(_READ)
                if not data:
                    raise ArchiveError(f"{name} ends within a zstd frame", hint="fetch it again")
        data = decoder.unused_data or file.read(_READ)
        if not data:
            return
