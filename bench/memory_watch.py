"""The memory of a process and its children together, sampled: what `wait4` tells is only the largest one of them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

INTERVAL: Final = 0.03  # seconds between two looks
_PROC: Final = Path("/proc")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def session_bytes(session: int) -> int:
    """Return the resident memory of all processes of a session, pages that they share counted for each; 0 without
    /proc.
    """
    total = 0
    if not _PROC.is_dir():
        return 0
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            try:
                fields = (_PROC / entry.name / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            except OSError:
                continue  # it has ended meanwhile
            if int(fields[3]) == session:
                total += int(fields[21]) * _PAGE
    return total


class MemoryWatch:
    """Looks at a session's memory from a thread for the length of the block.

    Attributes:
        peak: The most that was seen, in bytes.
    """

    def __init__(self, session: int) -> None:
        self.peak = 0
        self._session = session
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.peak = max(self.peak, session_bytes(self._session))
