"""Channels as the built-in solver uses them: addresses, credentials, and what is cached on disk.

One `ChannelIndex` holds one gateway, so that concurrent solves share what was fetched. Indexes are cached below
`repodata` in the cache directory. Addresses in the result are those that the channel publishes, whichever mirror
answered.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

from rattler import Channel, Gateway, SourceConfig
from rattler.exceptions import InvalidChannelError
from rattler.networking import Client
from rattler.networking.middleware import AddHeadersMiddleware, MirrorMiddleware, RetryMiddleware

from asynccache.config import Settings
from asynccache.engine.conda_files import conda_connection
from asynccache.engine.credentials import HostCredentials
from asynccache.errors import UsageError
from asynccache.model.platform import ARCHITECTURES, NOARCH
from asynccache.model.url import Access, PackageURL, redacted
from asynccache.resolve.requests.sources import PUBLIC_CHANNELS, channel_of
from asynccache.resolve.requests.url_credentials import split_credentials

# conda's own meaning of the name `defaults` on Linux and macOS.
_DEFAULTS: Final = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_SUBDIRS: Final = {*ARCHITECTURES, NOARCH}
# Files that a channel may have besides repodata.json; if access is granted by directory, an absent one answers 403 or a
# page.
_OPTIONAL: Final = re.compile(r"(?P<base>https?://\S+?)/[^/\s]+/repodata(?:_shards\.msgpack\.zst|\.json\.(?:zst|bz2))")
_ABSENT: Final = re.compile(r"\(403 |failed to decode|frame descriptor|header missing|failed to deserialize")
_Action = Literal["cache-or-fetch", "force-cache-only", "no-cache"]


_CONFIGURING: Final = threading.Lock()


@contextmanager
def _as_conda_is_configured() -> Iterator[None]:
    """Set the variables that the library reads for each client to what conda's configuration says about connections."""
    variables = conda_connection().variables
    names = [form for name in variables for form in (name, name.lower())]
    with _CONFIGURING:
        before = {name: os.environ.pop(name, None) for name in names}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def channel_addresses(channel: str, alias: str) -> tuple[str, ...]:
    """Return the address of a channel.

    Args:
        channel: A name, an address, or a directory.
        alias: Address below which channel names are.

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
    return (channel_of(address),)


class ChannelIndex:
    """Provides channels and gateways for one set of settings.

    Args:
        settings: `channel_alias`, `hack_channel_alias`, `mirrors`, `auth`, `attempts`, `cache_dir` and `connections`
            are used.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._credentials = HostCredentials(settings.auth)
        self._bases: dict[str, None] = {}  # in the order in which they were added, which identifies them
        self._plain: set[str] = set()
        self._gateways: dict[_Action, Gateway] = {}
        self._failures: list[str] = []

    @property
    def directory(self) -> Path:
        """Where indexes are cached."""
        return self._settings.cache_dir / "repodata"

    def addresses(self, channels: Iterable[str]) -> list[str]:
        """Return the addresses of channels, best first.

        Raises:
            UsageError: An address holds a token.
        """
        found = [a for channel in channels for a in channel_addresses(channel, self._settings.channel_alias)]
        if not self._bases.keys() >= set(found):
            marks = self._marks()
            self._bases |= dict.fromkeys(found)
            if marks != self._marks():
                self._gateways.clear()
        return list(dict.fromkeys(found))

    def channels(self, addresses: Iterable[str]) -> list[Channel]:
        """Return channels to solve against.

        Raises:
            UsageError: An address is invalid.
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
            offline: Use what is on disk, however old, and make no request.
            fresh: Do not use what is on disk, except what this object fetched itself.
        """
        action: _Action = "force-cache-only" if offline else "no-cache" if fresh else "cache-or-fetch"
        if action not in self._gateways:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._gateways[action] = Gateway(
                cache_dir=self.directory,
                default_config=SourceConfig(cache_action=action),
                per_channel_config={
                    base: SourceConfig(
                        cache_action=action, zstd_enabled=False, bz2_enabled=False, sharded_enabled=False
                    )
                    for base in self._plain
                },
                max_concurrent_requests=self._settings.connections,
                client=self._client(),
            )
        return self._gateways[action]

    def without_optional(self, reason: str) -> bool:
        """Request only repodata.json from a channel that failed on an optional file.

        Args:
            reason: The library's message.

        Returns:
            Whether `gateway` now returns another one.
        """
        optional = _OPTIONAL.search(redacted(reason))
        if optional is None or not _ABSENT.search(reason):
            return False
        base = optional["base"]
        for prefix, others in self._mirrors().items():
            for other in others:
                if base.startswith(other):
                    base = prefix + base[len(other) :]
                    break
        if base in self._plain:
            return False
        self._plain.add(base)
        self._gateways.clear()
        return True

    def failed(self, reason: str) -> None:
        """Remember why a fetch failed, for the solves that waited for it: the library does not report it to them."""
        self._failures.append(reason)

    @property
    def failures(self) -> int:
        """How many fetches have failed so far."""
        return len(self._failures)

    def failure_after(self, count: int) -> str | None:
        """Return why the last fetch failed if it was not among the first `count` failures; otherwise None."""
        return self._failures[-1] if len(self._failures) > count else None

    def _client(self) -> Client:
        mirrors = self._mirrors()
        for prefixes in (p for place, p in mirrors.items() if place.rpartition("/")[2] not in _SUBDIRS):
            self._bases |= dict.fromkeys(prefixes)
        # outermost first: a mirror's own credentials are looked up after the address was replaced by the mirror's
        chain: list[RetryMiddleware | MirrorMiddleware] = [RetryMiddleware(max(0, self._settings.attempts - 1))]
        if mirrors:
            chain.append(MirrorMiddleware(mirrors))
        with _as_conda_is_configured():
            return Client([*chain, AddHeadersMiddleware(self._headers)])

    def _mirrors(self) -> dict[str, list[str]]:
        mirrors = {
            prefix.rstrip("/"): [*(mirror.rstrip("/") for mirror in others), prefix.rstrip("/")]
            for prefix, others in self._settings.mirrors.items()
        }
        for channel, others in self._credentials.channels_with_tokens().items():
            mirrors[channel] = [*others, *mirrors.get(channel, [])]
        mirrors |= {index: [marked] for index, marked in self._marks().items()}
        if alias := self._settings.hack_channel_alias:
            address = alias if "://" in alias else f"https://{alias}"
            mirrors[PUBLIC_CHANNELS] = [address.rstrip("/"), *mirrors.get(PUBLIC_CHANNELS, [])]
        return mirrors

    def _marks(self) -> dict[str, str]:
        """Return index of a channel -> the same index under a unique path, if channels differ only in their port.

        The function that returns headers gets host and path only. With one letter of the platform percent-encoded, a
        different one for each channel, the paths differ and mean the same to a server.
        """
        together: dict[tuple[str, str], list[PackageURL]] = {}
        for url in self._places():
            together.setdefault((url.host, url.path), []).append(url)
        return {
            f"{str(url).removesuffix('/index')}/{subdir}": (
                f"{str(url).removesuffix('/index')}/{subdir[:number]}%{ord(subdir[number]):02X}{subdir[number + 1 :]}"
            )
            for urls in together.values()
            if len({self._credentials.for_url(url, Access()) for url in urls}) > 1
            for number, url in enumerate(urls[: len(NOARCH)])
            for subdir in sorted(_SUBDIRS)
        }

    def _places(self) -> list[PackageURL]:
        return [PackageURL.parse(f"{base}/index")[0] for base in self._bases if base.startswith("http")]

    def _headers(self, host: str, path: str) -> dict[str, str] | None:
        """Return the headers of a request. The library passes host and path only: the port is that of a known
        channel.
        """
        marked = [PackageURL.parse(f"{address}/")[0] for address in self._marks().values()] if "%" in path else []
        places = [url for url in marked if url.host == host and path.startswith(url.path)] or [
            url for url in self._places() if url.host == host and path.startswith(url.path.removesuffix("index"))
        ]
        places = places or [PackageURL("https", host, None, path)]
        found = {self._credentials.for_url(url, Access()) for url in places}
        if len(found) != 1:
            return None
        credentials = found.pop()
        return None if credentials is None else {"Authorization": credentials.authorization}
