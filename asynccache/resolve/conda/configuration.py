"""conda's and mamba's configuration files, read without either: the channels that they would print (contract, 1.2.1 f).

Channels of all files count; for every other option the last value counts, and maps are merged (see
`engine/conda_files.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from asynccache.engine.conda_files import expanded, read_file
from asynccache.model.dataclass import dataclass
from asynccache.model.platform import ARCHITECTURES, NOARCH, current_architecture
from asynccache.resolve.requests.sources import MASKED
from asynccache.resolve.requests.url_credentials import split_credentials

_ALIAS: Final = "https://conda.anaconda.org"
_DEFAULTS: Final = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_CUSTOM: Final = {"pkgs/pro": "https://repo.anaconda.com"}
_OPTIONS: Final = ("channel_alias", "default_channels", "custom_channels", "custom_multichannels")
_TOKEN: Final = re.compile(r"/t/[^/]+(?=/)")


@dataclass(frozen=True, slots=True)
class CondaConfiguration:
    """What configuration files and variables say about channels.

    Attributes:
        channels: Names, addresses and directories, in order of precedence; empty if none are configured.
        alias: Address below which channel names are.
        custom: Name -> address below which the channel is.
        several: Name -> the channels that it stands for.
        subdir: conda platform of the machine.
    """

    channels: tuple[str, ...]
    alias: str
    custom: Mapping[str, str]
    several: Mapping[str, tuple[str, ...]]
    subdir: str

    def addresses(self) -> list[str]:
        """Return the addresses of the channels, with their credentials."""
        return list(dict.fromkeys(address for channel in self.channels for address in self._addresses(channel, ())))

    def printed(self) -> list[str]:
        """Return what `info` prints: for each channel the directories of the machine and of `noarch`, tokens masked."""
        found = [_TOKEN.sub(MASKED, f"{a}/{subdir}") for a in self.addresses() for subdir in self._subdirs]
        return list(dict.fromkeys(found))

    def auth(self) -> dict[str, list[str]]:
        """Return the credentials in the addresses, in the format of the setting `auth`."""
        found: dict[str, list[str]] = {}
        for address in self.addresses():
            found = {**split_credentials(address, channel=True)[1], **found}
        return found

    @property
    def _subdirs(self) -> tuple[str, str]:
        return self.subdir, NOARCH

    def _addresses(self, channel: str, inside: tuple[str, ...]) -> Iterator[str]:
        if channel in self.several and channel not in inside:
            for each in self.several[channel]:
                yield from self._addresses(each, (*inside, channel))
            return
        head, _, last = channel.rstrip("/").rpartition("/")
        channel = head if head and (last in ARCHITECTURES or last == NOARCH) else channel.rstrip("/")
        if "://" in channel:
            yield channel
        elif channel.startswith(("/", "~", "./", "../")):
            yield Path(channel).expanduser().absolute().as_uri()
        else:
            names = [name for name in self.custom if channel == name or channel.startswith(f"{name}/")]
            below = self.custom[max(names, key=len)] if names else self.alias
            below = below if "://" in below else f"https://{below}"
            yield f"{below.rstrip('/')}/{channel}"


def read_conda_configuration(files: Iterable[Path], environ: Mapping[str, str]) -> CondaConfiguration:
    """Read what configuration files and variables say about channels. Blocking.

    Args:
        files: As returned by `configuration_files`.
        environ: Environment variables.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    channels: list[str] = []
    options: dict[str, Any] = {}
    for path in files:
        content = read_file(path)
        channels = [*_texts(content.get("channels") or content.get("channel"), environ), *channels]
        for name in _OPTIONS:
            value = content.get(name)
            if isinstance(value, dict):
                options[name] = {**options.get(name, {}), **value}
            elif value is not None:
                options[name] = value
    for name in ("CONDA_CHANNELS", "MAMBA_CHANNELS"):
        channels = [*(text.strip() for text in environ.get(name, "").split(",") if text.strip()), *channels]
    alias = environ.get("CONDA_CHANNEL_ALIAS") or environ.get("MAMBA_CHANNEL_ALIAS") or options.get("channel_alias")
    by_default = environ.get("CONDA_DEFAULT_CHANNELS") or options.get("default_channels")
    several = {
        str(name): tuple(_texts(value, environ)) for name, value in _map(options, "custom_multichannels").items()
    }
    defaults = tuple(_texts(by_default.split(",") if isinstance(by_default, str) else by_default, environ))
    return CondaConfiguration(
        tuple(dict.fromkeys(channels)),
        next(iter(_texts(alias, environ)), _ALIAS),
        {**_CUSTOM, **{str(k): expanded(str(v), environ) for k, v in _map(options, "custom_channels").items()}},
        {"defaults": defaults or _DEFAULTS, **several},
        environ.get("CONDA_SUBDIR") or current_architecture(),
    )


def environment_directories(files: Iterable[Path], environ: Mapping[str, str]) -> list[Path]:
    """Return the directories for environments in configuration files, in order of precedence. Blocking.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    found: list[str] = []
    for path in files:
        content = read_file(path)
        found = [*_texts(content.get("envs_dirs") or content.get("envs_path"), environ), *found]
    return [Path(text) for text in dict.fromkeys(found)]


def _map(options: Mapping[str, Any], name: str) -> dict[Any, Any]:
    value = options.get(name)
    return value if isinstance(value, dict) else {}


def _texts(value: Any, environ: Mapping[str, str]) -> list[str]:
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [expanded(str(each), environ).strip() for each in values if str(each).strip()]
