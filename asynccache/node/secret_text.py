"""Validation of keys, signatures and tokens before they are sent. Python 3.7, standard library."""

from __future__ import annotations

from asynccache.errors import ConfigurationError


def sendable(text: str, what: str) -> str:
    """Return a secret without surrounding whitespace, which variables and files often have.

    Clients show values that cannot appear in a header or an address, so these are refused first.

    Args:
        text: The secret.
        what: Its name in messages.

    Raises:
        ConfigurationError: It has characters that cannot be sent; it is not shown.
    """
    found = text.strip()
    if not (found and found.isascii() and found.isprintable()) or " " in found:
        raise ConfigurationError(
            f"{what} cannot be sent", expected="printable characters without spaces", hint="set it again"
        )
    return found
