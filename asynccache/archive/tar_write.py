"""One tar archive on its way out: compressed, compared with its source, handed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from asynccache.archive.compare import Comparison

# tar writes whole records of twenty blocks (POSIX.1-2017, pax); every archive ends in two zero blocks at least
_RECORD: Final = 20 * 512
_END_BLOCKS: Final = 2 * 512


class Compressor(Protocol):
    """Compresses one stream."""

    def write(self, data: memoryview) -> bytes:
        """Take bytes, give what is ready of the stream."""

    def finish(self) -> bytes:
        """Give the rest of the stream."""


class TarWriter:
    """Writes one archive.

    Args:
        compressor: Takes its bytes.
        comparison: Looks whether what the compressor gives is what it was given.
        emit: Takes what the compressor gives.

    Attributes:
        size: Bytes written so far, before they are compressed.
    """

    def __init__(self, compressor: Compressor, comparison: Comparison, emit: Callable[[bytes], object]) -> None:
        self._compressor = compressor
        self._comparison = comparison
        self._emit = emit
        self.size = 0

    def write(self, buffer: bytes, start: int, stop: int) -> None:
        """Write a stretch of a buffer.

        Raises:
            TransmuteError: The compressor gave something else than it was given.
        """
        self._comparison.expect(buffer, start, stop)
        self.size += stop - start
        self._pass_on(self._compressor.write(memoryview(buffer)[start:stop]))

    def finish(self) -> None:
        """Write what follows the last member, and the compressor's rest.

        Raises:
            TransmuteError: The compressor gave something else than it was given.
        """
        length = _END_BLOCKS + -(self.size + _END_BLOCKS) % _RECORD
        self.write(bytes(length), 0, length)
        self._pass_on(self._compressor.finish())
        self._comparison.finish()

    def _pass_on(self, data: bytes) -> None:
        if data:
            self._emit(data)
            self._comparison.written(data)
