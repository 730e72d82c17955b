"""Credentials inside addresses of channels, indexes and requirements: split off before anything is recorded.

Addresses may hold variables of the environment, `${NAME}`: the text is recorded as it is and sent with their values.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.errors import UsageError
from asynccache.model.url import CONDA_FILES, holds_token, not_redacted, redacted, unsigned, without_credentials

_USER: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^/?#\s]*)@(?P<host>[^/?#\s@]*)")
_WEB: Final = ("http", "https")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expanded(text: str) -> str:
    """Return a text with the values of the variables in it, as pip and conda send it.

    Raises:
        UsageError: A variable is not set, or empty.
    """
    if missing := [name for name in _VARIABLE.findall(text) if not os.environ.get(name)]:
        raise UsageError(
            f"{redacted(text)!r} needs the variable {missing[0]}, which is not set", hint=f"export {missing[0]}=..."
        )
    return _VARIABLE.sub(lambda match: os.environ[match[1]], text)


def values_in(text: str) -> list[str]:
    """Return the values of the variables in a text, which must never be shown."""
    return [value for name in _VARIABLE.findall(text) if (value := os.environ.get(name))]


def split_credentials(address: str, *, channel: bool = False) -> tuple[str, dict[str, list[str]]]:
    """Split user, signature and token off an address: (address without them, their entry in the setting `auth`).

    The user of an ssh address is not a secret and stays; its password goes.

    Args:
        address: Of a channel, an index, an archive or a repository; any other text is returned as it is.
        channel: Whether it is a channel's or a conda package's, where `/t/TOKEN` is a token.

    Raises:
        UsageError: Another kind of address has something that looks like a token, which a request must not record, or
            the credentials contain a variable that is not set.

    >>> split_credentials("git+https://me:pw@host:8443/x.git")
    ('git+https://host:8443/x.git', {'host:8443': ['me', 'pw']})
    >>> split_credentials("https://host/t/tk/cf", channel=True)
    ('https://host/cf', {'https://host/cf': ['https://host/t/tk/cf']})
    >>> split_credentials("ssh://git@host/x.git")
    ('ssh://git@host/x.git', {})
    """
    if holds_token(address) and not channel:
        host = urlsplit(address).netloc.rpartition("@")[2]
        raise UsageError(
            f"the address {redacted(address)!r} holds a token, which must not become part of a request",
            hint=f"name it without `/t/TOKEN` and give user and password of {host} in the setting auth or in .netrc",
        )
    auth: dict[str, list[str]] = {}
    match = _USER.match(address)
    if match is not None:
        user, colon, password = expanded(match["user"]).partition(":")
        ssh = match["scheme"].lower().endswith("ssh")
        shown = f"{user}@" if ssh else ""
        address = f"{match['scheme']}://{shown}{match['host']}{address[match.end() :]}"
        if not ssh and not_redacted(user) is not None and (user or colon):
            auth[expanded(match["host"]).lower()] = [unquote(user), unquote(not_redacted(password) or "")]
    public = unsigned(address)
    if channel:
        public = without_credentials(public)
    if public != address and address.partition("://")[0] in _WEB:
        auth[public.partition("#")[0]] = [expanded(address).partition("#")[0]]
    return public, auth


def logins_in(text: str) -> dict[str, list[str]]:
    """Return the credentials in the addresses of a lock file, in the format of the setting `auth`; the first of two
    logins for a host.
    """
    found: dict[str, list[str]] = {}
    for address in re.findall(r"https?://[^\s'\"<>,\\]+", text):
        conda = address.partition("#")[0].partition("?")[0].endswith(CONDA_FILES)
        if conda or not holds_token(address):
            found = {**split_credentials(address, channel=conda)[1], **found}
    return found


def take_logins(known: dict[str, list[str]], more: Mapping[str, list[str]]) -> str | None:
    """Add logins to others; return a host for which they contradict each other, None if there is none.

    Of two signatures for one address the last one counts: each is valid for some minutes.
    """
    for place, login in more.items():
        if known.setdefault(place, login) != login:
            if "://" not in place:
                return place
            known[place] = login
    return None
