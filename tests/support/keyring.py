"""A program `keyring` that knows one login, and answers as the real one does."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_TEXT: Final = """#!{python}
import sys
from urllib.parse import urlsplit

arguments = sys.argv[1:]
creds = "creds" in arguments
if {by_address!r} and not any("://" in argument for argument in arguments):
    sys.exit(1)
arguments = [a for a in arguments if a not in ("--mode", "creds") and not a.startswith("--")]
host = urlsplit(arguments[1]).netloc if "://" in arguments[1] else arguments[1]
if arguments[0] != "get" or host.rpartition("@")[2] != {host!r} or (len(arguments) > 2 and arguments[2] != {user!r}):
    sys.exit(1)
if len(arguments) < 3 and not creds:
    sys.exit(2)
if creds:
    print({user!r})
print({password!r})
"""


def write_keyring(directory: Path, host: str, user: str, password: str, *, by_address: bool = False) -> Path:
    """Write the program into a directory, which is returned.

    Args:
        directory: Where; made when absent.
        host: Which host it knows.
        user: The login.
        password: Of the login.
        by_address: Whether it knows the addresses of that host only, as the keyrings of clouds do.
    """
    directory.mkdir(exist_ok=True)
    program = directory / "keyring"
    text = _TEXT.format(python=sys.executable, host=host, user=user, password=password, by_address=by_address)
    program.write_text(text, "utf-8")
    program.chmod(0o755)
    return directory
