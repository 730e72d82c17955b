"""User and password for a host."""

from __future__ import annotations

import base64

from asynccache.model.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """User and password for one request; never shown."""

    username: str
    password: str

    def __repr__(self) -> str:
        return "Credentials(***)"

    @property
    def authorization(self) -> str:
        """Value of the header `Authorization`."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")
