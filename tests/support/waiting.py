"""Wait for what other threads and processes do, as long as it takes; a test that hangs is ended by its own limit."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.02  # seconds


def until(holds: Callable[[], object]) -> None:
    """Return when something holds."""
    while not holds():
        time.sleep(_PAUSE)


async def until_it_holds(holds: Callable[[], object]) -> None:
    """Return when something holds; other tasks go on meanwhile."""
    while not holds():  # noqa: ASYNC110 - other processes act
        await asyncio.sleep(_PAUSE)


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    try:
        os.kill(pid, 0)
        # a zombie that nobody here can reap is dead
        return not Path("/proc").exists() or "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("utf-8")
    except (ProcessLookupError, FileNotFoundError):
        return False
