"""Which processes have a file open, as far as the system shows it (Linux). Standard library and Python 3.7 only."""

from __future__ import annotations

import contextlib
import os


def replaced_is_open(path: str) -> bool | None:
    """Return whether another process has a file open that was at a path before it was replaced.

    Args:
        path: An absolute path.

    Returns:
        None if that cannot be determined. Processes of other users are not visible.
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
        # processes of other users, and those that have just ended, cannot be examined
        with contextlib.suppress(OSError):
            numbers = [] if int(process) == os.getpid() else os.listdir(directory)
            for number in numbers:
                with contextlib.suppress(OSError):
                    if os.readlink(f"{directory}/{number}") == link:
                        return True
    return False
