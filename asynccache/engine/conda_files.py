"""conda's and mamba's configuration files: which ones apply, and what they say about connections.

Files, later ones overriding earlier ones: the system's, the installation's, the user's, the active environment's, the
one named by a variable; then the variables themselves.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from asynccache.errors import ConfigurationError
from asynccache.model.dataclass import dataclass

_VARIABLE: Final = r"\$(?:\{(\w+)\}|(\w+))"
_NO: Final = ("false", "no", "off", "0", "<false>")
_AS_USUAL: Final = ("", "true", "yes", "on", "1", "truststore", "<system>")


@dataclass(frozen=True, slots=True)
class CondaConnection:
    """How conda's programs reach channels.

    Attributes:
        proxies: `SCHEME://HOST`, `SCHEME`, `all://HOST` or `all` -> address of a proxy. Never recorded or shown.
        verify: Whether certificates are checked.
        authorities: File of certificates to check with; None for the system's.
    """

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool = True
    authorities: Path | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The same as variables for HTTP libraries, as far as those can express it."""
        found = {f"{scheme.upper()}_PROXY": self.proxies.get(scheme) for scheme in ("http", "https", "all")}
        if self.authorities is not None:
            found["SSL_CERT_DIR" if self.authorities.is_dir() else "SSL_CERT_FILE"] = str(self.authorities)
        return {name: value for name, value in found.items() if value}

    def proxy(self, address: str) -> str | None:
        """Return the proxy for an address, the most specific one configured."""
        parts = urlsplit(address)
        names = (f"{parts.scheme}://{parts.hostname}", parts.scheme, f"all://{parts.hostname}", "all")
        return next((self.proxies[name] for name in names if self.proxies.get(name)), None)


def configuration_files(environ: Mapping[str, str], roots: Iterable[Path] = ()) -> list[Path]:
    """Return the existing configuration files, in ascending precedence.

    Args:
        environ: Environment variables.
        roots: Installations of conda programs.
    """
    home = Path(environ.get("HOME") or os.devnull)
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "conda"
    named = [Path(environ[n]) for n in ("CONDA_ROOT", "MAMBA_ROOT_PREFIX") if environ.get(n)]
    active = [Path(environ["CONDA_PREFIX"])] if environ.get("CONDA_PREFIX") else []
    places = [Path("/etc/conda"), Path("/var/lib/conda"), *named, *roots, user, home / ".conda"]
    found: list[Path] = []
    for place in places:
        found += _below(place)
    found += [home / ".condarc", home / ".mambarc"]
    for place in active:
        found += _below(place)
    found += [Path(environ[name]).expanduser() for name in ("CONDARC", "MAMBARC") if environ.get(name)]
    return list(dict.fromkeys(path for path in found if path.is_file()))


def _below(directory: Path) -> Iterator[Path]:
    yield from (directory / name for name in (".condarc", "condarc"))
    more = directory / "condarc.d"
    if more.is_dir():
        yield from sorted(path for path in more.iterdir() if path.suffix in {".yml", ".yaml"})
    yield directory / ".mambarc"


def read_file(path: Path) -> dict[str, Any]:
    """Return the content of a configuration file; empty if it no longer exists, or may not be read.

    Raises:
        ConfigurationError: It is invalid.
    """
    import yaml  # noqa: PLC0415 - most machines have no such file

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (FileNotFoundError, PermissionError):
        return {}
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as exc:
        # the parser's own message quotes lines, which may hold a token
        raise ConfigurationError(f"conda's configuration file {path} cannot be read ({type(exc).__name__})") from None
    return content if isinstance(content, dict) else {}


def expanded(text: str, environ: Mapping[str, str]) -> str:
    """Return a value with variables in it replaced; unset ones are kept."""
    return re.sub(_VARIABLE, lambda match: environ.get(match[1] or match[2], match[0]), text)


def conda_connection(environ: Mapping[str, str] | None = None) -> CondaConnection:
    """Return the values of `proxy_servers` and `ssl_verify` in configuration files and variables. Blocking.

    Args:
        environ: Environment variables; None for the process's own.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    env = os.environ if environ is None else environ
    proxies: dict[str, str] = {}
    verify: object = True
    for content in map(read_file, configuration_files(env)):
        servers = content.get("proxy_servers")
        if isinstance(servers, dict):
            proxies.update((str(name), expanded(str(address), env)) for name, address in servers.items() if address)
        verify = verify if content.get("ssl_verify") is None else content["ssl_verify"]
    said = env.get("CONDA_SSL_VERIFY") or env.get("MAMBA_SSL_VERIFY") or expanded(str(verify), env)
    word = said.strip().lower()
    authorities = None if word in _NO or word in _AS_USUAL else Path(said.strip()).expanduser()
    return CondaConnection(proxies, word not in _NO, authorities)
