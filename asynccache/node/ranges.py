"""Reading ranges of one object, repeated where a failure may pass; a local file is one."""

from __future__ import annotations

import os
from typing import Any, Callable, Iterator

from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.retry import PassingError, Stalls, may_pass, repeated

_PIECE = 1 << 20  # bytes


class Ranges:
    """One object.

    Attributes:
        name: For messages; without credentials.
        requests: How many were made.
        received: Bytes.
        streams: How many ranges are worth reading at once.
    """

    streams = 8

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self.received = 0
        self.say: Callable[[str], None] = _say_nothing
        self._stalls = Stalls(name)

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Return (something to `read` and `close`, size of the whole object); a negative start counts from the end.

        Raises:
            NoPackError: There is no object.
            PassingError: To be tried again.
            BootError: Refused.
        """
        raise NotImplementedError

    def tail(self, length: int) -> tuple[bytes, int]:
        """Return the last bytes of the object, and its size."""
        size = [0]

        def once() -> bytes:
            stream, size[0] = self.open(-length, length)
            try:
                wanted = min(length, size[0])
                return self._exactly(stream, wanted)
            finally:
                stream.close()

        return self._repeated(once), size[0]

    def read(self, start: int, length: int) -> bytes:
        """Return one range."""
        return b"".join(self.stream(start, length))

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """Yield one range in pieces; after a failure it goes on where it was."""
        end = start + length
        while start < end:

            def begin(at: int = start) -> Any:
                return self.open(at, end - at)[0]

            source = self._repeated(begin)
            try:
                while start < end:
                    piece = source.read(min(_PIECE, end - start))
                    if not piece:
                        raise PassingError("the answer ended early")  # noqa: TRY301 - as any failure of reading
                    start += len(piece)
                    self.received += len(piece)
                    yield piece
            except Exception as exc:
                if not may_pass(exc):
                    raise
                self._stalls.pause(exc, start, end)
            finally:
                source.close()

    def _exactly(self, stream: Any, length: int) -> bytes:
        parts, missing = [], length
        while missing:
            piece = stream.read(missing)
            if not piece:
                raise PassingError("the answer ended early")
            parts.append(piece)
            missing -= len(piece)
            self.received += len(piece)
        return b"".join(parts)

    def _repeated(self, once: Callable[[], Any]) -> Any:
        def counted() -> Any:
            self.requests += 1
            return once()

        return repeated(self.name, counted, self.say)


def _say_nothing(text: str) -> None:
    del text


class LocalRanges(Ranges):
    """A file."""

    streams = 4

    def __init__(self, path: str) -> None:
        Ranges.__init__(self, path)
        self._path = path

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Open the file at a place."""
        del length
        try:
            file = open(self._path, "rb")  # noqa: SIM115 - the caller closes it
        except FileNotFoundError:
            raise NoPackError(f"there is no {self.name}") from None
        except OSError as exc:
            raise PackUnusableError(f"{self.name} cannot be read ({exc.strerror})") from exc
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size + start) if start < 0 else start)
        return file, size
