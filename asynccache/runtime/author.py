"""Who does something that others will want to know of: user, host, command and version."""

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
    """Who did something.

    Attributes:
        user: Their name.
        host: The machine's.
        command: Of which program and sub-command, such as `asynccache env alias`; never its arguments, which may hold
            secrets.
        version: Of asynccache.
    """

    user: str
    host: str
    command: str
    version: str


def named_command(name: str) -> None:
    """Say which command this process runs; whoever does not is known by the file name of the program."""
    _named[:] = [name]


def author(user: str | None = None) -> Author:
    """Return who this process works for.

    Args:
        user: Their name where a setting says it; else the operating system's user.
    """
    command = _named[0] if _named else Path(sys.argv[0] if sys.argv else "").name
    return Author(user or user_name(), socket.gethostname(), command, __version__)
