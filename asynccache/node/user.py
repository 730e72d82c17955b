"""Who runs this, where their home is, and what nobody else can write, also in containers whose user number nobody has
heard of.
"""

from __future__ import annotations

import functools
import getpass
import os
import stat


def home_directory() -> str | None:
    """Return the user's home directory; None if neither HOME nor an entry of the user says it."""
    found = os.path.expanduser("~")
    return None if found.startswith("~") else found


def user_name() -> str:
    """Return the user's name, else their number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def others_can_write(status: os.stat_result, owner: int | None = None) -> bool:
    """Return whether somebody other than this user and root can write what has this status: by owner and mode.

    A group counts as others, unless it has the user's name and no other members, as systems make one for each user.

    Args:
        status: Of a file, a link by itself, or a directory.
        owner: Number of a further user who may.
    """
    if status.st_uid not in (os.geteuid(), 0, owner):
        return True
    if stat.S_ISLNK(status.st_mode):
        return False
    everybody, group = status.st_mode & stat.S_IWOTH, status.st_mode & stat.S_IWGRP
    return bool(everybody or (group and not _is_of_one(status.st_gid, os.geteuid())))


@functools.lru_cache(maxsize=64)
def _is_of_one(group: int, user: int) -> bool:
    """Return whether a group is the user's alone."""
    import grp  # noqa: PLC0415 - most files are not a group's
    import pwd  # noqa: PLC0415

    try:
        name, found = pwd.getpwuid(user).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}
