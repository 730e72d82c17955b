"""Addresses of services. Python 3.7, standard library."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from asynccache.errors import ConfigurationError


def split_endpoint(text: str, service: str, setting: str) -> SplitResult:
    """Split the address of a service, which may contain a signature: clients show what they cannot parse.

    Args:
        text: The address.
        service: Name of the service.
        setting: Name of the setting.

    Raises:
        ConfigurationError: It is invalid; it is not shown.
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
