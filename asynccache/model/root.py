"""Roots of stores: where a cache lies, as a value that is parsed once and cannot be taken for something else."""

from __future__ import annotations

import os
import re
from dataclasses import field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from asynccache.errors import ConfigurationError
from asynccache.model.dataclass import dataclass
from asynccache.model.url import redacted
from asynccache.node.metaflow_configuration import with_scheme

RootKind = Literal["local", "s3", "azure", "gs", "memory"]
Datastore = Literal["local", "s3", "azure", "gs"]

_SCHEME: Final = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):/")
_SUPPORTED: Final = "a path, file:///path or s3://bucket/prefix"
_KINDS: Final[dict[str, RootKind]] = {
    "": "local",
    "file": "local",
    "s3": "s3",
    "az": "azure",
    "azure": "azure",
    "gs": "gs",
}
_SCHEMES: Final[dict[RootKind, str]] = {"s3": "s3", "azure": "az", "gs": "gs"}
_FORMS: Final[dict[str, str]] = {
    "local": "a directory",
    "s3": "s3://bucket/prefix",
    "azure": "container/prefix",
    "gs": "gs://bucket/prefix",
}


@dataclass(frozen=True, slots=True)
class StoreRoot:
    """Where a store lies.

    Attributes:
        kind: What holds it. `memory` is for tests and trials.
        container: Bucket or container; empty for a directory.
        path: The absolute directory of a local store, else the keys' prefix without slashes at its ends.
        endpoint: Address of the service where it is not the cloud's own; may hold credentials, so it is not shown.

    >>> root = StoreRoot.parse("s3://team/conda_env/", endpoint="http://me:pw@127.0.0.1:9000")
    >>> str(root), root.identity
    ('s3://team/conda_env', 's3://team/conda_env at http://127.0.0.1:9000')
    >>> str(StoreRoot.parse("container/prefix", datastore="azure"))
    'az://container/prefix'
    """

    kind: RootKind
    container: str
    path: str
    endpoint: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str, *, datastore: Datastore | None = None, endpoint: str | None = None) -> StoreRoot:
        """Read a root.

        Args:
            text: A path (`~` is expanded), `file:///path`, `s3://bucket/prefix`, `gs://...` or `az://...`.
            datastore: The text is a root in Metaflow's own notation for this datastore, where Azure's has no scheme
                and a local one is a directory; None: asynccache's notation.
            endpoint: Address of the service where it is not the cloud's own.

        Raises:
            ConfigurationError: Not a root, or one of another kind than the datastore's.
        """
        if not text.strip():
            raise ConfigurationError("the store's root is empty", expected=_FORMS.get(datastore or "", _SUPPORTED))
        text = with_scheme(text, datastore) if datastore is not None else text
        match = _SCHEME.match(text)
        scheme = match["scheme"].lower() if match is not None else ""
        kind = _KINDS.get(scheme)
        if datastore is not None and kind != datastore:
            raise ConfigurationError(
                f"{redacted(text)} cannot be the root of the datastore {datastore}", expected=_FORMS[datastore]
            )
        if kind is None:
            raise ConfigurationError(
                f"{redacted(text)} cannot be the store", expected=_SUPPORTED, found=f"the scheme {scheme}://"
            )
        if kind == "local":
            return cls.local(_file_path(text) if scheme else Path(text))
        return cls._remote(kind, text, endpoint or None)

    @classmethod
    def local(cls, directory: Path) -> StoreRoot:
        """Return the root of a store that is a directory; links stay as they are."""
        return cls("local", "", os.path.abspath(directory.expanduser()))  # noqa: PTH100 - without following links

    @classmethod
    def _remote(cls, kind: RootKind, text: str, endpoint: str | None) -> StoreRoot:
        parts = urlsplit(text)
        if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigurationError(
                f"{redacted(text)} cannot be the store", expected=f"{_SCHEMES[kind]}://{_FORMS[kind].split('://')[-1]}"
            )
        prefix = "/".join(part for part in parts.path.split("/") if part)
        return cls(kind, parts.netloc, prefix, endpoint)

    @property
    def remote(self) -> bool:
        """Whether other machines can read what is stored."""
        return self.kind not in {"local", "memory"}

    @property
    def directory(self) -> Path:
        """The directory of a local store."""
        return Path(self.path)

    @property
    def identity(self) -> str:
        """Text that is the same for the same store only: the key of whatever is remembered about it."""
        if not self.endpoint:
            return str(self)
        return f"{self} at {redacted(self.endpoint).rstrip('/')}"

    def __str__(self) -> str:
        if not self.remote:
            return self.path
        below = f"/{self.path}" if self.path else ""
        return f"{_SCHEMES[self.kind]}://{self.container}{below}"


def _file_path(text: str) -> Path:
    parts = urlsplit(text)
    if parts.netloc not in {"", "localhost"} or not parts.path.strip("/"):
        raise ConfigurationError(f"{redacted(text)} cannot be the store", expected="file:/// and an absolute path")
    return Path(unquote(parts.path))
