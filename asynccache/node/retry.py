"""Trying again what may pass, for readers that block: a busy server, a lost connection."""

from __future__ import annotations

import http.client
import random
import time
from typing import Callable, TypeVar

from asynccache.errors import AsyncCacheError
from asynccache.node.errors import PackUnusableError

T = TypeVar("T")
PATIENCE = 60.0  # seconds without progress after which something is given up
_FIRST = 0.2  # seconds
_LONGEST = 5.0
_STALLS = 8


class PassingError(Exception):
    """A failure that may pass."""


def may_pass(error: BaseException) -> bool:
    """Tell whether something that failed is worth another try; boto3 brings the errors of its own HTTP library."""
    if isinstance(error, AsyncCacheError):
        return False
    if isinstance(error, (PassingError, OSError, http.client.HTTPException)):
        return True
    return type(error).__module__.split(".")[0] in {"botocore", "urllib3", "ssl"}


def repeated(name: str, once: Callable[[], T], say: Callable[[str], None]) -> T:
    """Do something until it succeeds, with growing pauses that differ between nodes.

    Args:
        name: Of what is read, for messages.
        once: One try.
        say: Told of each failure.

    Raises:
        PackUnusableError: It failed for `PATIENCE` seconds.
    """
    deadline, pause = time.monotonic() + PATIENCE, _FIRST
    while True:
        try:
            return once()
        except Exception as exc:
            if not may_pass(exc):
                raise
            if time.monotonic() + pause > deadline:
                raise PackUnusableError("%s cannot be read for %d seconds (%s)" % (name, PATIENCE, exc)) from exc
            say(f"{name}: {exc}; trying again")
        time.sleep(pause * (0.5 + random.random()))  # noqa: S311 - spreads the tries of many nodes
        pause = min(_LONGEST, pause * 2)


class Stalls:
    """Pauses of a reader that goes on where it failed; it gives up when it fails again and again at one place.

    Args:
        name: Of what is read, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._at = -1

    def pause(self, error: BaseException, at: int, end: int) -> None:
        """Wait after a failure.

        Raises:
            PackUnusableError: It was the last try at this place.
        """
        self._count = self._count + 1 if at == self._at else 0
        self._at = at
        if self._count > _STALLS:
            raise PackUnusableError("%s cannot be read at byte %d of %d (%s)" % (self._name, at, end, error)) from error
        time.sleep(min(_LONGEST, _FIRST / 2 * 2**self._count))
