"""Prove while writing that what was written unpacks to what was read, byte for byte.

What goes into a compressor is remembered until the compressor's output, decompressed again at once, has brought it
back; so no second archive is ever held, in memory or on disk. Every byte of every header and of every content takes
part, which covers name, type, mode, owner, time, link target, size, extended attributes and content of each member.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from asynccache.archive.zstd_stream import Decoder
from asynccache.errors import TransmuteError

_BLOCK: Final = 1 << 17  # bytes: what zstd decodes at once; less of it than of anything larger leaves the cache


class Comparison:
    """Compares one compressed stream with its source.

    Args:
        decoder: Reads the stream that is written; None to compare nothing.
        name: What to call it in an error.
    """

    def __init__(self, decoder: Decoder | None, name: str) -> None:
        self._decoder = decoder
        self._name = name
        self._pending: deque[tuple[bytes, int, int]] = deque()
        self._compared = 0

    def expect(self, buffer: bytes, start: int, stop: int) -> None:
        """Say what was given to the compressor."""
        if start < stop and self._decoder is not None:
            self._pending.append((buffer, start, stop))

    def written(self, data: bytes) -> None:
        """Say what the compressor gave.

        Raises:
            TransmuteError: It does not unpack to what was expected.
        """
        decoder = self._decoder
        if decoder is None:
            return
        try:
            while data or not (decoder.needs_input or decoder.eof):
                if decoder.eof:
                    raise self._different("its end", "more")
                self._compare(decoder.decompress(data, _BLOCK))
                data = b""
        except (OSError, ValueError, EOFError) as exc:
            raise TransmuteError(f"{self._name} as written cannot be read: {exc}") from exc

    def finish(self) -> None:
        """Say that the stream is complete.

        Raises:
            TransmuteError: It is not, or lacks something.
        """
        decoder = self._decoder
        if decoder is not None and (not decoder.eof or decoder.unused_data or self._pending):
            raise self._different("all of its source", "less, or trailing data")

    def _compare(self, got: bytes) -> None:
        position = 0
        while position < len(got):
            if not self._pending:
                raise self._different("its end", "more")
            buffer, start, stop = self._pending[0]
            count = min(stop - start, len(got) - position)
            part = got if count == len(got) else got[position : position + count]
            if not buffer.startswith(part, start, stop):
                raise self._different("the bytes of its source", "other ones")
            position += count
            self._compared += count
            if start + count == stop:
                self._pending.popleft()
            else:
                self._pending[0] = (buffer, start + count, stop)

    def _different(self, expected: str, found: str) -> TransmuteError:
        return TransmuteError(
            f"{self._name} as written differs from its source at unpacked byte {self._compared}",
            expected=expected,
            found=found,
            hint="nothing was kept; run again, and suspect this machine's memory if it happens again",
        )
