"""Logins that the program `keyring` knows: it is asked for the password of a given user, or if a host refuses.

pip and uv ask the same program. It may unlock a desktop's key store or request a token from a cloud, so it is not asked
for hosts that answer without a login. Besides the one on PATH, those in helper environments are asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asynccache.model.credentials import Credentials

_SECONDS: Final = 30.0  # seconds for one answer: some backends ask a cloud


_FURTHER: Final[dict[str, None]] = {}  # in the order in which they were added; like PATH, shared by the whole process


def ask_also(program: Path) -> bool:
    """Ask another program from now on, for all hosts; return whether it is new."""
    known = str(program) in keyring_programs()
    _FURTHER[str(program)] = None
    return not known


def keyring_programs() -> tuple[str, ...]:
    """Return the programs that are asked, that on PATH first."""
    found = shutil.which("keyring")
    return tuple(dict.fromkeys([*([found] if found else ()), *_FURTHER]))


def keyring_login(host: str, username: str | None = None, *, url: str = "") -> Credentials | None:
    """Return the login stored for a host; None if there is none, or no such program. Blocking.

    Args:
        host: `host` or `host:port`; the latter takes precedence.
        username: The user; None for any.
        url: The requested URL, which takes precedence over its host. Cloud keyrings know only addresses, as pip and uv
            pass them.
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
