"""Channels as the built-in solver asks them: where they lie, with whose credentials, what is kept on disk.

One `ChannelIndex` holds one gateway, so that solves which run at once share what was fetched. Indexes are kept below
`repodata` in the cache directory. Addresses in the result are those that the channel publishes, whatever mirror
answered.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from rattler import Channel, Gateway, SourceConfig
from rattler.exceptions import InvalidChannelError
from rattler.networking import Client
from rattler.networking.middleware import AddHeadersMiddleware, MirrorMiddleware, RetryMiddleware

from asynccache.config import Settings
from asynccache.engine.credentials import HostCredentials
from asynccache.errors import UsageError
from asynccache.model.platform import ARCHITECTURES, NOARCH
from asynccache.model.url import Access, PackageURL, redacted
from asynccache.resolve.url_credentials import split_credentials

_PUBLIC_ALIAS: Final = "https://conda.anaconda.org"
# conda's own meaning of the name `defaults` on Linux and macOS.
_DEFAULTS: Final = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_SUBDIRS: Final = {*ARCHITECTURES, NOARCH}
_Action = Literal["cache-or-fetch", "force-cache-only", "no-cache"]


def channel_addresses(channel: str, alias: str) -> tuple[str, ...]:
    """Return where a channel lies.

    Args:
        channel: A name, an address, or a directory.
        alias: Address below which names lie.

    Raises:
        UsageError: The address holds a token.

    >>> channel_addresses("conda-forge", "https://conda.anaconda.org/")
    ('https://conda.anaconda.org/conda-forge',)
    >>> channel_addresses("https://host/team/linux-64/", "")
    ('https://host/team',)
    """
    if channel == "defaults":
        return _DEFAULTS
    if channel.startswith(("/", "~")):
        return (Path(channel).expanduser().as_uri(),)
    address = split_credentials(channel)[0] if "://" in channel else f"{alias.rstrip('/')}/{channel}"
    head, _, last = address.rstrip("/").rpartition("/")
    return (head if last in _SUBDIRS else address.rstrip("/"),)


class ChannelIndex:
    """Gives channels and gateways for one set of settings.

    Args:
        settings: `channel_alias`, `hack_channel_alias`, `mirrors`, `auth`, `attempts`, `cache_dir` and `connections`
            count.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credentials = HostCredentials(settings.auth)
        self._bases: set[str] = set()
        self._gateways: dict[_Action, Gateway] = {}
        self._failure: tuple[float, str] | None = None

    def addresses(self, channels: Iterable[str]) -> list[str]:
        """Return where channels lie, best first.

        Raises:
            UsageError: An address holds a token.
        """
        found = [a for channel in channels for a in channel_addresses(channel, self._settings.channel_alias)]
        self._bases.update(found)
        return list(dict.fromkeys(found))

    def channels(self, addresses: Iterable[str]) -> list[Channel]:
        """Return channels to solve against.

        Raises:
            UsageError: An address that is none.
        """
        result = []
        for address in addresses:
            try:
                result.append(Channel(address))
            except InvalidChannelError as exc:
                raise UsageError(f"{redacted(address)!r} is not the address of a channel") from exc
        return result

    def gateway(self, *, offline: bool, fresh: bool) -> Gateway:
        """Return the gateway that solves share.

        Args:
            offline: Take what lies on disk, however old; ask nobody.
            fresh: Take nothing that lies on disk. What this object fetched itself counts in every case.
        """
        action: _Action = "force-cache-only" if offline else "no-cache" if fresh else "cache-or-fetch"
        if action not in self._gateways:
            directory = self._settings.cache_dir / "repodata"
            directory.mkdir(parents=True, exist_ok=True)
            self._gateways[action] = Gateway(
                cache_dir=directory,
                default_config=SourceConfig(cache_action=action),
                max_concurrent_requests=self._settings.connections,
                client=self._client(),
            )
        return self._gateways[action]

    def failed(self, reason: str) -> None:
        """Keep why a fetch failed, for the solves that waited for it: the library does not tell them."""
        self._failure = time.monotonic(), reason

    def failure_since(self, moment: float) -> str | None:
        """Return why a fetch failed after a moment of the monotonic clock, None when none did."""
        return self._failure[1] if self._failure and self._failure[0] >= moment else None

    def _client(self) -> Client:
        mirrors = self._mirrors()
        for prefixes in mirrors.values():
            self._bases.update(prefixes)
        # outermost first: a mirror's own credentials are looked up after it took the address over
        chain: list[RetryMiddleware | MirrorMiddleware] = [RetryMiddleware(max(0, self._settings.attempts - 1))]
        if mirrors:
            chain.append(MirrorMiddleware(mirrors))
        return Client([*chain, AddHeadersMiddleware(self._headers)])

    def _mirrors(self) -> dict[str, list[str]]:
        mirrors = {
            prefix.rstrip("/"): [*(mirror.rstrip("/") for mirror in others), prefix.rstrip("/")]
            for prefix, others in self._settings.mirrors.items()
        }
        if alias := self._settings.hack_channel_alias:
            address = alias if "://" in alias else f"https://{alias}"
            mirrors[_PUBLIC_ALIAS] = [address.rstrip("/"), *mirrors.get(_PUBLIC_ALIAS, [])]
        return mirrors

    def _headers(self, host: str, path: str) -> dict[str, str] | None:
        """Return what a request carries. The library tells host and path only: the port is that of a known channel."""
        known = [PackageURL.parse(f"{base}/index")[0] for base in self._bases if base.startswith("http")]
        places = [url for url in known if url.host == host and path.startswith(url.path.removesuffix("index"))]
        places = places or [PackageURL("https", host, None, path)]
        found = {self._credentials.for_url(url, Access()) for url in places}
        if len(found) != 1:
            return None
        credentials = found.pop()
        return None if credentials is None else {"Authorization": credentials.authorization}
