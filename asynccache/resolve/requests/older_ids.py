"""Ids of a request as other writers compute them: with the credentials that are in addresses (contract, 2.2.3).

Only looked up, never written: with a token, signature or login, environments are found that other writers resolved with
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from asynccache.config import Settings
from asynccache.engine.credentials import HostCredentials
from asynccache.model.identity import Request
from asynccache.model.url import Access, PackageURL
from asynccache.resolve.requests.requirement_text import join_value, split_value
from asynccache.resolve.requests.sources import PUBLIC_CHANNELS, channel_or_url


def older_ids(request: Request, settings: Settings, written: Mapping[str, str] | None = None) -> list[str]:
    """Return the ids of a request with this machine's credentials put back into its addresses. Blocking: reads .netrc.

    Args:
        request: The request, without credentials.
        settings: `auth`, `hack_channel_alias`.
        written: Address -> the same as it was written, which is what other writers hash; it takes precedence.

    Returns:
        As written, with tokens and signatures, with logins, with both; each once, without the request's own id.
    """
    texts = written or {}
    credentials = HostCredentials(settings.auth)

    def with_login(address: str) -> str:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            return address
        login = credentials.for_url(PackageURL(parts.scheme, parts.hostname, parts.port, parts.path), Access())
        if login is None:
            return address
        user = ":".join(quote(text, safe="") for text in (login.username, login.password) if text)
        return parts._replace(netloc=f"{user}@{parts.netloc}").geturl()

    def with_both(address: str) -> str:
        return with_login(credentials.with_secret(address))

    def as_written(way: Callable[[str], str]) -> Callable[[str], str]:
        return lambda address: texts.get(address) or way(address)

    ways = (str, credentials.with_secret, with_login, with_both)
    found = (_written(request, as_written(way), settings) for way in ways)
    return list(dict.fromkeys(each.req_id for each in found if each != request))


def _written(request: Request, how: Callable[[str], str], settings: Settings) -> Request:
    def channel(text: str) -> str:
        address = how(text if "://" in text else f"{PUBLIC_CHANNELS}/{text}")
        # other readers take the directory `t` for the name of a channel with a token
        return channel_or_url(address, settings.hack_channel_alias)

    def requirement(value: str) -> str:
        key, constraint, marker = split_value(value)
        name, at, url = key.partition("@")
        return join_value(f"{name}@{how(url)}", constraint, marker) if at else value

    sources = {c: [channel(v) if c == "conda" else how(v) for v in values] for c, values in request.sources.items()}
    deps = {c: [requirement(v) for v in values] for c, values in request.deps.items()}
    flags = {c: [" ".join(map(how, v.split(" "))) for v in values] for c, values in request.extras.items()}
    return Request(deps, sources, flags)
