"""Everything about each kind of store, except the module that implements it, in one table.

How its roots are written, which classes open it in the engine and read it on a bare node, and its settings: code that
depends on the kind of a store looks it up here (enforced by `tests/test_architecture.py`). Python 3.7, standard
library.
"""

from __future__ import annotations

import importlib
from typing import Any, Mapping, NamedTuple

LOCAL = "local"
"""The kind of a store that is a directory, and of the datastore that Metaflow has without any configuration."""


class StoreKind(NamedTuple):
    """One kind of store that other machines can read.

    Attributes:
        name: Metaflow's type of datastore; in capitals it is in names of its configuration (`CONDA_S3ROOT`).
        schemes: Schemes of addresses; the first one is written, all are read.
        container: The service's word for what holds the objects.
        store: `MODULE:CLASS` below `asynccache.store`, made of (root, options).
        reader: `MODULE:CLASS` below `asynccache.boot`, a `Service`; empty: bare nodes cannot read it.
        bare: Whether Metaflow writes its roots without a scheme.
        endpoint: Setting with the address of the service; empty if it has one address for all users.
        provider: Setting with the Metaflow plugin that provides credentials; empty if Metaflow has none.
        cloud: What Metaflow calls the cloud in the names of that plugin's variable and list.
        built_in: Metaflow's own plugin: credentials as the cloud's tools find them.
        retries: Setting with the number of tries in botocore's terms; empty for `attempts`.
        identity: Top-level module that finds credentials. Nodes need not have it, as they are passed a token.
        packages: conda package -> constraint: what Metaflow needs for this datastore (contract, section 1.2.1 c).
    """

    name: str
    schemes: tuple[str, ...]
    container: str
    store: str
    reader: str = ""
    bare: bool = False
    endpoint: str = ""
    provider: str = ""
    cloud: str = ""
    built_in: str = ""
    retries: str = ""
    identity: str = ""
    packages: Mapping[str, str] = {}

    @property
    def address_format(self) -> str:
        """How a root is written."""
        return f"{self.schemes[0]}://{self.container}/prefix"

    @property
    def metaflow_format(self) -> str:
        """How Metaflow writes a root."""
        return f"{self.container}/prefix" if self.bare else self.address_format

    def opened_by(self) -> Any:
        """Return the class of its stores."""
        return _loaded("store", self.store)

    def read_by(self) -> Any:
        """Return the class of its `Service` on a bare node."""
        return _loaded("boot", self.reader)


_KINDS = (
    StoreKind(
        "s3",
        ("s3",),
        "bucket",
        store="s3:S3Store",
        reader="s3:S3Service",
        endpoint="s3_endpoint_url",
        provider="s3_client_provider",
        cloud="AWS",
        built_in="boto3",
        retries="s3_client_retry_config",
        packages={"boto3": ">=1.14.0"},
    ),
    StoreKind(
        "azure",
        ("az", "azure"),
        "container",
        store="azure:AzureStore",
        reader="azure:AzureService",
        bare=True,
        endpoint="azure_endpoint",
        provider="azure_client_provider",
        cloud="AZURE",
        built_in="azure-default",
        identity="azure",
        packages={
            "azure-identity": ">=1.10.0",
            "azure-storage-blob": ">=12.12.0",
            "azure-keyvault-secrets": ">=4.7.0",
            "simple-azure-blob-downloader": ">=0.1.0",
        },
    ),
    StoreKind(
        "gs",
        ("gs",),
        "bucket",
        store="google:GoogleStore",
        reader="google:GoogleService",
        endpoint="google_endpoint",
        provider="google_client_provider",
        cloud="GCP",
        built_in="gcp-default",
        identity="google",
        packages={
            "google-cloud-storage": ">=2.5.0",
            "google-auth": ">=2.11.0",
            "google-cloud-secret-manager": ">=2.10.0",
            "simple-gcp-object-downloader": ">=0.1.0",
            "packaging": ">=24.0",
        },
    ),
)
KINDS = {kind.name: kind for kind in _KINDS}
"""Name -> kind: a new one is its module in `asynccache/store` and its record in `_KINDS`."""
DATASTORES = (LOCAL, *KINDS)
"""Metaflow's types of datastores whose roots can hold a cache."""


def scheme_of(address: str) -> str:
    """Return the scheme of an address in lower case; empty for a path."""
    scheme, mark, _rest = address.partition("://")
    return scheme.lower() if mark else ""


def kind_with(scheme: str) -> StoreKind | None:
    """Return the kind whose addresses have this scheme; None if there is none."""
    return next((kind for kind in KINDS.values() if scheme in kind.schemes), None)


def kind_of(address: str) -> StoreKind | None:
    """Return the kind of the store that an address is in; None if that is not a store that other machines can read.

    >>> kind_of("az://container/prefix").name, kind_of("/data"), kind_of("https://host/a")
    ('azure', None, None)
    """
    return kind_with(scheme_of(address))


def in_words(*texts: str) -> str:
    """Return alternatives as text for a sentence."""
    return " or ".join((", ".join(texts[:-1]), texts[-1]) if texts[:-1] else texts)


def _loaded(room: str, place: str) -> Any:
    module, _colon, name = place.partition(":")
    return getattr(importlib.import_module(f"asynccache.{room}.{module}"), name)
