"""The architecture of this machine under the name that other extensions import."""

from __future__ import annotations

from asynccache.boot.manifest import this_architecture


def arch_id() -> str:
    """Return the conda platform of this machine."""
    return this_architecture()
