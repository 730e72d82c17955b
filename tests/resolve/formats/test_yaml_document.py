from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.resolve.formats.yaml_document import parse_yaml
from asynccache.resolve.requests.source_position import SourcePosition

PLACE = SourcePosition("a.lock")


def test_scalars_stay_text_and_mappings_know_their_lines() -> None:
    document = parse_yaml(
        "# c\nversion: 1.10\nlist:\n- md5: 0123\n  size: 12\n- &x\n  md5: 1e10\n- *x\nnone: null\n", PLACE
    )
    assert document.text("version") == "1.10"
    entries = document.entries("list")
    assert [entry.text("md5") for entry in entries] == ["0123", "1e10", "1e10"]
    assert [entry.place.line for entry in entries] == [4, 6, 6]
    assert entries[0].number("size") == 12
    assert document.text("none") is None
    assert list(document) == ["version", "list", "none"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: 1\nb: 2\na: 3\n", "a.lock, line 3: `a` occurs twice in one mapping"),
        ("a: 1\n? [x]\n: 2\n", "a.lock, line 2: a key is malformed: expected a text, found a list"),
        ("a: *b\n", "a.lock, line 1: not a YAML document (nothing is called 'b')"),
        ("a: [1\n", "a.lock, line 2: not a YAML document"),
        (
            "a: 1\n---\nb: 2\n",
            "a.lock: the document is malformed: expected one mapping at its top, found a mapping, a map",
        ),
        ("", "a.lock: the document is malformed: expected one mapping at its top, found nothing"),
        ("- a\n", "a.lock: the document is malformed: expected one mapping at its top, found a list"),
        ("a: \x01", "a.lock: not a YAML document"),
        ("a: " + "[" * 65 + "]" * 65, "a.lock, line 1: the document is nested too deeply"),
    ],
)
def test_what_is_no_document_is_refused(text: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_yaml(text, PLACE)
    assert str(caught.value).startswith(error)


def test_merge_keys_are_merged_as_yaml_says() -> None:
    document = parse_yaml(
        "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\none:\n  <<: *x\n  b: 3\nboth: {c: 4, <<: [*y, *x]}\n", PLACE
    )
    one, both = document.entry("one"), document.entry("both")
    assert one is not None
    assert both is not None
    assert {key: one.text(key) for key in one} == {"a": "1", "b": "3"}
    assert {key: both.text(key) for key in both} == {"a": "1", "b": "2", "c": "4"}
    with pytest.raises(UsageError, match="line 2: what is merged with `<<` is malformed"):
        parse_yaml("a:\n  <<: text\n", PLACE)


def test_the_sign_of_merging_is_a_text_in_quotes_and_as_a_value() -> None:
    document = parse_yaml('a:\n  "<<": text\n  b: <<\n', PLACE).entry("a")
    assert document is not None
    assert (document.text("<<"), document.text("b")) == ("text", "<<")


def test_a_self_containing_document_ends() -> None:
    assert parse_yaml("a: &x [*x]\nb: 1\n", PLACE).text("b") == "1"


TEXTS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=10)
VALUES = st.recursive(TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_another_writers_document_is_read_as_written(value: dict[str, object]) -> None:
    for text in (
        yaml.safe_dump(value, default_flow_style=None, allow_unicode=True),
        json.dumps(value, ensure_ascii=False),
    ):
        document = parse_yaml(text, PLACE)
        assert set(document) == set(value)
        for key, part in value.items():
            if isinstance(part, str):
                assert document.text(key) == (None if part in {"", "~", "null", "Null", "NULL"} else part)
            elif isinstance(part, dict):
                entry = document.entry(key)
                assert entry is not None
                assert set(entry) == set(part)
