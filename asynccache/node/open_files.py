"""Which processes have a file open, as far as the system says it (Linux). Standard library and Python 3.7 only."""

from __future__ import annotations

import contextlib
import os


def replaced_is_open(path: str) -> bool | None:
    """Return whether another process has a file open that was at a path before another one took its place.

    Args:
        path: Absolute.

    Returns:
        None if that cannot be seen. Processes of other users are not seen.
    """
    link = f"{os.path.realpath(os.path.dirname(path))}/{os.path.basename(path)} (deleted)"
    try:
        processes = [name for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return None
    if not processes:
        return None
    for process in processes:
        directory = f"/proc/{process}/fd"
        # processes of other users, and those that have just ended, do not tell
        with contextlib.suppress(OSError):
            numbers = [] if int(process) == os.getpid() else os.listdir(directory)
            for number in numbers:
                with contextlib.suppress(OSError):
                    if os.readlink(f"{directory}/{number}") == link:
                        return True
    return False
