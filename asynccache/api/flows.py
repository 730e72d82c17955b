"""What the Metaflow extension needs besides the verbs. It ships with this version, so these names may change at any
time.

As in `asynccache.api`, a name is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from asynccache.catalog.local import Manifest
    from asynccache.hydrate.kernel import write_kernel
    from asynccache.hydrate.other_prefix import other_prefix
    from asynccache.hydrate.prefix import environments_directory
    from asynccache.model.identity import full_id
    from asynccache.ops.archive_files import archive_files
    from asynccache.ops.resolve_steps import missing_pins
    from asynccache.resolve.conda.find_programs import find_program
    from asynccache.resolve.formats.config_parsers import (
        parse_req_value,
        parse_toml_value,
        parse_yml_value,
        req_parser,
        toml_parser,
        yml_parser,
    )
    from asynccache.resolve.formats.registry import read_requirements
    from asynccache.resolve.formats.text import read_text
    from asynccache.resolve.requests.requirement_text import canonical_version, merge_constraints, packages_of
    from asynccache.resolve.requests.requirements import Requirements
    from asynccache.resolve.requests.sources import channel_or_url
    from asynccache.store.layout import key_of

__all__ = [
    "Manifest",
    "Requirements",
    "archive_files",
    "canonical_version",
    "channel_or_url",
    "environments_directory",
    "find_program",
    "full_id",
    "key_of",
    "merge_constraints",
    "missing_pins",
    "other_prefix",
    "packages_of",
    "parse_req_value",
    "parse_toml_value",
    "parse_yml_value",
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
    "hydrate.other_prefix": ("other_prefix",),
    "hydrate.prefix": ("environments_directory",),
    "model.identity": ("full_id",),
    "ops.archive_files": ("archive_files",),
    "ops.resolve_steps": ("missing_pins",),
    "resolve.conda.find_programs": ("find_program",),
    "resolve.formats.config_parsers": (
        "parse_req_value",
        "parse_toml_value",
        "parse_yml_value",
        "req_parser",
        "toml_parser",
        "yml_parser",
    ),
    "resolve.formats.registry": ("read_requirements",),
    "resolve.formats.text": ("read_text",),
    "resolve.requests.sources": ("channel_or_url",),
    "resolve.requests.requirement_text": ("canonical_version", "merge_constraints", "packages_of"),
    "resolve.requests.requirements": ("Requirements",),
    "store.layout": ("key_of",),
}
_MODULES: Final = {name: f"asynccache.{module}" for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)
