"""Roots of stores: the location of a cache, as a value that is parsed once and has its own type."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from asynccache.errors import ConfigurationError
from asynccache.model.dataclass import dataclass
from asynccache.model.url import redacted
from asynccache.node.metaflow_configuration import with_scheme
from asynccache.node.store_kinds import KINDS, LOCAL, in_words, kind_with

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/")
_LOCAL_SCHEMES: Final = frozenset({"", "file"})


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """The root of a store.

    Attributes:
        kind: What holds it: `local`, a name in `store_kinds`, or `memory`, for tests and trials.
        container: Bucket or container; empty for a directory.
        path: The absolute directory of a local store, else the keys' prefix without slashes at its ends.
        endpoint: Address of the service if it is not the cloud's own; may contain credentials, so it is not shown.

    >>> root = StoreRoot.parse("s3://team/conda_env/", endpoint="http://me:pw@127.0.0.1:9000")
    >>> str(root), root.identity
    ('s3://team/conda_env', 's3://team/conda_env at http://127.0.0.1:9000')
    >>> str(StoreRoot.parse("container/prefix", datastore="azure"))
    'az://container/prefix'
    """

    kind: str
    container: str
    path: str
    endpoint: str | None = field(default=None, repr=False)

    @classmethod
    def parse(
        cls,
        text: str,
        *,
        datastore: str | None = None,
        endpoint: str | None = None,
        endpoints: Mapping[str, str | None] | None = None,
    ) -> StoreRoot:
        """Read a root.

        Args:
            text: A path (`~` is expanded), `file:///path`, `s3://bucket/prefix`, `gs://...` or `az://...`.
            datastore: The text is a root in Metaflow's own notation for this datastore, in which Azure's has no scheme
                and a local one is a directory; None for asynccache's notation.
            endpoint: Address of the service if it is not the cloud's own.
            endpoints: Instead of it: the address for each kind.

        Raises:
            ConfigurationError: It is not a root, or one of another kind than the datastore's.
        """
        if not text.strip():
            raise ConfigurationError("the store's root is empty", expected=_expected(datastore))
        text = with_scheme(text, datastore) if datastore is not None else text
        match = _SCHEME.match(text)
        scheme = match["scheme"].lower() if match is not None else ""
        remote = kind_with(scheme)
        kind = LOCAL if scheme in _LOCAL_SCHEMES else remote and remote.name
        if datastore is not None and kind != datastore:
            raise ConfigurationError(
                f"{redacted(text)} cannot be the root of the datastore {datastore}", expected=_expected(datastore)
            )
        if kind is None:
            raise ConfigurationError(
                f"{redacted(text)} cannot be the store", expected=_expected(None), found=f"the scheme {scheme}://"
            )
        if kind == LOCAL:
            return cls.local(_file_path(text) if scheme else Path(text))
        return cls._remote(kind, text, endpoint or (endpoints or {}).get(kind) or None)

    @classmethod
    def local(cls, directory: Path) -> StoreRoot:
        """Return the root of a store that is a directory; links stay as they are."""
        return cls(LOCAL, "", os.path.abspath(directory.expanduser()))  # noqa: PTH100 - without following links

    @classmethod
    def _remote(cls, kind: str, text: str, endpoint: str | None) -> StoreRoot:
        parts = urlsplit(text)
        if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigurationError(f"{redacted(text)} cannot be the store", expected=KINDS[kind].address_format)
        prefix = "/".join(part for part in parts.path.split("/") if part)
        return cls(kind, parts.netloc, prefix, endpoint)

    @property
    def remote(self) -> bool:
        """Whether other machines can read what is stored."""
        return self.kind in KINDS

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return self.kind == LOCAL

    @property
    def directory(self) -> Path:
        """The directory of a local store."""
        return Path(self.path)

    @property
    def identity(self) -> str:
        """Text that identifies the store: the key of what is remembered about it."""
        if not self.endpoint:
            return str(self)
        return f"{self} at {redacted(self.endpoint).rstrip('/')}"

    def __str__(self) -> str:
        if not self.remote:
            return self.path
        below = f"/{self.path}" if self.path else ""
        return f"{KINDS[self.kind].schemes[0]}://{self.container}{below}"


def _expected(datastore: str | None) -> str:
    """Return how roots are written; for a datastore, in Metaflow's notation."""
    if datastore == LOCAL:
        return "a directory"
    if datastore in KINDS:
        return KINDS[datastore].metaflow_format
    return in_words("a path", "file:///path", *(kind.address_format for kind in KINDS.values()))


def _file_path(text: str) -> Path:
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"} or not parts.path.strip("/"):
        raise ConfigurationError(f"{redacted(text)} cannot be the store", expected="file:/// and an absolute path")
    return Path(unquote(parts.path))
