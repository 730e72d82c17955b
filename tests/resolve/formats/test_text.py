from __future__ import annotations

import codecs
import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from asynccache.errors import ObjectNotFoundError, UsageError
from asynccache.resolve.formats.text import read_text


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_says_how_a_file_is_encoded(mark: bytes, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "requirements.txt"
    path.write_bytes(mark + "six==1.0  # größer\n".encode(encoding))
    assert read_text(str(path)) == "six==1.0  # größer\n"


def test_standard_input_is_read_as_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(codecs.BOM_UTF16_LE + "a".encode("utf-16-le"))))
    assert read_text("-") == "a"


def test_what_is_no_text_or_not_there_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "r.txt"
    with pytest.raises(ObjectNotFoundError, match=r"r\.txt cannot be read \(No such file.*\); check the path"):
        read_text(str(path))
    path.write_bytes("größer".encode("latin-1"))
    with pytest.raises(UsageError, match=r"r\.txt cannot be read \(it is not UTF-8 text\); write it again as UTF-8"):
        read_text(str(path))
    path.write_bytes(codecs.BOM_UTF16_LE + b"\x00\xd8a")
    with pytest.raises(UsageError, match="it is not UTF-16-LE text"):
        read_text(str(path))
