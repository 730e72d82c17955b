"""Resolving finds, caches, publishes, remembers and names; what is known is not solved; failures stay apart."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynccache.catalog.place import manifest_path
from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import (
    FetchError,
    PackageUnknownError,
    PartialFailureError,
    ResolveTimeoutError,
    UnsatisfiableError,
    UsageError,
)
from asynccache.model.identity import Request, co_resolved_full_id, full_id
from asynccache.ops.catalog import Catalog
from asynccache.ops.resolve import resolve
from asynccache.ops.resolve_request import ResolveOptions, Wanted
from asynccache.ops.resolve_result import Resolved
from asynccache.resolve.resolver import Problem
from asynccache.store.memory import MemoryStore
from tests.ops.resolve_table import ARCH, TableResolver, found, wanted
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in, damaged_in


@pytest.fixture
def settings(configured: Settings, tmp_path: Path) -> Settings:
    return replace(configured, datastore_root=tmp_path / "here", username="ann")


@pytest.fixture
async def server(channel: SyntheticChannel) -> AsyncIterator[FaultServer]:
    async with FaultServer(channel.root) as serving:
        yield serving


@pytest.fixture
def table(channel: SyntheticChannel, server: FaultServer) -> TableResolver:
    packages = found(channel.packages(server.url, 12))
    return TableResolver({"a": packages[:4], "b": packages[2:6], "a osx-arm64": packages[1:3], "all": packages})


async def run(settings: Settings, table: TableResolver, *asked: Wanted, **options: Any) -> Resolved:
    return await resolve(settings, asked, options=ResolveOptions(**options), choose=table)


def content(*roots: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for root in roots for p in sorted(root.rglob("*")) if p.is_file()}


async def test_what_is_found_is_cached_published_remembered_and_named(
    settings: Settings, table: TableResolver, tmp_path: Path
) -> None:
    resolved = await run(settings, table, wanted("a", aliases=["team/a:v1", "team/a"]))
    resolved.raise_for_failures()
    (row,) = resolved.rows
    assert row.environment is not None
    ids = row.environment.id
    expected = full_id([(p.filename, p.published_hash) for p in table.answers["a"]], ARCH)  # type: ignore[union-attr]
    assert ids.full_id == expected
    assert (row.known, row.default, row.published, row.resolver, row.bytes) == (False, True, True, "table", 4000)
    assert [str(a) for a in row.aliases] == ["team/a:v1", "team/a:latest"]
    assert len(archives_in(tmp_path / "store")) == 4
    assert damaged_in(tmp_path / "store") == []
    document = json.loads((tmp_path / "store/envs" / ARCH / ids.req_id / ids.full_id / "env").read_bytes())
    assert all(p["cache_info"] for p in document["packages"])
    assert (document["resolved_by"], document["resolved_archs"], document["accurate_source"]) == ("ann", [ARCH], True)
    manifest = json.loads(manifest_path(settings).read_bytes())
    assert manifest["environments"][ARCH][ids.req_id] == {ids.full_id: document, "_default": ids.full_id}
    async with Engine(settings) as engine:
        assert (await Catalog(settings, engine.store).find("team/a:v1", ARCH)).id == ids
    assert resolved.fetched_bytes > 0


async def test_what_is_known_is_not_solved_and_asks_nobody(
    settings: Settings, table: TableResolver, server: FaultServer
) -> None:
    first = await run(settings, table, wanted("a"))
    server.requests.clear()
    again = await resolve(replace(settings, store="/nowhere/at/all"), [wanted("a")], choose=table)
    assert again.rows[0].environment == first.rows[0].environment
    assert (again.rows[0].known, again.rows[0].default, len(table.problems), server.requests) == (True, True, 1, [])


async def test_force_solves_again_and_finds_the_stored_document(settings: Settings, table: TableResolver) -> None:
    first = await run(settings, table, wanted("a"))
    again = await run(settings, table, wanted("a"), force=True)
    assert [p.fresh for p in table.problems] == [False, True]
    # the same packages are the same environment: its document and its time stay
    assert again.rows[0].environment == first.rows[0].environment
    assert not again.rows[0].known


async def test_a_dry_run_writes_nothing(settings: Settings, table: TableResolver, tmp_path: Path) -> None:
    before = content(tmp_path / "store", tmp_path / "here")
    resolved = await run(settings, table, wanted("a", ARCH, "osx-arm64", aliases=["team/a:v1"]), dry_run=True)
    assert [row.environment is not None and row.published for row in resolved.rows] == [False, False]
    assert len({e.id.full_id for e in resolved.environments}) == 1
    assert content(tmp_path / "store", tmp_path / "here") == before == {}


async def test_without_caching_only_this_machine_knows_it(
    settings: Settings, table: TableResolver, tmp_path: Path
) -> None:
    resolved = await run(settings, table, wanted("a"), cache=False)
    assert resolved.rows[0].environment is not None
    assert content(tmp_path / "store") == {}
    assert (await run(settings, table, wanted("a"))).rows[0].known
    with pytest.raises(UsageError, match="a name is given to what is in the store only"):
        await run(settings, table, wanted("b", aliases=["x"]), cache=False)


async def test_without_a_default_the_next_call_solves_again(settings: Settings, table: TableResolver) -> None:
    resolved = await run(settings, table, wanted("a"), set_default=False)
    assert not resolved.rows[0].default
    assert not (await run(settings, table, wanted("a"), set_default=False)).rows[0].known


async def test_architectures_that_are_asked_for_together_share_one_id_and_one_name(
    settings: Settings, table: TableResolver
) -> None:
    resolved = await run(settings, table, wanted("a", "osx-arm64", ARCH, aliases=["team/a:v1"]))
    resolved.raise_for_failures()
    mac, linux = resolved.environments
    assert [row.arch for row in resolved.rows] == ["osx-arm64", ARCH]
    assert mac.id.full_id == linux.id.full_id == co_resolved_full_id(
        {e.id.arch: [(p.filename, p.published_hash) for p in e.packages] for e in (mac, linux)}
    )  # fmt: skip
    assert mac.resolved_archs == linux.resolved_archs == (ARCH, "osx-arm64")
    async with Engine(settings) as engine:
        catalog = Catalog(settings, engine.store)
        assert [(await catalog.find("team/a:v1", a)).id.arch for a in (ARCH, "osx-arm64")] == [ARCH, "osx-arm64"]
    again = await run(settings, table, wanted("a", ARCH, "osx-arm64"))
    assert [row.known for row in again.rows] == [True, True]


async def test_one_architecture_that_was_known_alone_is_resolved_again_with_the_other(
    settings: Settings, table: TableResolver
) -> None:
    alone = await run(settings, table, wanted("a"))
    both = await run(settings, table, wanted("a", ARCH, "osx-arm64"))
    assert len({e.id.full_id for e in both.environments}) == 1
    assert both.environments[0].id != alone.environments[0].id


async def test_requests_of_several_steps_that_differ_in_architecture_share_an_id_as_far_as_they_are_new(
    settings: Settings, table: TableResolver
) -> None:
    resolved = await run(settings, table, wanted("a"), wanted("a", "osx-arm64"))
    assert len({e.id.full_id for e in resolved.environments}) == 1
    # what is known stays what it is when the other architecture is asked for by somebody else
    mac = await run(settings, table, wanted("b"))
    both = await run(settings, table, wanted("b"), wanted("b", "osx-arm64"))
    assert both.environments[0] == mac.environments[0]
    assert [row.known for row in both.rows] == [True, False]


async def test_when_one_architecture_fails_the_other_is_not_recorded(
    settings: Settings, table: TableResolver, tmp_path: Path
) -> None:
    table.answers = {**table.answers, "a osx-arm64": UnsatisfiableError("a needs what macOS has not")}
    resolved = await run(settings, table, wanted("a", ARCH, "osx-arm64"))
    with pytest.raises(UnsatisfiableError, match="what macOS has not"):
        resolved.raise_for_failures()
    assert resolved.notes == ["a is not recorded for linux-64, since osx-arm64 failed"]
    assert content(tmp_path / "store", tmp_path / "here") == {}


async def test_equal_requests_are_solved_once(settings: Settings, table: TableResolver) -> None:
    first, second = wanted("a", aliases=["team/one"]), replace(wanted("a", aliases=["team/two"]), name="other.txt")
    resolved = await run(settings, table, first, second)
    assert len(table.problems) == 1
    assert [row.name for row in resolved.rows] == ["a", "other.txt"]
    assert resolved.rows[0].environment == resolved.rows[1].environment
    assert [str(a) for a in resolved.rows[0].aliases] == ["team/one:latest", "team/two:latest"]


async def test_processes_that_resolve_the_same_at_once_solve_it_once(settings: Settings, table: TableResolver) -> None:
    table.seconds = 0.3
    async with asyncio.TaskGroup() as tasks:
        # each with locks, engine and catalog of its own, as in processes of their own
        running = [tasks.create_task(run(settings, table, wanted("a"))) for _ in range(4)]
    rows = [task.result().rows[0] for task in running]
    assert len(table.problems) == 1
    assert sorted(row.known for row in rows) == [False, True, True, True]
    assert len({row.environment.id for row in rows if row.environment}) == 1
    # who asks for it again gets it again
    await asyncio.gather(*(run(settings, table, wanted("a"), force=True) for _ in range(2)))
    assert len(table.problems) == 3


async def test_ten_environments_are_solved_at_once_and_cached_while_others_are_solved(
    settings: Settings, table: TableResolver
) -> None:
    packages = table.answers["all"]
    assert isinstance(packages, Sequence)
    table.answers = {f"n{i}": packages[i : i + 2] for i in range(10)}
    all_begun, one_cached = asyncio.Barrier(10), asyncio.Event()
    seen: list[events.Event] = []

    def emit(event: events.Event) -> None:
        seen.append(event)
        if isinstance(event, events.Uploaded):
            one_cached.set()

    async def answer(problem: Problem) -> None:
        await all_begun.wait()
        if problem.request.deps["conda"][0] != "n0":
            await one_cached.wait()

    table.before = answer
    resolved = await resolve(settings, [wanted(f"n{i}") for i in range(10)], choose=table, emit=emit)
    resolved.raise_for_failures()
    assert sum(isinstance(e, events.ResolveStarted) for e in seen) == 10
    assert sum(isinstance(e, events.ResolveEnded) for e in seen) == 10


async def test_a_failing_one_of_ten_reports_itself_and_hides_nobody(settings: Settings, table: TableResolver) -> None:
    packages = table.answers["all"]
    assert isinstance(packages, Sequence)
    table.answers = {f"n{i}": packages[i : i + 2] for i in range(10)}
    table.answers["n3"] = PackageUnknownError("no channel has n3")
    asked = [wanted(f"n{i}") for i in range(10)]
    resolved = await run(settings, table, *asked)
    assert [row.environment is not None for row in resolved.rows] == [i != 3 for i in range(10)]
    with pytest.raises(PackageUnknownError, match="no channel has n3"):
        resolved.raise_for_failures()
    table.answers["n7"] = UnsatisfiableError("n7 contradicts itself")
    both = await run(settings, table, *asked, force=True)
    with pytest.raises(PartialFailureError, match="2 of 10 environments failed") as failure:
        both.raise_for_failures()
    assert {k: str(e) for k, e in failure.value.errors.items()} == {
        "n3 (linux-64)": "no channel has n3",
        "n7 (linux-64)": "n7 contradicts itself",
    }
    assert failure.value.exit_code == 1


async def test_a_package_that_cannot_be_fetched_leaves_no_document_no_name_and_no_memory(
    settings: Settings, table: TableResolver, server: FaultServer, channel: SyntheticChannel, tmp_path: Path
) -> None:
    victim = channel.paths[2].name
    async with FaultServer(channel.root, faults=[Fault(Kind.STATUS, f"*{victim}", status=404)]) as broken:
        table.answers = {
            "a": found(channel.packages(broken.url, 4)),
            "a osx-arm64": found(channel.packages(broken.url, 2)),
        }
        asked = wanted("a", ARCH, "osx-arm64", aliases=["team/a:v1"])
        resolved = await run(settings, table, asked)
        with pytest.raises(FetchError):
            resolved.raise_for_failures()
    left = content(tmp_path / "store/envs", tmp_path / "here")
    assert left == {}
    # what came is kept, so the next run goes on from there
    assert len(archives_in(tmp_path / "store")) == 3
    del server


async def test_packages_come_before_documents_before_the_full_id_before_this_machine_before_names(
    settings: Settings, table: TableResolver
) -> None:
    class Noting(MemoryStore):
        async def put(self, key: str, *arguments: Any, **named: Any) -> Any:
            writes.append((key, manifest_path(settings).exists()))
            return await super().put(key, *arguments, **named)

        async def upload(self, key: str, *arguments: Any, **named: Any) -> Any:
            writes.append((key, manifest_path(settings).exists()))
            return await super().upload(key, *arguments, **named)

    writes: list[tuple[str, bool]] = []
    async with Noting() as store, Engine(settings, store=store) as engine:
        asked = wanted("a", ARCH, "osx-arm64", aliases=["team/a:v1"])
        resolved = await resolve(settings, [asked], engine=engine, choose=table)
    resolved.raise_for_failures()
    order = ["packages", "env", "full-id", "generic"]
    kinds = []
    for key, remembered in writes:
        named = (k for k in (*reversed(order),) if f"/{k}" in f"/{key}" or key.endswith(f"/{k}"))
        kind = "digest" if ".sha256-" in key else next(named)
        kinds.append(kind)
        assert remembered == (kind == "generic")
    assert kinds.count("packages") == 4
    last_package = max(i for i, kind in enumerate(kinds) if kind == "packages")
    assert all(kind != "packages" for kind in kinds[last_package + 1 :])
    assert kinds[last_package + 1 :] == ["env", "full-id"] * 2 + ["digest"] * 4 + ["generic"]


async def test_an_environment_that_is_extended_keeps_the_objects_of_its_base(
    settings: Settings, table: TableResolver
) -> None:
    (base,) = (await run(settings, table, wanted("a"))).environments
    table.answers = {**table.answers, "more": [*table.answers["a"], *table.answers["b"][2:]]}  # type: ignore[misc,index]
    # what is known of where they lie comes from the base, not from looking
    (dry,) = (await run(settings, table, wanted("more", base=base), dry_run=True)).environments
    assert dry.packages[:4] == base.packages
    (row,) = (await run(settings, table, wanted("more", base=base))).rows
    assert row.environment is not None
    assert row.environment.packages[:4] == base.packages
    assert table.problems[-1].base == base
    assert not row.environment.accurate_source


async def test_a_base_that_meets_the_request_is_not_solved_again(settings: Settings, table: TableResolver) -> None:
    (base,) = (await run(settings, table, wanted("a"))).environments
    (row,) = (await run(settings, table, wanted("less", base=base, compatible=True))).rows
    assert row.environment is not None
    assert row.environment.resolved_by == f"ann (compatible with {base.id})"
    assert (row.environment.packages, row.environment.id.full_id) == (base.packages, base.id.full_id)
    assert row.environment.id.req_id != base.id.req_id
    # a request that amounts to the base's own is the base
    (same,) = (await run(settings, table, wanted("a", base=base), force=False)).rows
    assert same.environment == base
    assert len(table.problems) == 1


async def test_an_environment_that_is_used_by_its_name_does_not_become_what_its_request_means(
    settings: Settings, table: TableResolver
) -> None:
    (older,) = (await run(settings, table, wanted("a"))).environments
    table.answers = {"a": table.answers["b"]}
    (later,) = (await run(settings, table, wanted("a"), force=True)).environments
    assert later.id.req_id == older.id.req_id
    (row,) = (await run(settings, table, wanted("a", base=older, compatible=True))).rows
    assert (row.environment, row.default) == (older, False)
    assert (await run(settings, table, wanted("a"))).environments == [later]
    # it is remembered all the same
    elsewhere = replace(settings, datastore_root=settings.datastore_root / "other")  # type: ignore[operator]
    await run(elsewhere, table, wanted("a", base=older, compatible=True))
    known = json.loads(manifest_path(elsewhere).read_bytes())["environments"][ARCH][older.id.req_id]
    assert list(known) == [older.id.full_id]


async def test_what_others_resolved_with_credentials_in_addresses_is_found_and_what_is_new_is_told(
    settings: Settings, table: TableResolver, tmp_path: Path
) -> None:
    asked = wanted("a")
    each = replace(asked.asked[ARCH], written={"https://h/ch": "https://u:s3cret-word@h/ch"})
    own = Request(each.request.deps, {"conda": ["https://h/ch"]})
    there = Request(each.request.deps, {"conda": ["https://u:s3cret-word@h/ch"]})
    theirs = replace(asked, asked={ARCH: replace(each, request=there, written={})})
    (known,) = (await run(settings, table, theirs)).environments
    ours = replace(asked, asked={ARCH: replace(each, request=own)})
    (row,) = (await run(settings, table, ours)).rows
    assert row.known
    assert row.environment is not None
    assert row.environment.id == known.id
    assert row.notes == ()
    assert not any(b"s3cret-word" in data for data in content(tmp_path).values())
    (new,) = (await run(settings, table, ours, force=True)).rows
    assert ["left out of the id" in note for note in new.notes] == [True]
    assert new.environment is not None
    assert new.environment.id.req_id == own.req_id


async def test_a_known_environment_counts_only_with_equal_unique_keys(settings: Settings, table: TableResolver) -> None:
    plain = await run(settings, table, wanted("a"))
    keyed = await run(settings, table, wanted("a", unique_keys={"uv_lock_content_hash": "12"}))
    assert len(table.problems) == 2
    assert plain.environments[0].id.full_id != keyed.environments[0].id.full_id
    assert (await run(settings, table, wanted("a", unique_keys={"uv_lock_content_hash": "12"}))).rows[0].known
    assert not (await run(settings, table, wanted("a"))).rows[0].known


@pytest.mark.parametrize(("policy", "taken"), [(":none:", False), (":any:", True), ("ben,ann", True), ("ben", False)])
async def test_a_resolution_of_the_store_is_taken_when_the_settings_allow_it_and_remembered(
    settings: Settings, table: TableResolver, tmp_path: Path, policy: str, taken: bool
) -> None:
    await run(settings, table, wanted("a"))
    elsewhere = replace(settings, datastore_root=tmp_path / "elsewhere", username="eve", use_remote_latest=policy)
    (row,) = (await run(elsewhere, table, wanted("a"))).rows
    assert row.known is taken
    assert len(table.problems) == 1 + (not taken)
    assert (await run(replace(elsewhere, use_remote_latest=":none:"), table, wanted("a"))).rows[0].known
    (alone,) = (
        await run(replace(elsewhere, datastore_root=tmp_path / "third"), table, wanted("a"), local_only=True)
    ).rows
    assert not alone.known


async def test_a_known_environment_gets_a_name_and_what_the_store_lost_is_brought_again(
    settings: Settings, table: TableResolver, tmp_path: Path
) -> None:
    await run(settings, table, wanted("a"))
    archives_in(tmp_path / "store")[1].unlink()
    (row,) = (await run(settings, table, wanted("a", aliases=["team/a:v1"]))).rows
    assert (row.known, [str(a) for a in row.aliases], dict(row.errors)) == (True, ["team/a:v1"], {})
    assert len(archives_in(tmp_path / "store")) == 4


async def test_a_name_that_means_something_else_fails_and_the_environment_stays(
    settings: Settings, table: TableResolver
) -> None:
    await run(settings, table, wanted("a", aliases=["team/x:v1"]))
    resolved = await run(settings, table, wanted("b", aliases=["team/x:v1", "team/y"]))
    (row,) = resolved.rows
    assert (row.published, [str(a) for a in row.aliases]) == (True, ["team/y:latest"])
    with pytest.raises(Exception, match="team/x:v1 is immutable and refers to"):
        resolved.raise_for_failures()


async def test_a_digest_that_no_index_says_is_found_by_caching(
    settings: Settings, table: TableResolver, channel: SyntheticChannel, server: FaultServer
) -> None:
    said = await run(settings, table, wanted("a"))
    table.answers = {"a": found(channel.packages(server.url, 4), digests=False)}
    dry = await run(settings, table, wanted("a"), force=True, dry_run=True)
    assert dry.environments[0].id.full_id == "_unresolved"
    assert "The full id is not known" in dry.notes[0]
    again = await run(settings, table, wanted("a"), force=True)
    assert again.environments[0].id == said.environments[0].id
    names = ", ".join(p.filename for p in again.environments[0].packages)
    assert again.notes == [f"No index says the digest that counts of {names}: it was taken from what was downloaded."]


async def test_a_gpu_that_gets_builds_for_cpus_is_told(settings: Settings, table: TableResolver) -> None:
    packages = table.answers["a"]
    assert isinstance(packages, Sequence)
    name, first = "torch-2.1.0-cpu_py311h0_0", packages[0]
    torch = replace(first, filename=name, url=first.url.replace(first.filename, name))
    table.answers = {"a": [torch, *packages[1:]]}
    dry = await run(settings, table, wanted("a", sys=["__cuda==12.0=0"]), dry_run=True)
    assert dry.notes == ["A GPU was asked for, but torch-2.1.0-cpu_py311h0_0 is a build for CPUs only."]
    assert (await run(settings, table, wanted("a"), dry_run=True)).notes == []


async def test_notes_are_said_once(settings: Settings, table: TableResolver) -> None:
    table.notes = ("No mamba was found.",)
    assert (await run(settings, table, wanted("a"), wanted("b"))).notes == ["No mamba was found."]


async def test_a_resolver_that_does_not_end_is_given_up(
    settings: Settings, table: TableResolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynccache.ops.resolve_solve._GRACE", 0.0)
    table.seconds = 30
    resolved = await resolve(replace(settings, resolve_timeout=0.1), [wanted("a")], choose=table)
    with pytest.raises(ResolveTimeoutError, match=r"resolving a for linux-64 took longer than 0\.1 seconds"):
        resolved.raise_for_failures()


async def test_credentials_of_requests_are_used_and_never_written(
    settings: Settings, table: TableResolver, channel: SyntheticChannel, tmp_path: Path
) -> None:
    async with FaultServer(channel.root, credentials=("ann", "s3cret-word")) as locked:
        host = locked.url.partition("://")[2]
        table.answers = {"a": found(channel.packages(locked.url, 3))}
        resolved = await run(settings, table, wanted("a", auth={host: ["ann", "s3cret-word"]}))
        resolved.raise_for_failures()
    assert not any(b"s3cret-word" in data for data in content(tmp_path).values())
    with pytest.raises(UsageError, match="different credentials for one host"):
        await run(settings, table, wanted("a", auth={"h": ["ann", "1"]}), wanted("b", auth={"h": ["ann", "2"]}))
