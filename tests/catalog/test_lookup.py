"""Environments are found here first, then in the store, by those whose resolutions are allowed."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from asynccache.catalog.aliases import Aliases
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.catalog.keys import CatalogKeys
from asynccache.catalog.lookup import Lookup, RemotePolicy
from asynccache.errors import ConfigurationError, ObjectNotFoundError, StoreError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID
from asynccache.store.memory import MemoryStore
from tests.catalog.manifests import holding, reading
from tests.catalog.test_local import environment
from tests.support.failing_store import FailingStore

REQ = environment(1).id.req_id


def _resolved(number: int, by: str, day: int) -> ResolvedEnvironment:
    env = environment(1)
    env_id = EnvID(REQ, f"{number:040x}", "linux-64")
    return replace(env, id=env_id, resolved_by=by, resolved_on=datetime(2026, 1, day))  # noqa: DTZ001


async def _store(*environments: ResolvedEnvironment) -> MemoryStore:
    store = MemoryStore()
    for env in environments:
        await EnvironmentDocuments(store).put(env)
    return store


async def _known(lookup: Lookup, text: str, arch: str = "linux-64") -> ResolvedEnvironment | None:
    _alias, ids = await lookup.named(text)
    return await lookup.by_id(EnvID(*ids, arch))


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        (":none:", None),
        (":any:", 3),
        (":username:", 1),
        ("ben", 2),
        ("ann, ben", 2),
        ("carl", 3),
        ("nobody", None),
        (":username:,carl", 3),
    ],
)
async def test_the_latest_resolution_of_an_allowed_user_is_taken(
    policy: str, found: int | None, tmp_path: Path
) -> None:
    store = await _store(_resolved(1, "ann", 1), _resolved(2, "ben", 2), _resolved(3, "carl (compatible with x:y)", 3))
    lookup = Lookup(
        reading(tmp_path / "conda_v2.cnd"), EnvironmentDocuments(store), policy=RemotePolicy.parse(policy, "ann")
    )
    environment_found = await lookup.by_request(REQ, "linux-64")
    assert (None if environment_found is None else int(environment_found.id.full_id, 16)) == found


async def test_this_machines_default_comes_before_anything_in_the_store(tmp_path: Path) -> None:
    store = await _store(_resolved(9, "ann", 9))
    local = holding(tmp_path, _resolved(1, "me", 1))
    lookup = Lookup(local, EnvironmentDocuments(store), policy=RemotePolicy(anyone=True))
    found = await lookup.by_request(REQ, "linux-64")
    assert found is not None
    assert found.resolved_by == "me"


async def test_a_store_that_fails_gives_no_older_environment_in_place_of_the_latest(tmp_path: Path) -> None:
    store = FailingStore()
    for env in (_resolved(1, "ann", 1), _resolved(2, "ann", 2)):
        await EnvironmentDocuments(store).put(env)
    lookup = Lookup(reading(tmp_path / "m.cnd"), EnvironmentDocuments(store), policy=RemotePolicy(anyone=True))
    store.failing = {CatalogKeys().document(_resolved(2, "ann", 2).id)}
    with pytest.raises(StoreError, match="cannot be read now"):
        await lookup.by_request(REQ, "linux-64")
    store.failing = set()
    found = await lookup.by_request(REQ, "linux-64")
    assert found is not None
    assert found.id.full_id == f"{2:040x}"


async def test_a_damaged_document_is_passed_over_and_said_so(tmp_path: Path) -> None:
    store = await _store(_resolved(1, "ann", 1), _resolved(2, "ann", 2))
    key = CatalogKeys().document(_resolved(2, "ann", 2).id)
    await store.put(key, b"{")
    said: list[str] = []
    lookup = Lookup(
        reading(tmp_path / "m.cnd"), EnvironmentDocuments(store), policy=RemotePolicy(anyone=True), say=said.append
    )
    found = await lookup.by_request(REQ, "linux-64")
    assert found is not None
    assert found.id.full_id == f"{1:040x}"
    assert len(said) == 1
    assert "is passed over, since it cannot be read" in said[0]


async def test_one_unreadable_document_does_not_hide_the_others() -> None:
    store = await _store(_resolved(1, "ann", 1))
    await store.put(f"envs/linux-64/{REQ}/{'f' * 40}/env", b"{")
    found, unreadable = await EnvironmentDocuments(store).of_request("linux-64", REQ)
    assert [e.resolved_by for e in found] == ["ann"]
    assert [i.full_id for i in unreadable] == ["f" * 40]


@pytest.mark.parametrize("text", ["", " ", ",", ":latest:", ":any:x", "ann,:foo:"])
def test_a_policy_that_makes_no_sense_lists_those_that_do(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"':none:', ':username:', ':any:'\] or to user names"):
        RemotePolicy.parse(text, "ann")


async def test_an_environment_is_found_by_name_by_ids_and_by_full_id(tmp_path: Path) -> None:
    env = _resolved(1, "ann", 1)
    store = await _store(env)
    await Aliases(store).assign(Alias.parse("team/env:v1"), (env.id.req_id, env.id.full_id))
    lookup = Lookup(reading(tmp_path / "conda_v2.cnd"), EnvironmentDocuments(store), Aliases(store))
    for text in ("team/env:v1", f"{env.id.req_id}:{env.id.full_id}", env.id.full_id):
        assert await _known(lookup, text) == env


async def test_a_step_is_asked_for_where_runs_are_known(tmp_path: Path) -> None:
    env = _resolved(1, "ann", 1)

    async def ids(pathspec: str) -> tuple[str, str] | None:
        return (env.id.req_id, env.id.full_id) if pathspec == "Flow/12/train" else None

    lookup = Lookup(reading(tmp_path / "conda_v2.cnd"), EnvironmentDocuments(await _store(env)), pathspecs=ids)
    assert await _known(lookup, "Flow/12/train") == env
    assert await _known(lookup, "step:Flow/12/train/3") == env


async def test_the_stores_answer_counts_for_names_that_move(tmp_path: Path) -> None:
    old, new = _resolved(1, "ann", 1), _resolved(2, "ann", 2)
    store = await _store(old, new)
    local = holding(tmp_path, names={"env:latest": (old.id.req_id, old.id.full_id)})
    await Aliases(store).assign(Alias.parse("env:latest"), (new.id.req_id, new.id.full_id))
    lookup = Lookup(local, EnvironmentDocuments(store), Aliases(store))
    assert await _known(lookup, "env") == new


async def test_an_unknown_name_suggests_near_ones(tmp_path: Path) -> None:
    env = _resolved(1, "ann", 1)
    store = await _store(env)
    await Aliases(store).assign(Alias.parse("team/training:v1"), (env.id.req_id, env.id.full_id))
    lookup = Lookup(reading(tmp_path / "conda_v2.cnd"), EnvironmentDocuments(store), Aliases(store))
    with pytest.raises(
        ObjectNotFoundError, match=r"no environment is known as team/trainin:v1; did you mean team/training:v1"
    ):
        await lookup.named("team/trainin:v1")
    assert await _known(lookup, "team/training:v1", "osx-arm64") is None
    with pytest.raises(UsageError, match="is no environment alias"):
        await lookup.named("Team Training")


async def test_a_document_is_written_once_and_what_was_first_stays() -> None:
    first = _resolved(1, "ann", 1)
    store = await _store(first)
    stored = await EnvironmentDocuments(store).put(replace(first, resolved_by="ben"))
    assert stored.resolved_by == "ann"
    assert await EnvironmentDocuments(store).get(first.id) == first
