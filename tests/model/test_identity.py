"""Ids are those that every other reader and writer of the cache computes."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.errors import UsageError
from asynccache.model.identity import EnvID, Request, co_resolved_full_id, full_id

VECTORS = json.loads((Path(__file__).resolve().parents[1] / "compat" / "vectors.json").read_text("utf-8"))
Vector = dict[str, Any]
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
TAGGED = st.dictionaries(st.sampled_from(["conda", "pypi", "npconda", "sys"]), st.lists(ASCII, max_size=4), max_size=4)


def _entries(texts: list[str]) -> list[tuple[str, str | None]]:
    return [(name, None if digest == "None" else digest) for name, _, digest in (t.rpartition("#") for t in texts)]


@pytest.mark.parametrize("vector", VECTORS["req"], ids=lambda v: v["id"])
def test_a_request_has_the_id_of_the_contract(vector: Vector) -> None:
    request = Request(vector["deps"], vector["sources"], vector["extras"])
    assert request.req_id == vector["req_id"]
    assert request.environment_type == vector["type_from_deps"]


@pytest.mark.parametrize("vector", [v for v in VECTORS["full"] if "arch" in v], ids=lambda v: v["id"])
def test_an_environment_has_the_id_of_the_contract(vector: Vector) -> None:
    entries = _entries(vector["entries_any_order"])
    assert full_id(entries, vector["arch"], vector["unique_keys"]) == vector["full_id"]
    assert full_id(reversed(entries), vector["arch"], vector["unique_keys"]) == vector["full_id"]


@pytest.mark.parametrize("vector", [v for v in VECTORS["full"] if "co_resolved" in v], ids=lambda v: v["id"])
def test_environments_resolved_together_have_the_common_id_of_the_contract(vector: Vector) -> None:
    by_arch = {arch: _entries(texts) for arch, texts in vector["co_resolved"].items()}
    assert co_resolved_full_id(by_arch) == vector["full_id"]
    assert sorted(by_arch) == vector["resolved_archs"]


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
