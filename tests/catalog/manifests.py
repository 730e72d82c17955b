"""What a local manifest says to those who read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from asynccache.catalog.index import CatalogIndex
from asynccache.catalog.indexed import IndexedManifest
from asynccache.catalog.local import LocalManifest, Manifest
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment


def reading(path: Path) -> IndexedManifest:
    """Return a reader of a manifest; its index lies in a directory beside it."""
    return IndexedManifest(path, CatalogIndex(path.parent / "index" / "manifest.sqlite"))


def holding(
    directory: Path, *environments: ResolvedEnvironment, names: Mapping[str, tuple[str, str]] | None = None
) -> IndexedManifest:
    """Return a reader of a new manifest that holds environments, as defaults, and names."""

    def change(manifest: Manifest) -> None:
        for environment in environments:
            manifest.add(environment, default=True)
        for name, ids in (names or {}).items():
            manifest.assign(Alias.parse(name), ids)

    path = directory / "conda_v2.cnd"
    LocalManifest(path).update(change)
    return reading(path)
