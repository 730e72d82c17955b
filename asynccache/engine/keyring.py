"""Logins that the program `keyring` knows: it is asked where a user name came without password, or a host refuses.

pip and uv ask the same program. It may unlock a store of the desktop or ask a cloud for a token, so it is not asked for
hosts that answer everybody. Beside the one on PATH, programs are asked that helper environments have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asynccache.model.credentials import Credentials

_SECONDS: Final = 30.0  # that one answer may take: some backends ask a cloud


_FURTHER: Final[dict[str, None]] = {}  # in the order in which they became known; like PATH, the whole process's


def ask_also(program: Path) -> bool:
    """Ask a further program from now on, for all hosts; return whether it was not asked so far."""
    known = str(program) in keyring_programs()
    _FURTHER[str(program)] = None
    return not known


def keyring_programs() -> tuple[str, ...]:
    """Return the programs that are asked, that on PATH first."""
    found = shutil.which("keyring")
    return tuple(dict.fromkeys([*([found] if found else ()), *_FURTHER]))


def keyring_login(host: str, username: str | None = None, *, url: str = "") -> Credentials | None:
    """Return what is kept for a host; None if nothing is, or there is no such program. Blocking.

    Args:
        host: `host` or `host:port`; what is kept under the latter counts first.
        username: Whose password; None for anybody's.
        url: What is asked for; counts before its host. Keyrings of clouds know addresses only, as pip and uv give them.
    """
    services = [service for service in dict.fromkeys((url, host, host.partition(":")[0])) if service]
    for program in keyring_programs():
        for service in services:
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
