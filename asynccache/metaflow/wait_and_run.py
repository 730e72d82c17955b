"""Wait until an environment is complete, then become its Python: `MARKER FAILURE PID PYTHON ARGUMENTS...`.

Run by path where flows are launched, so that the process which schedules tasks need not wait. Standard library only.
"""

from __future__ import annotations

import os
import sys
import time

_POLL = 0.05  # seconds


def main(words: list[str]) -> int:
    """Wait, then run; exit with 1 and the reason when the environment cannot be obtained."""
    marker, failure, owner = words[0], words[1], int(words[2])
    while not os.path.exists(marker):
        if os.path.exists(failure):
            with open(failure, encoding="utf-8") as file:
                sys.stderr.write(file.read() + "\n")
            return 1
        try:
            os.kill(owner, 0)
        except OSError:
            sys.stderr.write("The environment of this task was not made: the process that makes it has ended.\n")
            return 1
        time.sleep(_POLL)
    return os.execv(words[3], words[3:])  # noqa: S606 - the environment's own Python


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
