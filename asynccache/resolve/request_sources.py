"""Channels and indexes of a request: the user's and the machine's (contract, section 1.2.1 f).

Their order does not enter the identity, but a solver ranks channels by it, so it is kept as it was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from asynccache.config import Settings
from asynccache.resolve.pip_configuration import read_pip_configuration

PYPI: Final = "https://pypi.org/simple"
_CONDA_HOST: Final = "conda.anaconda.org"
_MOST_SPLITS: Final = 8


def channel_or_url(text: str, hack_channel_alias: str | None = None) -> str:
    """Return the name of a channel at conda.anaconda.org, else the text itself.

    Args:
        text: A name or address; labels after the name are dropped.
        hack_channel_alias: Host and path of a mirror that counts as conda.anaconda.org.

    >>> channel_or_url("https://conda.anaconda.org/conda-forge/linux-64"), channel_or_url("https://host/x/main")
    ('conda-forge', 'https://host/x/main')
    """
    address = text.replace(hack_channel_alias, _CONDA_HOST) if hack_channel_alias else text
    parts = urlsplit(address)
    name = parts.path.strip("/").partition("/")[0]
    return name if parts.hostname == _CONDA_HOST and name else address


def conda_sources(given: Iterable[str], settings: Settings, defaults: Iterable[str] | None = None) -> list[str]:
    """Return the channels of a request, best first: the user's, then the defaults.

    Args:
        given: The user's, in his order.
        settings: Gives `channels` and `hack_channel_alias`.
        defaults: Channels that a conda program is configured with; None: those of the settings.
    """
    channels = [*given, *(settings.channels if defaults is None else defaults)]
    return list(dict.fromkeys(channel_or_url(channel, settings.hack_channel_alias) for channel in channels))


def default_indexes(entries: Iterable[tuple[str, str]], default_source: str | None = None) -> list[str]:
    """Return the indexes that pip's configuration stands for; other readers compute ids from the same list.

    Args:
        entries: As `read_pip_configuration` returns them.
        default_source: Index that replaces every configured `index-url`.

    >>> default_indexes([("global.extra-index-url", "A B"), ("global.index-url", "I")])
    ['A', 'B', 'I']
    >>> default_indexes([("global.extra-index-url", "A B")])
    ['https://pypi.org/simple', 'B']
    """
    indexes = [default_source] if default_source else []
    has_main = bool(default_source)
    for name, value in entries:
        option = name.rpartition(".")[2]
        if option == "extra-index-url" or (option == "index-url" and not default_source):
            has_main = has_main or option == "index-url"
            indexes += value.split(maxsplit=_MOST_SPLITS) or [""]
    return indexes if has_main else [PYPI, *indexes[1:]]


def pypi_sources(
    given: Iterable[str], settings: Settings, entries: Sequence[tuple[str, str]] | None = None
) -> list[str]:
    """Return the indexes of a request: the defaults, then the user's.

    Args:
        given: The user's, in his order.
        settings: Gives `default_pypi_source`.
        entries: pip's configuration; read from this machine when None.

    Raises:
        ConfigurationError: pip's configuration cannot be read.
    """
    found = read_pip_configuration() if entries is None else entries
    return list(dict.fromkeys([*default_indexes(found, settings.default_pypi_source), *given]))
