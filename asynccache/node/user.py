"""The user of this process, the home directory, and which files other users cannot write, also in containers with an
unknown user id.
"""

from __future__ import annotations

import functools
import getpass
import os
import stat


def home_directory() -> str | None:
    """Return the user's home directory; None if neither HOME nor the user's entry has it."""
    found = os.path.expanduser("~")
    return None if found.startswith("~") else found


def user_name() -> str:
    """Return the user's name, otherwise the id."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def others_can_write(status: os.stat_result, owner: int | None = None) -> bool:
    """Return whether a user other than this one and root can write a file with this status, by owner and mode.

    A group counts as others, unless it has the user's name and no other members, as systems often create for each user.

    Args:
        status: Status of a file, a link itself, or a directory.
        owner: Id of a further user who may.
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
