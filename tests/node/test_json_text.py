"""Nothing in JSON can end what reads it."""

import pytest

from asynccache.node.json_text import read_json, read_json_at


@pytest.mark.parametrize("data", [b"[" * 200_000, b'{"a":' * 200_000, b"\xff", b"", b"[1,"], ids=lambda d: repr(d[:6]))
def test_what_cannot_be_read_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_json(data)
    with pytest.raises(ValueError, match=r"."):
        read_json_at(data.decode("latin-1"), 0)


def test_what_can_be_read_is_the_value_and_where_it_ends() -> None:
    assert read_json(b'{"a": [1]}') == {"a": [1]}
    assert read_json_at("x[1, 2]y", 1) == ([1, 2], 7)
