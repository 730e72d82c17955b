"""pip's configuration, read as pip reads it and listed as `pip config list` lists it, without running pip.

Files, later ones overriding earlier ones: the system's, the user's, the virtual environment's, the one that
`PIP_CONFIG_FILE` names; then the `PIP_*` variables, which are a section of their own.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from asynccache.errors import ConfigurationError
from asynccache.node.user import home_directory

_FILE: Final = "pip.conf"
_NOT_OPTIONS: Final = {"version", "help"}


def read_pip_configuration(
    environ: Mapping[str, str] | None = None, *, home: Path | None = None, prefix: Path | None = None
) -> list[tuple[str, str]]:
    """Return (`SECTION.option`, value) in the order in which pip lists them.

    Args:
        environ: Environment variables; None for the process's own. Variables are the section `:env:`.
        home: The user's home directory.
        prefix: Directory of the interpreter's installation, whose file is pip's "site" one.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    env = os.environ if environ is None else environ
    options: dict[str, str] = {}
    for path in _paths(env, home or Path(home_directory() or os.devnull), prefix or Path(sys.prefix)):
        options |= _read(path)
    for name, value in env.items():
        option = name.removeprefix("PIP_").lower().replace("_", "-")
        if name.startswith("PIP_") and option not in _NOT_OPTIONS:
            options[f":env:.{option}"] = value
    return sorted(options.items())


def _paths(env: Mapping[str, str], home: Path, prefix: Path) -> Iterator[Path]:
    named = env.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return
    if sys.platform == "darwin":
        yield Path("/Library/Application Support/pip") / _FILE
        support = home / "Library" / "Application Support" / "pip"
        user = support if support.is_dir() else home / ".config" / "pip"
    else:
        for directory in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep):
            yield Path(directory) / "pip" / _FILE
        yield Path("/etc") / _FILE
        user = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "pip"
    yield home / ".pip" / _FILE
    yield user / _FILE
    yield prefix / _FILE
    if named:
        yield Path(named).expanduser()


def _read(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8") as file:
            parser = configparser.RawConfigParser()  # imported only if a file exists
            parser.read_file(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (OSError, configparser.Error, UnicodeDecodeError) as exc:
        # the parser's own message quotes lines, which may hold a password
        raise ConfigurationError(f"pip's configuration file {path} cannot be read ({type(exc).__name__})") from None
    return {
        f"{section}.{_normalised(option)}": value
        for section in parser.sections()
        for option, value in parser.items(section)
    }


def _normalised(option: str) -> str:
    return option.lower().replace("_", "-").removeprefix("--")
