"""A kind of store is its module and one record: what else there is works with one that nobody knew before."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from asynccache.boot.ranges import Root, Service
from asynccache.config import Settings
from asynccache.errors import AsyncCacheError, ConfigurationError
from asynccache.metaflow.node_manifest import node_manifest
from asynccache.model.root import StoreRoot
from asynccache.node.ranges import LocalRanges, Ranges
from asynccache.node.store_kinds import DATASTORES, KINDS, StoreKind, kind_of
from asynccache.store.memory import MemoryStore
from asynccache.store.open import open_store
from asynccache.store.options import StoreOptions, store_options


class ShelfStore(MemoryStore):
    """Objects of a kind that no module of the library names."""

    def __init__(self, root: StoreRoot, options: StoreOptions) -> None:
        super().__init__(str(root))
        self.given = (root, options.provider(root.kind))


class ShelfService(Service):
    """The same on a bare node."""

    def object(self, container: str, key: str) -> Ranges:
        """See `Service.object`."""
        return LocalRanges(f"/{container}/{key}")

    def variables(self) -> dict[str, str]:
        """See `Service.variables`."""
        return {"SHELF": self.endpoint_url or "", "PROVIDER": self.provider or ""}


SHELF = StoreKind(
    "shelf",
    ("shelf", "bookshelf"),
    "board",
    store="shelf:ShelfStore",
    reader="shelf:ShelfService",
    endpoint="google_endpoint",
    provider="google_client_provider",
    cloud="SHELF",
    built_in="shelf-default",
)


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> StoreKind:
    for room, cls in (("store", ShelfStore), ("boot", ShelfService)):
        module: Any = ModuleType(f"asynccache.{room}.shelf")
        setattr(module, cls.__name__, cls)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(KINDS, SHELF.name, SHELF)
    return SHELF


async def test_a_record_is_all_that_opens_addresses_and_configures_a_kind_of_store(shelf: StoreKind) -> None:
    settings = Settings(
        store="bookshelf://board/pre/fix", google_endpoint="http://127.0.0.1:1", google_client_provider="team"
    )
    root = settings.root
    assert (str(root), root.kind, root.remote) == ("shelf://board/pre/fix", shelf.name, True)
    opened = open_store(root, store_options(settings))
    assert isinstance(opened, ShelfStore)
    assert opened.given == (root, "team")
    assert root.endpoint == "http://127.0.0.1:1"
    with pytest.raises(
        ConfigurationError, match=r"gs://bucket/prefix or shelf://board/prefix, found the scheme ftp://"
    ):
        settings.other_root("ftp://x/y")


async def test_a_node_reaches_it_as_the_manifest_says(shelf: StoreKind, tmp_path: Path) -> None:
    settings = Settings(
        store="shelf://board/pre", google_endpoint="http://127.0.0.1:1/?sig=x", google_client_provider="team"
    )
    told: Any = await node_manifest(settings, {})
    assert (told["root"], told["endpoint_url"]) == ("shelf://board/pre", "http://127.0.0.1:1/")
    assert told[shelf.name] == {"provider": "team"}
    root = Root(told["root"], told["endpoint_url"], told[shelf.name])
    assert root.object("a/b").name == "/board/pre/a/b"
    assert root.variables() == {"SHELF": "http://127.0.0.1:1/", "PROVIDER": "team"}


def test_a_node_that_cannot_read_a_kind_says_which_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, SHELF.name, SHELF._replace(reader=""))
    with pytest.raises(AsyncCacheError, match=r"expected a directory, s3://, az://, gs:// or http\(s\)://"):
        Root("shelf://board/pre")


def test_schemes_and_names_are_those_of_one_kind_each() -> None:
    schemes = [scheme for kind in KINDS.values() for scheme in kind.schemes]
    assert len(schemes) == len(set(schemes))
    assert all(kind_of(f"{scheme.upper()}://a/b") == kind for kind in KINDS.values() for scheme in kind.schemes)
    assert kind_of("/s3") is None
    assert len(set(DATASTORES)) == 1 + len(KINDS)


@pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
def test_each_record_names_classes_and_settings_that_are_there(kind: StoreKind) -> None:
    settings = Settings()
    assert kind.opened_by().__name__.endswith("Store")
    assert issubclass(kind.read_by(), Service)
    assert all(hasattr(settings, name) for name in (kind.endpoint, kind.provider, kind.retries) if name)
