"""Aliases are read as the contract's appendix A.4 lists them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.alias import Alias


@pytest.mark.parametrize(
    ("text", "kind", "stored", "mutable"),
    [
        ("foo", "generic", "foo/latest", True),
        ("foo:v1", "generic", "foo/v1", False),
        ("a/b/c", "generic", "a/b/c/latest", True),
        ("a/b/c:stable", "generic", "a/b/c/stable", True),
        ("a/b/c:candidate", "generic", "a/b/c/candidate", True),
        ("a/b:x-y_z", "generic", "a/b/x-y_z", False),
        ("a//b", "generic", "a//b/latest", True),
        ("a:", "generic", "a/", False),
        ("x" * 40, "generic", "x" * 40 + "/latest", True),
        ("step:Flow/1/start", "pathspec", "Flow/1/start", False),
        ("step:Flow/1/start/3", "pathspec", "Flow/1/start", False),
        ("a" * 40 + ":" + "b" * 40, "both-id", "a" * 40 + ":" + "b" * 40, False),
    ],
)
def test_an_alias_is_stored_as_other_readers_look_for_it(text: str, kind: str, stored: str, mutable: bool) -> None:
    alias = Alias.parse(text)
    assert (alias.kind, alias.stored, alias.mutable) == (kind, stored, mutable)


@pytest.mark.parametrize(
    "text", ["0" * 40, "A/b", "/a", "a/", "a:B", "a:b:c", "a b", "a.b", "step:Flow/1", "step:", "", ":", ":v1", "ä"]
)
def test_what_is_no_alias_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        Alias.parse(text)


def test_a_full_id_is_accepted_where_only_a_look_up_is_meant() -> None:
    assert Alias.parse("0" * 40, full_ids=True).kind == "full-id"


@given(st.from_regex(r"\A[a-z0-9_-]{1,5}(/[a-z0-9_-]{1,5}){0,2}(:[a-z0-9_-]{1,5})?\Z"))
def test_an_alias_that_is_printed_reads_back_as_itself(text: str) -> None:
    alias = Alias.parse(text)
    assert Alias.parse(str(alias)) == alias
