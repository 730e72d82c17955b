"""A count on stderr for commands whose total is not known beforehand."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from asynccache_cli.text import human_bytes


class Counter:
    """Shows how many objects and bytes went by, after a second and then ten times a second (or every 5 s in a file).

    Args:
        word: What happened to them.
        quiet: Show nothing.
    """

    def __init__(self, word: str, *, quiet: bool = False) -> None:
        self._word = word
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._started = self._shown = time.monotonic()
        self._count = self._bytes = 0
        self._wrote = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._wrote and self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def add(self, size: int) -> None:
        """Count one object of `size` bytes."""
        self._count += 1
        self._bytes += size
        now = time.monotonic()
        if self._quiet or now - self._started < 1.0 or now - self._shown < (0.1 if self._terminal else 5.0):
            return
        self._shown, self._wrote = now, True
        speed = human_bytes(self._bytes / (now - self._started))
        line = f"{self._count} {self._word}, {human_bytes(self._bytes)}, {speed}/s"
        print(
            f"\r\x1b[K{line}" if self._terminal else line,
            end="" if self._terminal else "\n",
            file=sys.stderr,
            flush=True,
        )
