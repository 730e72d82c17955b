from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from asynccache.errors import ConfigurationError
from asynccache.store.local import LocalStore
from asynccache.store.open import StoreOptions, open_store
from asynccache.store.s3 import S3Store


def test_paths_and_file_urls_are_local_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for root, path in [
        (str(tmp_path / "a"), tmp_path / "a"),
        ("~/b", tmp_path / "b"),
        ("c/d", tmp_path / "c/d"),
        ("with:colon", tmp_path / "with:colon"),
        ((tmp_path / "e f%").as_uri(), tmp_path / "e f%"),
        (f"file://localhost{tmp_path}", tmp_path),
    ]:
        store = open_store(root)
        assert isinstance(store, LocalStore)
        assert store.root == path
        assert store.address == str(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("root", "address"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("s3://bucket/pre/fix//", "s3://bucket/pre/fix"),
        ("S3://bucket/a%20b", "s3://bucket/a%20b"),
    ],
)
def test_s3_roots_are_s3_stores(root: str, address: str) -> None:
    store = open_store(root, StoreOptions(endpoint_url="http://127.0.0.1:1"))
    assert isinstance(store, S3Store)
    assert store.address == address


@pytest.mark.parametrize(
    ("root", "words"),
    [
        ("az://container/prefix", "Azure Blob Storage is not supported in this version"),
        ("azure://container/prefix", "Azure Blob Storage is not supported in this version"),
        ("gs://bucket/prefix", "Google Cloud Storage is not supported in this version"),
        ("http://host/x", "found the scheme http://"),
        ("ftp://host/x", "found the scheme ftp://"),
        ("file://host/x", "expected file:/// and an absolute path"),
        ("file:///", "expected file:/// and an absolute path"),
        ("s3://", "expected s3://bucket/prefix"),
        ("s3:///prefix", "expected s3://bucket/prefix"),
        ("", "is empty"),
    ],
)
def test_other_roots_are_refused_and_what_is_supported_is_named(root: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_store(root)
    assert words in str(caught.value)


def test_credentials_in_a_root_are_refused_and_not_repeated() -> None:
    for root in ("s3://AKIA:secret@bucket/prefix", "gs://me:secret@bucket"):
        with pytest.raises(ConfigurationError) as caught:
            open_store(root)
        assert "secret" not in str(caught.value)


def test_a_local_store_does_not_load_the_cloud_client() -> None:
    code = (
        "import sys, asynccache.store.open as o; o.open_store('/tmp/x');"
        " print([m for m in sys.modules if m.split('.')[0] in ('aiobotocore', 'botocore', 'aiohttp')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
