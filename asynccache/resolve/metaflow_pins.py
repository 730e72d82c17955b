"""What Metaflow itself needs in an environment, by the datastore that it works with (contract, section 1.2.1 c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asynccache.errors import UsageError

_LOCAL: Final = {"requests": ">=2.21.0"}
_PINS: Final[Mapping[str, Mapping[str, str]]] = {
    "local": _LOCAL,
    "s3": {**_LOCAL, "boto3": ">=1.14.0"},
    "azure": {
        **_LOCAL,
        "azure-identity": ">=1.10.0",
        "azure-storage-blob": ">=12.12.0",
        "azure-keyvault-secrets": ">=4.7.0",
        "simple-azure-blob-downloader": ">=0.1.0",
    },
    "gs": {
        **_LOCAL,
        "google-cloud-storage": ">=2.5.0",
        "google-auth": ">=2.11.0",
        "google-cloud-secret-manager": ">=2.10.0",
        "simple-gcp-object-downloader": ">=0.1.0",
        "packaging": ">=24.0",
    },
}
# Packages that PyPI knows by another name than conda does.
_PYPI_NAMES: Final = {"ray-default": "ray"}


def metaflow_pins(datastore: str) -> dict[str, str]:
    """Return conda packages and their constraints.

    Args:
        datastore: `local`, `s3`, `azure` or `gs`.

    Raises:
        UsageError: No such datastore.
    """
    if datastore not in _PINS:
        raise UsageError("a datastore has an unknown type", expected=", ".join(_PINS), found=repr(datastore))
    return dict(_PINS[datastore])


def pypi_pins(pins: Mapping[str, str]) -> dict[str, str]:
    """Return pins under the names that PyPI has for them.

    >>> pypi_pins({"conda-forge::ray-default": ">=2"})
    {'ray': '>=2'}
    """
    names = {name: name.rpartition("::")[2] for name in pins}
    return {_PYPI_NAMES.get(names[name], names[name]): constraint for name, constraint in pins.items()}
