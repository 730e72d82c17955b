"""Requirements and lock files in, packages out: one module a format, one a resolver."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asynccache.resolve.package_list import ListFormat, PackageList, read_package_list
    from asynccache.resolve.selection import Selection

__all__ = ["ListFormat", "PackageList", "Selection", "read_package_list"]
# Imported when asked for: the readers of lists bring parsers of YAML and versions, which most of this room need not.
_MODULES: Final = {
    "ListFormat": "package_list",
    "PackageList": "package_list",
    "Selection": "selection",
    "read_package_list": "package_list",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
