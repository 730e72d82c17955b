"""Credentials for a host: the URL's own user information, the settings, `.netrc`, in this order; then the keyring.

Settings may also contain the token or signature for a channel or a file.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asynccache.engine.keyring import keyring_login, keyring_programs
from asynccache.errors import ConfigurationError
from asynccache.model.credentials import Credentials
from asynccache.model.url import CONDA_FILES, Access, PackageURL, holds_token, redacted
from asynccache.node.user import home_directory


class HostCredentials:
    """Looks up user and password for a URL's host, and what a request for it needs in its path or query.

    Args:
        auth: Host or `host:port` -> [user, password]; address -> [the same address with its token or signature]
            (setting `auth`, METAFLOW_CONDA_SRCS_AUTH_INFO).
        netrc_file: /.netrc` when None. Read at the first look-up; absent is fine.~A netrc file; None for `$NETRC` or
            `~/.netrc`. Read at the first look-up; it need not exist.~/.netrc` when None. Read at the first look-up;
            absent is fine.

    Raises:
        ConfigurationError: An entry of `auth` is not a pair.
    """

    def __init__(self, auth: Mapping[str, list[str]], netrc_file: Path | None = None) -> None:
        self._with_secret: dict[str, str] = {}
        for place, login in auth.items():
            if "://" in place and len(login) == 1:
                self._with_secret[place.rstrip("/")] = login[0].rstrip("/")
            elif len(login) != 2:
                expected = "[address with its token or signature]" if "://" in place else "[user, password]"
                raise ConfigurationError(f"auth for {redacted(place)!r} is wrong", expected=expected)
        self._auth = {place.lower(): Credentials(*login) for place, login in auth.items() if len(login) == 2}
        # a file is also requested without the rest of its query, which documents do not contain
        self._files = {p.partition("?")[0]: Access.of(text) for p, text in self._with_secret.items() if "?" in text}
        self._channels = {place: text for place, text in self._with_secret.items() if holds_token(text)}
        self._netrc_file = netrc_file or Path(
            os.environ.get("NETRC") or Path(home_directory() or os.devnull) / ".netrc"
        )
        self._netrc: dict[str, Credentials] | None = None
        self._kept: dict[str, Credentials | None] = {}
        self._asked: dict[str, tuple[str, ...]] = {}  # host -> programs
        self._asking = threading.Lock()

    def for_url(self, url: PackageURL, access: Access) -> Credentials | None:
        """Return the credentials, None for an anonymous request.

        Raises:
            ConfigurationError: The netrc file is malformed.
        """
        if url.scheme == "file":
            return None
        found = self._known(url, access)
        return found if found is not None and found.password else self._kept.get(url.netloc) or found

    def access(self, url: PackageURL, access: Access) -> Access:
        """Return what a request needs besides its URL: what came with it, otherwise what is known for it.

        Args:
            url: The requested URL.
            access: Credentials that were split off it.
        """
        if access.query or access.token:
            return access
        known = self._files.get(str(url))
        if known is None:
            with_token = self.with_token(str(url))
            known = Access() if with_token is None else Access.of(with_token)
        return replace(access, query=known.query, token=known.token, token_at=known.token_at)

    def with_secret(self, address: str) -> str:
        """Return an address with the token or signature that is known for it; unchanged if there is none."""
        place, mark, fragment = address.partition("#")
        return (self._with_secret.get(place) or self.with_token(place) or place) + mark + fragment

    def with_token(self, address: str) -> str | None:
        """Return the address, of a channel or below one, with conda's token in its path; None if none is known."""
        for place, text in self._channels.items():
            if address == place or address.startswith(place + "/"):
                return text + address[len(place) :]
        return None

    def channels_with_tokens(self) -> dict[str, list[str]]:
        """Return channel -> the address with its token that is requested instead."""
        return {place: [text] for place, text in self._channels.items() if not place.endswith(CONDA_FILES)}

    def ask_keyring(self, url: PackageURL, access: Access, tried: Credentials | None) -> bool:
        """Ask the keyring, each of its programs once for each host, after a host has refused. Blocking.

        Args:
            url: The URL that was refused.
            access: As for `for_url`.
            tried: The credentials that were used.

        Returns:
            Whether `for_url` now returns something else.
        """
        if tried is not None and tried.password:
            return False
        with self._asking:
            programs = keyring_programs()
            if self._kept.get(url.netloc) is None and self._asked.get(url.netloc) != programs:
                self._asked[url.netloc] = programs
                username = tried.username if tried else None
                self._kept[url.netloc] = keyring_login(url.netloc, username, url=str(url))
        return self.for_url(url, access) != tried

    def _known(self, url: PackageURL, access: Access) -> Credentials | None:
        if access.username is not None:
            return Credentials(access.username, access.password or "")
        return self._auth.get(url.netloc) or self._auth.get(url.host) or self._from_netrc().get(url.host)

    def _from_netrc(self) -> dict[str, Credentials]:
        if self._netrc is None:
            import netrc  # noqa: PLC0415 - not needed for most hosts

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
