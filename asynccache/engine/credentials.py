"""Who to be towards a host: the URL's own user information, the settings, `.netrc`, in this order; then the keyring."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from pathlib import Path

from asynccache.engine.keyring import keyring_login
from asynccache.engine.transport import Credentials
from asynccache.errors import ConfigurationError
from asynccache.model.url import Access, PackageURL
from asynccache.node.user import home_directory


class HostCredentials:
    """Looks up user and password for a URL's host.

    Args:
        auth: Host or `host:port` -> [user, password] (setting `auth`, METAFLOW_CONDA_SRCS_AUTH_INFO).
        netrc_file: A netrc file; `$NETRC` or `~/.netrc` when None. Read at the first look-up; absent is fine.

    Raises:
        ConfigurationError: An entry of `auth` is not a pair.
    """

    def __init__(self, auth: Mapping[str, list[str]], netrc_file: Path | None = None) -> None:
        for host, pair in auth.items():
            if len(pair) != 2:
                raise ConfigurationError(f"auth for {host!r} is wrong", expected="[user, password]")
        self._auth = {host.lower(): Credentials(*pair) for host, pair in auth.items()}
        self._netrc_file = netrc_file or Path(
            os.environ.get("NETRC") or Path(home_directory() or os.devnull) / ".netrc"
        )
        self._netrc: dict[str, Credentials] | None = None
        self._kept: dict[str, Credentials | None] = {}
        self._asking = threading.Lock()

    def for_url(self, url: PackageURL, access: Access) -> Credentials | None:
        """Return what to authenticate with, None for an anonymous request.

        Raises:
            ConfigurationError: The netrc file is malformed.
        """
        if url.scheme == "file":
            return None
        found = self._known(url, access)
        return found if found is not None and found.password else self._kept.get(url.netloc) or found

    def ask_keyring(self, url: PackageURL, access: Access, tried: Credentials | None) -> bool:
        """Ask the keyring, once for each host, after a host has refused. Blocking.

        Args:
            url: What was refused.
            access: As for `for_url`.
            tried: What it was asked with.

        Returns:
            Whether `for_url` has something else now.
        """
        if tried is not None and tried.password:
            return False
        with self._asking:
            if url.netloc not in self._kept:
                self._kept[url.netloc] = keyring_login(url.netloc, tried.username if tried else None)
        return self.for_url(url, access) != tried

    def _known(self, url: PackageURL, access: Access) -> Credentials | None:
        if access.username is not None:
            return Credentials(access.username, access.password or "")
        return self._auth.get(url.netloc) or self._auth.get(url.host) or self._from_netrc().get(url.host)

    def _from_netrc(self) -> dict[str, Credentials]:
        if self._netrc is None:
            import netrc  # noqa: PLC0415 - most hosts are not asked

            self._netrc = {}
            try:
                table = netrc.netrc(self._netrc_file)
            except (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError):
                return self._netrc
            except netrc.NetrcParseError as exc:
                # its message can quote the line, which may hold the password
                raise ConfigurationError(f"{self._netrc_file} is malformed at line {exc.lineno}") from None
            for host, (login, _account, password) in table.hosts.items():
                if host != "default":
                    self._netrc[host.lower()] = Credentials(login or "", password or "")
        return self._netrc
