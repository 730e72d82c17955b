"""Channels and indexes of a request: the user's and the machine's (contract, section 1.2.1 f).

Their order is not part of the identity, but a solver ranks channels by it, so it is kept as written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from asynccache.config import Settings
from asynccache.model.platform import ARCHITECTURES, NOARCH
from asynccache.model.url import holds_token, redacted
from asynccache.resolve.requests.pip_configuration import read_pip_configuration

PYPI: Final = "https://pypi.org/simple"
_CONDA_HOST: Final = "conda.anaconda.org"
PUBLIC_CHANNELS: Final = f"https://{_CONDA_HOST}"
MASKED: Final = "/t/<TOKEN>"
"""What conda prints in place of a token."""
NO_DEFAULTS: Final = "nodefaults"
"""Stands among the channels of an environment.yml to switch those of the machine off; it names no channel."""
_DEFAULT_CHANNELS: Final = ("conda-forge",)
_SUBDIRS: Final = {*ARCHITECTURES, NOARCH}
_TRUE: Final = {"y", "yes", "t", "true", "on", "1"}  # as pip reads them
_MOST_SPLITS: Final = 8


def default_channels(settings: Settings) -> list[str]:
    """Return the channels of a machine whose conda programs have none configured."""
    return list(_DEFAULT_CHANNELS if settings.channels is None else settings.channels)


def channel_of(text: str) -> str:
    """Return the channel of a request's source: programs print its directories, with tokens masked.

    >>> channel_of("https://host/t/<TOKEN>/team/linux-64/"), channel_of("conda-forge")
    ('https://host/team', 'conda-forge')
    """
    if "://" not in text:
        return text
    head, _, last = text.rstrip("/").replace(MASKED, "").rpartition("/")
    return head if last in _SUBDIRS else f"{head}/{last}"


def channel_or_url(text: str, hack_channel_alias: str | None = None) -> str:
    """Return the name of a channel at conda.anaconda.org, otherwise the text itself.

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
    """Return the channels of a request, best first: the user's, then the defaults. One with a token is not named yet.

    Args:
        given: The user's, in the given order.
        settings: Provides `channels` and `hack_channel_alias`.
        defaults: Configured channels of a conda program; None for `default_channels`.
    """
    channels = [*given, *(default_channels(settings) if defaults is None else defaults)]
    alias = settings.hack_channel_alias
    return list(dict.fromkeys(c if holds_token(c) or MASKED in c else channel_or_url(c, alias) for c in channels))


def default_indexes(entries: Iterable[tuple[str, str]], default_source: str | None = None) -> list[str]:
    """Return the indexes in pip's configuration; other readers compute ids from the same list.

    Of several `index-url` the first one that pip lists counts.

    Args:
        entries: As returned by `read_pip_configuration`.
        default_source: Index that replaces every configured `index-url`.

    >>> default_indexes([("global.extra-index-url", "A B"), ("global.index-url", "I")])
    ['A', 'B', 'I']
    >>> default_indexes([("global.extra-index-url", "A B")])
    ['https://pypi.org/simple', 'B']
    >>> default_indexes([("global.index-url", "I"), ("install.index-url", "J")])
    ['I']
    """
    indexes = [default_source] if default_source else []
    has_main = bool(default_source)
    for name, value in entries:
        option = name.rpartition(".")[2]
        if option == "extra-index-url" or (option == "index-url" and not has_main):
            has_main = has_main or option == "index-url"
            indexes += value.split(maxsplit=_MOST_SPLITS) or [""]
    return indexes if has_main else [PYPI, *indexes[1:]]


def pypi_sources(
    given: Iterable[str], settings: Settings, entries: Sequence[tuple[str, str]] | None = None
) -> list[str]:
    """Return the indexes of a request: the defaults, then the user's.

    Args:
        given: The user's, in the given order.
        settings: Provides `default_pypi_source`.
        entries: pip's configuration; None to read this machine's.

    Raises:
        ConfigurationError: pip's configuration cannot be read.
    """
    found = read_pip_configuration() if entries is None else entries
    return list(dict.fromkeys([*default_indexes(found, settings.default_pypi_source), *given]))


def configured_flags(entries: Iterable[tuple[str, str]]) -> list[str]:
    """Return `no-index`, `find-links` and `trusted-host` of pip's configuration, as flags of a request.

    For each option the variable counts, else the section `install`, else `global`, as for pip. A path is relative to
    the working directory; a missing directory is skipped, as by pip. Blocking.

    >>> configured_flags([("global.find-links", "https://a"), ("install.find-links", "https://b /nowhere")])
    ['--find-links https://b']
    >>> configured_flags([(":env:.no-index", "1"), ("global.trusted-host", "a b")])
    ['--no-index', '--trusted-host a', '--trusted-host b']
    """
    named = dict(entries)

    def said(option: str) -> str:
        return next((named[k] for k in (f"{s}.{option}" for s in (":env:", "install", "global")) if k in named), "")

    links = said("find-links").split()
    paths = {link: Path(link).expanduser().absolute() for link in links if "://" not in link}
    flags = ["--no-index"] if said("no-index").strip().lower() in _TRUE else []
    flags += [f"--find-links {paths.get(link, link)}" for link in links if link not in paths or paths[link].exists()]
    return flags + [f"--trusted-host {host}" for host in said("trusted-host").split()]


def overridden_index(entries: Iterable[tuple[str, str]], default_source: str | None = None) -> str | None:
    """Return a sentence if pip itself would use another index than the one in requests; otherwise None.

    >>> overridden_index([("global.index-url", "I"), ("install.index-url", "J")])
    "pip's configuration names two indexes: I (global.index-url) is asked, pip itself would ask J (install.index-url)"
    """
    named = {name: value for name, value in entries if name.endswith(".index-url")}
    asked = next(iter(named), None)
    pips = next((name for name in (f"{s}.index-url" for s in (":env:", "install", "global")) if name in named), None)
    if default_source or asked is None or pips is None or named[asked].split() == named[pips].split():
        return None
    return (
        f"pip's configuration names two indexes: {redacted(named[asked])} ({asked}) is asked,"
        f" pip itself would ask {redacted(named[pips])} ({pips})"
    )
