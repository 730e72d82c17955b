"""The author of a recorded operation: user, host, command and version."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Final

from asynccache import __version__
from asynccache.model.dataclass import dataclass
from asynccache.node.user import user_name

_named: Final[list[str]] = []


@dataclass(frozen=True, slots=True)
class Author:
    """The author of an operation.

    Attributes:
        user: Name of the user.
        host: Name of the machine.
        command: Program and sub-command, such as `asynccache env alias`; never its arguments, which may hold secrets.
        version: Version of asynccache.
    """

    user: str
    host: str
    command: str
    version: str


def named_command(name: str) -> None:
    """Set which command this process runs; by default it is the file name of the program."""
    _named[:] = [name]


def author(user: str | None = None) -> Author:
    """Return the author for this process.

    Args:
        user: The user name from a setting; otherwise the operating system's user.
    """
    command = _named[0] if _named else Path(sys.argv[0] if sys.argv else "").name
    return Author(user or user_name(), socket.gethostname(), command, __version__)
