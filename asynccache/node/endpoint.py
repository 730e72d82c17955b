"""Addresses of services that a store or a node asks. Python 3.7, standard library."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from asynccache.errors import ConfigurationError


def split_endpoint(text: str, service: str, setting: str) -> SplitResult:
    """Split the address of a service, which may hold a signature: clients show what they cannot understand.

    Args:
        text: The address.
        service: What to call the service.
        setting: What says it.

    Raises:
        ConfigurationError: It is none; it is not shown.
    """
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not text.isascii() or not text.isprintable() or " " in text:
        raise ConfigurationError(
            f"the address of {service} is none", expected="https://HOST, as in a browser", hint=f"correct {setting}"
        )
    return parts
