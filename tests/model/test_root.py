from __future__ import annotations

from pathlib import Path

import pytest

from asynccache.errors import ConfigurationError
from asynccache.model.root import StoreRoot


def test_paths_and_file_urls_are_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for text, path in [
        (str(tmp_path / "a"), tmp_path / "a"),
        ("~/b", tmp_path / "b"),
        ("c/d", tmp_path / "c/d"),
        ("with:colon", tmp_path / "with:colon"),
        ((tmp_path / "e f%").as_uri(), tmp_path / "e f%"),
        (f"file://localhost{tmp_path}", tmp_path),
    ]:
        for datastore in (None, "local"):
            root = StoreRoot.parse(text, datastore=datastore)
            assert (root.kind, root.directory, root.remote) == ("local", path, False)
            assert str(root) == root.identity == str(path)


@pytest.mark.parametrize(
    ("text", "datastore", "kind", "shown"),
    [
        ("s3://bucket", None, "s3", "s3://bucket"),
        ("s3://bucket/", "s3", "s3", "s3://bucket"),
        ("s3://bucket/pre/fix//", None, "s3", "s3://bucket/pre/fix"),
        ("S3://bucket/a%20b", "s3", "s3", "s3://bucket/a%20b"),
        ("gs://bucket/prefix", "gs", "gs", "gs://bucket/prefix"),
        ("container/prefix", "azure", "azure", "az://container/prefix"),
        ("/container//prefix/", "azure", "azure", "az://container/prefix"),
        ("container", "azure", "azure", "az://container"),
        ("az://container/prefix", "azure", "azure", "az://container/prefix"),
        ("azure://container/prefix", None, "azure", "az://container/prefix"),
    ],
)
def test_roots_of_clouds_are_read_in_every_documented_form(
    text: str, datastore: str | None, kind: str, shown: str
) -> None:
    root = StoreRoot.parse(text, datastore=datastore)
    assert (root.kind, str(root), root.remote) == (kind, shown, True)
    assert StoreRoot.parse(str(root)) == root


@pytest.mark.parametrize(
    ("text", "datastore", "words"),
    [
        ("http://host/x", None, "found the scheme http://"),
        ("ftp://host/x", None, "found the scheme ftp://"),
        ("file://host/x", None, "expected file:/// and an absolute path"),
        ("file:///", None, "expected file:/// and an absolute path"),
        ("s3://", None, "expected s3://bucket/prefix"),
        ("s3:///prefix", None, "expected s3://bucket/prefix"),
        ("s3://bucket/a?b=c", None, "expected s3://bucket/prefix"),
        ("az:///prefix", None, "expected az://container/prefix"),
        ("", None, "is empty"),
        (" ", "s3", "expected s3://bucket/prefix"),
        ("/data/conda_env", "s3", "cannot be the root of the datastore s3: expected s3://bucket/prefix"),
        ("s3://bucket/x", "local", "cannot be the root of the datastore local: expected a directory"),
        ("s3://bucket/x", "azure", "cannot be the root of the datastore azure: expected container/prefix"),
        ("bucket/x", "gs", "cannot be the root of the datastore gs: expected gs://bucket/prefix"),
        ("https://host/x", "azure", "cannot be the root of the datastore azure: expected container/prefix"),
    ],
)
def test_other_roots_are_refused_and_what_is_right_is_named(text: str, datastore: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StoreRoot.parse(text, datastore=datastore)
    assert words in str(caught.value)


def test_credentials_are_refused_in_a_root_and_shown_nowhere() -> None:
    for text in ("s3://AKIA:secret@bucket/prefix", "gs://me:secret@bucket", "az://me:secret@container/x"):
        with pytest.raises(ConfigurationError) as caught:
            StoreRoot.parse(text)
        assert "secret" not in str(caught.value)
    root = StoreRoot.parse("s3://bucket", endpoint="https://me:secret@host")
    assert "secret" not in f"{root} {root!r} {root.identity}"


def test_the_same_bucket_on_two_servers_is_two_stores() -> None:
    one, other, amazon = (StoreRoot.parse("s3://b/x", endpoint=e) for e in ("http://h:1", "http://h:2", None))
    assert len({one.identity, other.identity, amazon.identity}) == 3
    assert amazon.identity == "s3://b/x"
    assert StoreRoot.parse("s3://b/x/", endpoint="http://h:1/").identity == one.identity
