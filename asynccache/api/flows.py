"""What Metaflow's front needs beside the verbs. It ships with this version, so nothing is promised about these names.

As in `asynccache.api`, a name is imported when it is first asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asynccache.catalog.local import Manifest
    from asynccache.hydrate.kernel import write_kernel
    from asynccache.hydrate.prefix import environments_directory
    from asynccache.ops.resolve_steps import missing_pins
    from asynccache.resolve.formats.config_parsers import req_parser, toml_parser, yml_parser
    from asynccache.resolve.formats.registry import read_requirements
    from asynccache.resolve.formats.text import read_text
    from asynccache.resolve.requirement_text import canonical_version, merge_constraints, packages_of
    from asynccache.resolve.requirements import Requirements

__all__ = [
    "Manifest",
    "Requirements",
    "canonical_version",
    "environments_directory",
    "merge_constraints",
    "missing_pins",
    "packages_of",
    "read_requirements",
    "read_text",
    "req_parser",
    "toml_parser",
    "write_kernel",
    "yml_parser",
]
_PLACES: Final = {
    "catalog.local": ("Manifest",),
    "hydrate.kernel": ("write_kernel",),
    "hydrate.prefix": ("environments_directory",),
    "ops.resolve_steps": ("missing_pins",),
    "resolve.formats.config_parsers": ("req_parser", "toml_parser", "yml_parser"),
    "resolve.formats.registry": ("read_requirements",),
    "resolve.formats.text": ("read_text",),
    "resolve.requirement_text": ("canonical_version", "merge_constraints", "packages_of"),
    "resolve.requirements": ("Requirements",),
}
_MODULES: Final = {name: f"asynccache.{module}" for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
