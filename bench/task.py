"""What a task is made of: its work, its figures, and the clock that counts processor time."""

from __future__ import annotations

import os
from collections.abc import Callable

Figures = dict[str, float]
Work = Callable[[], Figures | None]
"""The work itself; may return figures of its own."""


def cpu_seconds() -> float:
    """Return this process's user and system seconds so far, those of children that have ended included."""
    return sum(os.times()[:4])
