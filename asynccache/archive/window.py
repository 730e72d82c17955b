"""What decoders of formats with several streams read from: each byte of the file is handed out about once.

A decoder that comes to the end of its stream gives back what it did not need. Were it given large blocks, a file of
many tiny streams would be copied over and over; so it gets small ones first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Protocol

from asynccache.errors import ArchiveError, HostileArchiveError

if TYPE_CHECKING:
    from asynccache.archive.zstd_stream import Decoder

_READ: Final = 1 << 18  # bytes
_BLOCK: Final = 1 << 20  # bytes of content
_FIRST: Final = 1 << 10  # bytes that a new stream is given at first; then twice as many each time
_FREE: Final = 1000  # streams that any file may have
_LEAST: Final = 1 << 12  # bytes that further streams must hold, on average: those of parallel compressors hold 100 kB


class Readable(Protocol):
    """The part of a file that decoders use."""

    def read(self, size: int = ..., /) -> bytes:
        """Read up to `size` bytes; nothing at the end."""

    def tell(self) -> int:
        """Return how many bytes were read."""


class Window:
    """The part of a file that was read and not used yet.

    Args:
        file: Read to its end.

    Attributes:
        frames: Streams begun.
        given: Bytes that they gave.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._data = b""
        self._at = 0
        self._next = _FIRST
        self.frames = 0
        self.given = 0

    def peek(self, count: int) -> bytes:
        """Return the next bytes, fewer at the end."""
        while len(self._data) - self._at < count and self._more():
            pass
        return self._data[self._at : self._at + count]

    def take(self, most: int = _READ) -> bytes:
        """Return some of the next bytes, none at the end."""
        if self._at == len(self._data):
            self._more()
        data = self._data[self._at : self._at + min(most, self._next)]
        self._next = min(2 * self._next, _READ)
        self._at += len(data)
        return data

    def ended(self) -> bool:
        """Whether there are no more bytes."""
        return not self.peek(1)

    def give_back(self, data: bytes) -> None:
        """Take back the last of the bytes that were taken."""
        self._at -= len(data)

    def next_frame(self, name: str) -> None:
        """Count a stream.

        Raises:
            HostileArchiveError: There are too many for what they hold.
        """
        self._next = _FIRST
        self.frames += 1
        if self.frames > _FREE + self.given // _LEAST:
            raise HostileArchiveError(
                f"{name} consists of too many streams",
                expected=f"{_FREE}, and one for each {_LEAST} bytes of content",
                found=f"{self.frames} streams for {self.given} bytes",
            )

    def decoded(self, decoder: Decoder, name: str, what: str) -> Iterator[bytes]:
        """Yield the content of the stream that begins here, in blocks of up to 1 MiB.

        Args:
            decoder: A fresh one.
            name: What to call the file in an error.
            what: What to call the stream.

        Raises:
            ArchiveError: The file ends before the stream does.
            HostileArchiveError: It has too many streams.
        """
        self.next_frame(name)
        while not decoder.eof:
            block = decoder.decompress(self.take() if decoder.needs_input else b"", _BLOCK)
            if block:
                self.given += len(block)
                yield block
            elif decoder.needs_input and not decoder.eof and self.ended():
                raise ArchiveError(f"{name} ends within a {what}", hint="fetch it again")
        self.give_back(decoder.unused_data)

    def _more(self) -> bool:
        data = self._file.read(_READ)
        self._data = self._data[self._at :] + data
        self._at = 0
        return bool(data)
