"""The clock that counts processor time."""

from __future__ import annotations

import os


def cpu_seconds() -> float:
    """Return this process's user and system seconds so far, those of children that have ended included."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
