from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import ConfigurationError
from asynccache.model.root import StoreRoot
from asynccache.store.azure import AzureStore
from asynccache.store.google import GoogleStore
from asynccache.store.local import LocalStore
from asynccache.store.open import open_store
from asynccache.store.s3 import S3Store


def test_a_directory_is_a_local_store_and_is_not_made_before_it_is_written(tmp_path: Path) -> None:
    root = StoreRoot.local(tmp_path / "a")
    store = open_store(root)
    assert isinstance(store, LocalStore)
    assert store.root == root
    assert store.address == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_an_s3_root_is_an_s3_store() -> None:
    root = StoreRoot.parse("s3://bucket/pre/fix", endpoint="http://127.0.0.1:1")
    store = open_store(root)
    assert isinstance(store, S3Store)
    assert store.root == root
    assert store.address == "s3://bucket/pre/fix"


def test_an_azure_root_is_an_azure_store_of_the_account_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_KEY", "a2V5")
    root = StoreRoot.parse("container/pre/fix", datastore="azure", endpoint="https://team.blob.core.windows.net")
    store = open_store(root)
    assert isinstance(store, AzureStore)
    assert store.address == "az://container/pre/fix"
    assert store.client.endpoint == "team.blob.core.windows.net"
    with pytest.raises(ConfigurationError, match="nothing says which account of Azure holds az://container/prefix"):
        open_store(StoreRoot.parse("az://container/prefix"))


def test_a_google_root_is_a_google_store() -> None:
    store = open_store(StoreRoot.parse("gs://bucket/pre/fix", datastore="gs"))
    assert isinstance(store, GoogleStore)
    assert (store.address, store.client.endpoint) == ("gs://bucket/pre/fix", "storage.googleapis.com")


@pytest.mark.parametrize(
    ("root", "loaded"),
    [
        ("/x", ""), ("s3://b/x", "aiobotocore asynccache.store.s3"), ("az://b/x", "asynccache.store.azure"),
        ("gs://b/x", "asynccache.store.google"),
    ],
)  # fmt: skip
def test_opening_a_store_loads_no_other_and_a_local_one_no_client_at_all(root: str, loaded: str) -> None:
    code = (
        "import sys, asynccache.store.open as o; from asynccache.model.root import StoreRoot;"
        f" o.open_store(StoreRoot.parse({root!r}, endpoint='http://127.0.0.1:1/team?sig=x'));"
        " watched = {'aiobotocore', 'aiohttp', 'azure.identity', 'boto3', 'google.auth', 'obstore', 'requests'};"
        " watched |= {'asynccache.store.' + each for each in ('azure', 'google', 'http_client', 's3')};"
        " print(*sorted(watched & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    common = "" if root == "/x" else "aiohttp" if root.startswith("s3") else "aiohttp asynccache.store.http_client"
    assert set(done.stdout.split()) == set(f"{loaded} {common}".split())
