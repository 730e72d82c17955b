"""Who runs this and where their home is, also in containers whose user number nobody has heard of."""

from __future__ import annotations

import getpass
import os


def home_directory() -> str | None:
    """Return the user's home directory; None where neither HOME nor an entry of the user says it."""
    found = os.path.expanduser("~")
    return None if found.startswith("~") else found


def user_name() -> str:
    """Return the user's name, else their number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
