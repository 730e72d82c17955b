"""Credentials inside addresses of channels, indexes and requirements: split off before anything is recorded."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.errors import UsageError
from asynccache.model.url import holds_token, not_redacted, redacted

_USER: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<user>[^/?#\s]*)@(?P<host>[^/?#\s@]*)")


def split_credentials(address: str) -> tuple[str, str, list[str] | None]:
    """Split user information off an address: (address without it, host, [user, password] or None).

    The user of an ssh address is no secret and stays; its password goes.

    Raises:
        UsageError: The address holds a conda token in its path, which a request must not record.

    >>> split_credentials("git+https://me:pw@host:8443/x.git")
    ('git+https://host:8443/x.git', 'host:8443', ['me', 'pw'])
    >>> split_credentials("ssh://git@host/x.git")
    ('ssh://git@host/x.git', 'host', None)
    """
    if holds_token(address):
        host = urlsplit(address).netloc.rpartition("@")[2]
        raise UsageError(
            f"the address {redacted(address)!r} holds a token, which must not become part of a request",
            hint=f"name it without `/t/TOKEN` and give user and password of {host} in the setting auth or in .netrc",
        )
    match = _USER.match(address)
    if match is None:
        return address, "", None
    user, colon, password = match["user"].partition(":")
    host = match["host"].lower()
    if match["scheme"].lower().endswith("ssh"):
        return f"{match['scheme']}://{user}@{match['host']}{address[match.end() :]}", host, None
    known = not_redacted(user) is not None and (user or colon)
    pair = [unquote(user), unquote(not_redacted(password) or "")] if known else None
    return f"{match['scheme']}://{match['host']}{address[match.end() :]}", host, pair
