"""Receipts survive being written down, and what is none is refused."""

from __future__ import annotations

import json

import pytest

from asynccache.archive import Receipt
from asynccache.errors import ArchiveError
from asynccache.model.digest import Digests
from asynccache.model.package import Format

RECEIPT = Receipt(
    source=Digests(md5="0" * 32, sha256="1" * 64, size=5),
    source_format=Format.TAR_BZ2,
    derived=Digests(md5="2" * 32, sha256="3" * 64, size=6),
    derived_format=Format.CONDA,
    level=3,
    tool="asynccache 1.2.3",
    backends=("bz2 (standard library)", "libzstd 1.5.7"),
    members=7,
    unpacked_bytes=8,
    verified=True,
)


def test_receipt_survives_json() -> None:
    assert Receipt.from_json(RECEIPT.to_json()) == RECEIPT
    assert Receipt.from_document(RECEIPT.as_document()) == RECEIPT


def test_receipt_names_both_archives() -> None:
    document = json.loads(RECEIPT.to_json())
    assert document["source"] == {"format": ".tar.bz2", "size": 5, "md5": "0" * 32, "sha256": "1" * 64}
    assert document["derived"]["format"] == ".conda"
    assert document["version"] == 1


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'"text"', b'{"version": 2}'])
def test_what_is_no_receipt_is_refused(text: bytes) -> None:
    with pytest.raises(ArchiveError, match="receipt"):
        Receipt.from_json(text)


@pytest.mark.parametrize("field", sorted(RECEIPT.as_document()))
def test_receipt_without_a_field_is_refused(field: str) -> None:
    document = RECEIPT.as_document()
    del document[field]
    with pytest.raises(ArchiveError, match="malformed"):
        Receipt.from_document(document)


@pytest.mark.parametrize(("field", "value"), [("level", "x"), ("source", None), ("derived", {"format": ".rpm"})])
def test_receipt_with_a_wrong_value_is_refused(field: str, value: object) -> None:
    with pytest.raises(ArchiveError, match="malformed"):
        Receipt.from_document({**RECEIPT.as_document(), field: value})


def test_only_true_is_verified() -> None:
    assert not Receipt.from_document({**RECEIPT.as_document(), "verified": "no"}).verified
