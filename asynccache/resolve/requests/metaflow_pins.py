"""What Metaflow itself needs in an environment, by the datastore that it works with (contract, section 1.2.1 c)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from asynccache.errors import UsageError
from asynccache.node.store_kinds import DATASTORES, KINDS

_EVERYWHERE: Final = {"requests": ">=2.21.0"}
# Packages with different names on PyPI and on conda.
_PYPI_NAMES: Final = {"ray-default": "ray"}


def metaflow_pins(datastore: str) -> dict[str, str]:
    """Return conda packages and their constraints.

    Args:
        datastore: `local`, `s3`, `azure` or `gs`.

    Raises:
        UsageError: No such datastore.
    """
    if datastore not in DATASTORES:
        raise UsageError("a datastore has an unknown type", expected=", ".join(DATASTORES), found=repr(datastore))
    return {**_EVERYWHERE, **(KINDS[datastore].packages if datastore in KINDS else {})}


def pypi_pins(pins: Mapping[str, str]) -> dict[str, str]:
    """Return pins under their PyPI names.

    >>> pypi_pins({"conda-forge::ray-default": ">=2"})
    {'ray': '>=2'}
    """
    names = {name: name.split("::")[1] if "::" in name else name for name in pins}
    return {_PYPI_NAMES.get(names[name], names[name]): constraint for name, constraint in pins.items()}
