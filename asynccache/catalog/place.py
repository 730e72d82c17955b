"""Where this machine keeps what it knows about environments."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from asynccache.config import Settings

DATASTORE_NAME: Final = ".metaflow"


def datastore_directory(settings: Settings, start_from: Path | None = None) -> Path:
    """Return Metaflow's local datastore (contract, section 2.3): as set, otherwise the nearest one, otherwise one to be
    created.

    Args:
        settings: All settings.
        start_from: Directory from which to search upwards; None for the current one.
    """
    if settings.datastore_root is not None:
        return settings.datastore_root / DATASTORE_NAME
    start = (start_from or Path.cwd()).resolve()
    for directory in (start, *start.parents):
        if (directory / DATASTORE_NAME).is_dir():
            return directory / DATASTORE_NAME
    return start / DATASTORE_NAME


def manifest_path(settings: Settings, start_from: Path | None = None) -> Path:
    """Return the path of the local manifest."""
    return datastore_directory(settings, start_from) / settings.manifest_name


def index_path(settings: Settings, source: str) -> Path:
    """Return the path of the index of a manifest or a store, which can be removed at any time.

    Args:
        settings: All settings.
        source: Absolute path of the manifest, or the store's address and directory.
    """
    name = hashlib.sha256(source.encode()).hexdigest()[:32]
    return settings.cache_dir / "catalog" / f"{name}.sqlite"
