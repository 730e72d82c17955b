"""The channels that a machine's conda program is configured with, which enter every request (contract, 1.2.1 f).

The program itself is asked, and asked again only if something that its answer depends on has changed: itself,
configuration files, variables. Without a program that answers, its configuration files are read.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Final

from asynccache.config import Settings
from asynccache.engine.conda_files import configuration_files
from asynccache.errors import AsyncCacheError
from asynccache.model.dataclass import dataclass
from asynccache.model.url import without_credentials
from asynccache.node.json_text import read_json
from asynccache.resolve.conda.configuration import read_conda_configuration
from asynccache.resolve.conda.find_programs import Program
from asynccache.resolve.conda.places import conda_program, installation_roots
from asynccache.resolve.requests.sources import MASKED, PUBLIC_CHANNELS, channel_or_url
from asynccache.runtime.late_loop import in_thread

_PLACE: Final = "channels of conda programs"  # in this machine's memory: state -> channels
_PREFIXES: Final = ("CONDA", "MAMBA", "XDG_CONFIG_HOME")
_BUILT_IN: Final = "https://repo.anaconda.com/"


@dataclass(frozen=True, slots=True)
class ConfiguredChannels:
    """Channels of a machine.

    Attributes:
        texts: As they enter requests; None if none are configured.
        auth: Credentials in their addresses, in the format of the setting `auth`. Never recorded.
        written: Address -> as the program prints it, if other writers take something else for its name.
    """

    texts: tuple[str, ...] | None = None
    auth: Mapping[str, list[str]] = field(default_factory=dict, repr=False)
    written: Mapping[str, str] = field(default_factory=dict)


async def configured_channels(settings: Settings, environ: Mapping[str, str] | None = None) -> ConfiguredChannels:
    """Return the channels that this machine's conda program is configured with.

    Args:
        settings: `channels` overrides all configuration; `conda_dependency_resolver` says which program is asked.
        environ: Environment variables; None for the process's own.

    Raises:
        ConfigurationError: A configuration file cannot be read.
    """
    if settings.channels is not None:
        return ConfiguredChannels()
    env = os.environ if environ is None else environ
    name, program = await in_thread(conda_program, settings, env)
    files = await in_thread(lambda: configuration_files(env, installation_roots(name, program, env)))
    read = await in_thread(read_conda_configuration, files, env)
    texts = await _asked(settings, name, program, files, env) if program is not None else None
    if texts and not read.channels and all(text.startswith(_BUILT_IN) for text in texts):
        texts = None  # what the program falls back on, which the user did not choose
    elif not texts:
        texts = read.printed() if read.channels else None
    if texts is None:
        return ConfiguredChannels()
    named = {text: _name(text, settings.hack_channel_alias) for text in texts}
    written = {f"{PUBLIC_CHANNELS}/{name}": text for text, name in named.items() if MASKED in text and name != text}
    return ConfiguredChannels(tuple(dict.fromkeys(named.values())), read.auth(), written)


def _name(text: str, alias: str | None) -> str:
    """Return what enters a request; a masked token is kept, except at conda.anaconda.org, where channels are names."""
    name = channel_or_url(text.replace(MASKED, ""), alias)
    return text if MASKED in text and "://" in name else name


async def _asked(
    settings: Settings, name: str, program: Program, files: Iterable[Path], env: Mapping[str, str]
) -> list[str] | None:
    """Return what a program prints, from memory if nothing has changed; None if it does not answer."""
    from asynccache.engine.verified import Verified  # noqa: PLC0415 - most machines have no program

    memory = await in_thread(Verified.own, settings.cache_dir)
    state = await in_thread(_state, program, files, env)
    known = await in_thread(memory.version, _PLACE, state)
    if known is not None:
        return [str(text) for text in read_json(known)]
    from asynccache.resolve.conda.executable import CondaExecutableResolver  # noqa: PLC0415 - asked once

    try:
        installation = await CondaExecutableResolver(settings, name, environ=env).installation()
    except AsyncCacheError:
        return None  # solving with it reports what is wrong
    texts = list(installation.printed)
    # user names and passwords are never stored
    if all(without_credentials(text) == text for text in texts):
        await in_thread(memory.add, _PLACE, [(state, json.dumps(texts))])
    return texts


def _state(program: Program, files: Iterable[Path], env: Mapping[str, str]) -> str:
    """Return what a program's answer depends on, as a digest."""
    state: list[object] = [pair for pair in sorted(env.items()) if pair[0].startswith(_PREFIXES)]
    for path in (program.path.resolve(), *files):
        try:
            about = path.stat()
        except OSError:  # removed since it was read
            continue
        state.append((str(path), about.st_ino, about.st_mtime_ns, about.st_size))
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()
