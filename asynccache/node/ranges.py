"""Reading ranges of one object, again where a failure may pass: a busy server, a lost connection."""

from __future__ import annotations

import http.client
import os
import random
import time
from typing import Any, Callable, Iterator

from asynccache.errors import AsyncCacheError
from asynccache.node.errors import NoPackError, PackUnusableError

_PIECE = 1 << 20  # bytes
_TRIES = 15  # without progress, after which something is given up: their pauses are a minute
_FIRST = 0.2  # seconds
_LONGEST = 5.0


class PassingError(Exception):
    """A failure that may pass."""


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

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Return (something to `read` and `close`, size of the whole object); a negative start counts from the end.

        Raises:
            NoPackError: There is no object.
            PassingError: To be tried again.
            PackUnusableError: Refused.
        """
        raise NotImplementedError

    def tail(self, length: int) -> tuple[bytes, int]:
        """Return the last bytes of the object, and its size."""
        source, size = self._opened(-length, length)
        return b"".join(self._pieces(source, max(0, size - length), size)), size

    def read(self, start: int, length: int) -> bytes:
        """Return one range."""
        return b"".join(self.stream(start, length))

    def stream(self, start: int, length: int) -> Iterator[bytes]:
        """Yield one range in pieces; after a failure it goes on where it was."""
        return self._pieces(None, start, start + length)

    def _pieces(self, source: Any, at: int, end: int) -> Iterator[bytes]:
        """Yield a range, out of a source as long as one is open."""
        tries = _Tries(self)
        while source is not None or at < end:
            if source is None:
                source = self._opened(at, end - at)[0]
            try:
                while at < end:
                    piece = source.read(min(_PIECE, end - at))
                    if not piece:
                        raise PassingError("the answer ended early")  # noqa: TRY301 - as any failure of reading
                    at += len(piece)
                    self.received += len(piece)
                    tries = _Tries(self)
                    yield piece
            except Exception as exc:  # noqa: BLE001 - what does not pass is raised again
                tries.failed(exc)
            finally:
                source.close()
            source = None

    def _opened(self, start: int, length: int) -> tuple[Any, int]:
        tries = _Tries(self)
        while True:
            self.requests += 1
            try:
                return self.open(start, length)
            except Exception as exc:  # noqa: BLE001 - what does not pass is raised again
                tries.failed(exc)


class _Tries:
    """Counts failures without progress between them, with pauses that grow and differ between nodes.

    Args:
        ranges: What is read.
    """

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._count = 0

    def failed(self, error: Exception) -> None:
        """Say so and wait until the next try.

        Raises:
            PackUnusableError: It was the last try.
            Exception: The failure, when it will not pass.
        """
        if not _may_pass(error):
            raise error
        if self._count == _TRIES:
            raise PackUnusableError(f"{self._ranges.name} cannot be read, tried {_TRIES} times ({error})") from error
        self._ranges.say(f"{self._ranges.name}: {error}; trying again")
        pause = min(_LONGEST, _FIRST * 2**self._count)
        time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads the tries of many nodes
        self._count += 1


def _may_pass(error: Exception) -> bool:
    """Tell whether something that failed is worth another try; boto3 brings the errors of its own HTTP library."""
    if isinstance(error, AsyncCacheError):
        return False
    if isinstance(error, (PassingError, OSError, http.client.HTTPException)):
        return True
    return type(error).__module__.split(".")[0] in {"botocore", "urllib3", "ssl"}


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
