"""Logins that the program `keyring` knows: it is asked where a user name came without password, or a host refuses.

pip and uv ask the same program. It may unlock a store of the desktop or ask a cloud for a token, so it is not asked for
hosts that answer everybody.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Final

from asynccache.engine.transport import Credentials

_SECONDS: Final = 30.0  # that one answer may take: some backends ask a cloud


def keyring_login(host: str, username: str | None = None) -> Credentials | None:
    """Return what is kept for a host; None when nothing is, or there is no such program. Blocking.

    Args:
        host: `host` or `host:port`; what is kept under the latter counts first.
        username: Whose password; None for anybody's.
    """
    program = shutil.which("keyring")
    if program is None:
        return None
    for service in dict.fromkeys((host, host.partition(":")[0])):
        if username is None:
            lines = _asked([program, "--mode", "creds", "get", service])
            if len(lines) == 2:
                return Credentials(*lines)
        elif lines := _asked([program, "get", service, username]):
            return Credentials(username, lines[0])
    return None


def with_keyring(auth: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return logins with the passwords that the keyring knows for those that have none. Blocking.

    Args:
        auth: Host or `host:port` -> [user, password].
    """
    result = dict(auth)
    for host, pair in auth.items():
        if len(pair) == 2 and pair[0] and not pair[1] and (found := keyring_login(host, pair[0])):
            result[host] = [found.username, found.password]
    return result


def _asked(command: Sequence[str]) -> list[str]:
    try:
        done = subprocess.run(  # noqa: S603 - the program that the user has on PATH
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
