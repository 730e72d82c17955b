"""What keys, signatures and tokens must be to be sent. Python 3.7, standard library."""

from __future__ import annotations

from asynccache.errors import ConfigurationError


def sendable(text: str, what: str) -> str:
    """Return a secret without the space around it, as it is in many a variable and file.

    Clients show what cannot appear in a header or an address, so it is refused before it reaches them.

    Args:
        text: The secret.
        what: What to call it.

    Raises:
        ConfigurationError: It holds what cannot be sent; it is not shown.
    """
    found = text.strip()
    if not (found and found.isascii() and found.isprintable()) or " " in found:
        raise ConfigurationError(
            f"{what} cannot be sent", expected="printable characters without spaces", hint="set it again"
        )
    return found
