"""Ids: what they depend on and what is refused; tests/compat/test_vectors.py compares them with other writers'."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.identity import EnvID, Request

ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
TAGGED = st.dictionaries(st.sampled_from(["conda", "pypi", "npconda", "sys"]), st.lists(ASCII, max_size=4), max_size=4)


@given(TAGGED, TAGGED, st.randoms())
def test_the_order_in_which_a_request_is_written_does_not_matter(
    deps: dict[str, list[str]], sources: dict[str, list[str]], shuffler: Any
) -> None:
    mixed = {category: list(values) for category, values in deps.items()}
    for values in mixed.values():
        shuffler.shuffle(values)
    assert Request(mixed, sources).req_id == Request(deps, sources).req_id


def test_text_that_is_not_ascii_is_refused_before_it_is_hashed() -> None:
    with pytest.raises(UsageError, match="must be ASCII"):
        _ = Request({"conda": ["pandäs==1"]}).req_id


@pytest.mark.parametrize(("req", "full"), [("abc", "0" * 40), ("0" * 40, "xyz"), ("0" * 40, "_unknown")])
def test_malformed_ids_are_refused(req: str, full: str) -> None:
    with pytest.raises(UsageError, match="40 hexadecimal digits"):
        EnvID(req, full, "linux-64")


def test_an_environment_is_named_after_its_ids() -> None:
    env = EnvID("a" * 40, "b" * 40, "linux-64")
    assert env.name == f"metaflow_{'a' * 40}_{'b' * 40}"
    assert env.as_list() == ["a" * 40, "b" * 40, "linux-64"]
