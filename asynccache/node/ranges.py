"""Reading ranges of one object, with retries after temporary failures: a busy server, a lost connection."""

from __future__ import annotations

import http.client
import os
import time
from typing import Any, Callable, Iterator

from asynccache.errors import AsyncCacheError
from asynccache.node.errors import NoPackError, PackUnusableError
from asynccache.node.patience import Patience, Peer, Tries

_PIECE = 1 << 20  # bytes
_LONGEST = 5.0  # seconds between two tries: a step waits for this


class PassingError(Exception):
    """A temporary failure.

    Args:
        text: What happened.
        throttled: The server asks to slow down.
        asked: Seconds to wait, as it asks; None if it does not say.
    """

    def __init__(self, text: str, throttled: bool = False, asked: float | None = None) -> None:
        Exception.__init__(self, text)
        self.throttled = throttled
        self.asked = asked


class Ranges:
    """One object.

    Attributes:
        name: Its name in messages, without credentials.
        requests: Number of requests.
        received: Bytes received.
        say: Called with a description of what failed and is retried.
        arrived: Called with the number of bytes as they come, in the reading thread; an exception ends the reading.
        streams: Useful number of concurrent ranges.
        patience: How long temporary failures are retried.
    """

    streams = 8
    patience = Patience(longest=_LONGEST)

    def __init__(self, name: str) -> None:
        self.name = name
        self.requests = 0
        self.received = 0
        self.say: Callable[[str], None] = _say_nothing
        self.arrived: Callable[[int], None] = _note_nothing

    def open(self, start: int, length: int) -> tuple[Any, int]:
        """Return (something to `read` and `close`, size of the whole object); a negative start counts from the end.

        Raises:
            NoPackError: There is no object.
            PassingError: It should be retried.
            PackUnusableError: It is refused.
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
        """Yield one range in pieces; after a failure it continues where it stopped."""
        return self._pieces(None, start, start + length)

    def _pieces(self, source: Any, at: int, end: int) -> Iterator[bytes]:
        """Yield a range from an open source, reopened after failures."""
        tries = self._tries()
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
                    self.arrived(len(piece))
                    tries = self._tries()
                    yield piece
            except Exception as exc:  # noqa: BLE001 - permanent failures are raised again
                self._wait(tries, exc)
            finally:
                source.close()
            source = None

    def _opened(self, start: int, length: int) -> tuple[Any, int]:
        tries = self._tries()
        while True:
            self.requests += 1
            try:
                return self.open(start, length)
            except Exception as exc:  # noqa: BLE001 - permanent failures are raised again
                self._wait(tries, exc)

    def _tries(self) -> Tries:
        # the launch of the step has just written to it: a silent store is not a mistyped one
        return Tries(self.patience, Peer(answers=True))

    def _wait(self, tries: Tries, error: Exception) -> None:
        """Wait until the next try (see `_pause`)."""
        time.sleep(self._pause(tries, error))

    def _pause(self, tries: Tries, error: Exception) -> float:
        """Report what failed and return the seconds until the next try.

        Raises:
            PackUnusableError: It was the last try.
            Exception: The failure, if it is permanent.
        """
        if not _may_pass(error):
            raise error
        throttled = isinstance(error, PassingError) and error.throttled
        asked = error.asked if isinstance(error, PassingError) else None
        pause = tries.throttled(asked) if throttled else tries.failed()
        if pause is None:
            raise PackUnusableError(f"{self.name} cannot be read, tried {tries.failures} times ({error})") from error
        self.say(f"{self.name}: {error}; trying again")
        return pause


def _may_pass(error: Exception) -> bool:
    """Return whether a failure is worth a retry; boto3 raises errors of its own HTTP library."""
    if isinstance(error, AsyncCacheError):
        return False
    if isinstance(error, (PassingError, OSError, http.client.HTTPException)):
        return True
    return type(error).__module__.split(".")[0] in {"botocore", "urllib3", "ssl"}


def _say_nothing(text: str) -> None:
    del text


def _note_nothing(count: int) -> None:
    del count


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
