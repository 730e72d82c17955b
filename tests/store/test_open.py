from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import ConfigurationError
from asynccache.model.root import StoreRoot
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


@pytest.mark.parametrize(
    ("root", "words"),
    [
        (StoreRoot.parse("az://container/prefix"), "Azure Blob Storage is not supported in this version"),
        (StoreRoot.parse("container/prefix", datastore="azure"), "so az://container/prefix cannot be the store"),
        (StoreRoot.parse("gs://bucket/prefix"), "Google Cloud Storage is not supported in this version"),
    ],
)
def test_what_is_not_supported_yet_is_refused_and_makes_no_directory(
    root: StoreRoot, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="expected a directory or s3://bucket/prefix") as caught:
        open_store(root)
    assert words in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_local_store_does_not_load_the_cloud_client() -> None:
    code = (
        "import sys, asynccache.store.open as o; from asynccache.model.root import StoreRoot;"
        " o.open_store(StoreRoot.parse('/tmp/x'));"
        " print([m for m in sys.modules if m.split('.')[0] in ('aiobotocore', 'botocore', 'aiohttp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
