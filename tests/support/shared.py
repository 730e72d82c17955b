"""What all tests share is made once, by the first test that needs it; making it does not count towards its time
limit.
"""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def making(lock: Path) -> Iterator[None]:
    """Hold the lock of something shared while it is looked for and, where it is not there, made.

    Whoever makes it limits each of its steps; a lock ends with its process.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with not_counted(), lock.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def not_counted() -> Iterator[None]:
    """Stop the clock of the test that runs."""
    left, _interval = signal.setitimer(signal.ITIMER_REAL, 0)  # how pytest-timeout measures
    try:
        yield
    finally:
        if left:
            signal.setitimer(signal.ITIMER_REAL, left)
