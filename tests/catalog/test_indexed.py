"""The index says exactly what the manifest says, whoever wrote it, and costs no more than one pass."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynccache.catalog.index import CatalogIndex
from asynccache.catalog.indexed import IndexedManifest
from asynccache.catalog.local import LocalManifest
from asynccache.errors import IntegrityError
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from tests.catalog.test_local import environment
from tests.support.effort import tries

HEX = st.integers(0, 30).map(lambda n: f"{n:040x}")
IDS = st.tuples(HEX, HEX).map(list)
WORD = st.from_regex(r"\A[a-z]{1,6}/[a-z0-9]{1,4}\Z")
DOCUMENT = st.builds(
    lambda text, extra: {**environment(1).as_document(), "resolved_by": text, "later addition": extra},
    st.text(max_size=8).filter(str.isprintable),
    st.recursive(st.none() | st.text(max_size=5), lambda s: st.lists(s, max_size=3), max_leaves=5),
)
MANIFESTS = st.fixed_dictionaries(
    {
        "unknown": st.integers(),
        "mappings": st.dictionaries(st.just("Flow/1/start"), IDS, max_size=1),
        "mutable_aliases": st.dictionaries(WORD.map(lambda w: w.split("/")[0] + "/latest"), IDS, max_size=3),
        "aliases": st.dictionaries(WORD, IDS, max_size=3),
        "version": st.sampled_from([1, "1"]),
        "environments": st.dictionaries(
            st.sampled_from(["linux-64", "osx-arm64"]),
            st.dictionaries(HEX, st.dictionaries(HEX, DOCUMENT, max_size=3), max_size=3),
        ),
    }
)


def _indexed(directory: Path, data: bytes) -> IndexedManifest:
    path = directory / "conda_v2.cnd"
    path.write_bytes(data)
    return IndexedManifest(path, CatalogIndex(directory / "index.sqlite"))


@settings(max_examples=tries(25, 40), deadline=None)
@given(MANIFESTS, st.booleans(), st.sampled_from([None, 1]), st.data())
def test_what_is_read_through_the_index_is_what_the_manifest_says(
    tmp_path_factory: Any, document: dict[str, Any], ascii_only: bool, indent: int | None, data: st.DataObject
) -> None:
    for requests in document["environments"].values():
        for known in requests.values():
            if known and data.draw(st.booleans()):
                known["_default"] = next(iter(known))
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    try:
        text.decode()
    except UnicodeDecodeError:
        return
    indexed = _indexed(tmp_path_factory.mktemp("m"), text)
    said: dict[EnvID, ResolvedEnvironment] = {}
    for arch, requests in document["environments"].items():
        for req_id, known in requests.items():
            parsed = {
                full_id: ResolvedEnvironment.from_document(EnvID(req_id, full_id, arch), found)
                for full_id, found in known.items()
                if full_id != "_default"
            }
            said |= {environment.id: environment for environment in parsed.values()}
            default = indexed.get(EnvID(req_id, "_default", arch))
            assert default == (parsed[known["_default"]] if "_default" in known else None)
    assert {s.id for s in indexed.summaries()} == set(said)
    for env_id, environment_said in said.items():
        assert indexed.get(env_id) == environment_said
    for section, kind in (("mappings", "pathspec"), ("mutable_aliases", "generic"), ("aliases", "generic")):
        for stored, ids in document[section].items():
            assert indexed.resolve(Alias(kind, stored)) == tuple(ids)  # type: ignore[arg-type]
    assert indexed.known_names() >= {str(Alias("generic", s)) for s in document["mutable_aliases"]}


def test_a_change_by_anybody_is_seen_at_once(tmp_path: Path) -> None:
    path = tmp_path / "conda_v2.cnd"
    indexed = IndexedManifest(path, CatalogIndex(tmp_path / "i.sqlite"))
    assert indexed.summaries() == []
    for number in (1, 2, 3):
        LocalManifest(path).update(lambda m, n=number: m.add(environment(n)))  # type: ignore[misc]
        assert len(indexed.summaries()) == number
    path.unlink()
    assert indexed.summaries() == []


def test_a_damaged_index_is_made_again(tmp_path: Path) -> None:
    LocalManifest(tmp_path / "conda_v2.cnd").update(lambda m: m.add(environment(1), default=True))
    index = tmp_path / "i.sqlite"
    indexed = IndexedManifest(tmp_path / "conda_v2.cnd", CatalogIndex(index))
    assert indexed.get(environment(1).id) == environment(1)
    index.write_bytes(b"no database" * 500)
    assert indexed.get(environment(1).id) == environment(1)
    assert indexed.defaults() == {environment(1).id}


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"version": 2}', b'{"version": 1} x', b"\xff", b'{"version": 1, "environments": []}']
)
def test_a_damaged_manifest_is_told_and_left_where_it_is(tmp_path: Path, data: bytes) -> None:
    indexed = _indexed(tmp_path, data)
    with pytest.raises(IntegrityError, match=r"conda_v2\.cnd"):
        indexed.summaries()
    assert indexed.path.read_bytes() == data


def test_an_environment_whose_document_is_malformed_does_not_hide_the_others(tmp_path: Path) -> None:
    good = environment(1)
    document = {
        "version": 1,
        "environments": {"linux-64": {good.id.req_id: {good.id.full_id: good.as_document(), "f" * 40: {"deps": []}}}},
    }
    indexed = _indexed(tmp_path, json.dumps(document).encode())
    errors = {s.id.full_id: s.error for s in indexed.summaries()}
    assert errors[good.id.full_id] == ""
    assert "malformed" in errors["f" * 40]
    assert indexed.get(good.id) == good
