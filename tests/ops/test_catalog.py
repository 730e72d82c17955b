"""Environments are found, named, published and imported so that nothing ever stands for nothing."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.catalog.export import export
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import IntegrityError, ObjectNotFoundError, PartialFailureError, StoreError, UsageError
from asynccache.model.alias import Alias
from asynccache.model.doubts import doubts
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.identity import EnvID, Request
from asynccache.model.package import Package
from asynccache.ops.catalog import Catalog
from asynccache.ops.import_environment import Imported, import_environment, request_of
from asynccache.ops.naming import read_document
from asynccache.ops.verify_environments import verify_environments
from asynccache.resolve.formats.locks import read_package_list
from tests.support.environments import ARCH, environment_of
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel


@pytest.fixture
def settings(configured: Settings, tmp_path: Path) -> Settings:
    return replace(configured, datastore_root=tmp_path / "here", username="ann")


@pytest.fixture
async def engine(settings: Settings, filled: FaultServer) -> AsyncIterator[Engine]:
    async with Engine(settings) as opened:
        yield opened


@pytest.fixture
def catalog(engine: Engine) -> Catalog:
    return Catalog(engine.host.settings, engine.store)


@pytest.fixture
def environment(channel: SyntheticChannel, filled: FaultServer) -> ResolvedEnvironment:
    return environment_of(channel.packages(filled.url, 12))


async def test_an_environment_is_published_with_all_that_the_store_has(
    catalog: Catalog, environment: ResolvedEnvironment
) -> None:
    stored = await catalog.publish(environment)
    assert stored.id == environment.id
    assert all(p.cached[p.url_format].startswith("packages/conda/") for p in stored.packages)
    assert await catalog.find(environment.id.full_id, ARCH) == stored


async def test_an_environment_whose_packages_are_missing_is_not_published(
    catalog: Catalog, channel: SyntheticChannel, filled: FaultServer
) -> None:
    lacking = environment_of(channel.packages(filled.url, 14))
    with pytest.raises(StoreError, match=r"the store lacks 2 of its 14 packages.*synthetic-0012.*`asynccache warm"):
        await catalog.publish(lacking)
    with pytest.raises(ObjectNotFoundError, match=r"no document is known|no environment is known"):
        await catalog.alias(str(lacking.id), ["team/env:v1"])
    await catalog.keep([lacking])
    with pytest.raises(StoreError, match="is not published"):
        await catalog.alias(str(lacking.id), ["team/env:v1"])
    assert await catalog.aliases.get(Alias.parse("team/env:v1")) is None  # type: ignore[union-attr]


async def test_a_name_is_never_given_to_nothing(catalog: Catalog) -> None:
    with pytest.raises(ObjectNotFoundError, match="of which no document is known; only an existing environment"):
        await catalog.alias("a" * 40 + ":" + "b" * 40, ["team/env:v1"])


async def test_an_environment_that_only_this_machine_knows_is_published_with_its_first_name(
    catalog: Catalog, environment: ResolvedEnvironment
) -> None:
    await catalog.keep([environment])
    done = await catalog.alias(str(environment.id), ["team/env:v1", "team/env"])
    assert [str(n) for n in done.changed] == ["team/env:v1", "team/env:latest"]
    assert await catalog.documents.get(environment.id) is not None  # type: ignore[union-attr]
    again = await catalog.alias("team/env:v1", ["team/env:v1"])
    assert (again.changed, [str(n) for n in again.unchanged]) == ((), ["team/env:v1"])


async def test_names_that_cannot_be_given_do_not_hinder_the_others(
    catalog: Catalog, environment: ResolvedEnvironment, channel: SyntheticChannel, filled: FaultServer
) -> None:
    other = environment_of(channel.packages(filled.url, 5), "b", "c")
    await catalog.publish(environment)
    await catalog.publish(other)
    await catalog.alias(str(environment.id), ["team/env:v1"])
    done = await catalog.alias(str(other.id), ["team/env:v1", "team/env:v2"])
    assert [str(n) for n in done.changed] == ["team/env:v2"]
    assert f"refers to {environment.id} since" in str(done.failed["team/env:v1"])
    assert catalog.local.resolve(Alias.parse("team/env:v1")) == (
        environment.id.req_id,
        environment.id.full_id,
    )


async def test_getting_an_environment_takes_those_resolved_together_and_its_name(
    catalog: Catalog, environment: ResolvedEnvironment
) -> None:
    both = [
        replace(environment, id=EnvID(environment.id.req_id, "c" * 40, arch), resolved_archs=("linux-64", "osx-arm64"))
        for arch in ("linux-64", "osx-arm64")
    ]
    for each in both:
        await catalog.publish(each)
    await catalog.alias(str(both[0].id), ["team/env:v1"])
    catalog.manifest.path.unlink()
    taken = await catalog.get("team/env:v1", "osx-arm64")
    assert {e.id.arch for e in taken} == {"linux-64", "osx-arm64"}
    manifest = catalog.local
    assert {s.id.arch for s in manifest.summaries()} == {"linux-64", "osx-arm64"}
    assert manifest.get(EnvID(environment.id.req_id, "_default", "linux-64")) is not None
    assert manifest.resolve(Alias.parse("team/env:v1")) == (environment.id.req_id, "c" * 40)


async def test_another_architecture_is_named_with_those_that_there_are(
    catalog: Catalog, environment: ResolvedEnvironment
) -> None:
    await catalog.publish(environment)
    with pytest.raises(ObjectNotFoundError, match=r"is not available for osx-64: expected --arch linux-64"):
        await catalog.find(str(environment.id), "osx-64")


async def test_a_document_that_was_changed_is_doubted_and_reported(
    catalog: Catalog, engine: Engine, environment: ResolvedEnvironment
) -> None:
    assert doubts(environment) == []
    stored = await catalog.publish(environment)
    changed = replace(stored, request=Request({"conda": ["other"]}), packages=stored.packages[1:])
    assert len(doubts(changed)) == 2
    key = catalog.keys.document(environment.id)
    await engine.store.put(key, changed.to_json())
    problems = [str(d) for d in (await verify_environments(engine.host, engine.sources)).damaged]
    assert any("its requirements amount to req_id" in p for p in problems)
    assert any("its packages amount to full_id" in p for p in problems)


@pytest.mark.parametrize("data", [b"{", b'{"deps": [', b"[]", b'{"deps": []}', b"\xff\xfe"])
async def test_a_corrupted_document_is_one_sentence_and_hides_nothing(
    catalog: Catalog, engine: Engine, environment: ResolvedEnvironment, data: bytes
) -> None:
    await catalog.publish(environment)
    await engine.store.put(f"envs/{ARCH}/{'e' * 40}/{'f' * 40}/env", data)
    await engine.store.put("envs/aliases/generic/lost/env/v1", json.dumps(["1" * 40, "2" * 40]).encode())
    await engine.store.put("envs/aliases/generic/broken/env/v1", b"{")
    with pytest.raises(IntegrityError, match=f"the document of {'e' * 40}:{'f' * 40} is (malformed|not JSON)"):
        await catalog.find(f"{'e' * 40}:{'f' * 40}", ARCH)
    rows = await catalog.listed()
    assert {r.summary.id: bool(r.summary.error) for r in rows} == {
        environment.id: False,
        EnvID("e" * 40, "f" * 40, ARCH): True,
    }
    problems = {d.key: d.problem for d in (await verify_environments(engine.host, engine.sources)).damaged}
    assert "of which there is no document" in problems["envs/aliases/generic/lost/env/v1"]
    assert "is damaged" in problems["envs/aliases/generic/broken/env/v1"]
    assert len(problems) == 3


async def test_the_list_reads_each_document_of_the_store_once(
    catalog: Catalog,
    engine: Engine,
    environment: ResolvedEnvironment,
    channel: SyntheticChannel,
    filled: FaultServer,
) -> None:
    await catalog.publish(environment)
    assert len(await catalog.listed(local=False)) == 1
    before = engine.store.requests
    assert len(await catalog.listed(local=False)) == 1
    listing = engine.store.requests - before
    await catalog.publish(environment_of(channel.packages(filled.url, 3), "b", "c"))
    await catalog.alias(str(environment.id), ["team/env:v1"])
    before = engine.store.requests
    rows = await catalog.listed(local=False)
    assert [len(r.names) for r in rows if r.summary.id == environment.id] == [1]
    assert engine.store.requests - before <= listing + 3
    await engine.store.delete(catalog.keys.document(environment.id))
    assert len(await catalog.listed(local=False)) == 1


async def _import(catalog: Catalog, engine: Engine, packages: list[Package], **options: object) -> Imported:
    return await import_environment(engine, catalog, {ARCH: packages}, **options)  # type: ignore[arg-type]


async def test_a_list_becomes_an_environment_with_a_name(
    catalog: Catalog, engine: Engine, channel: SyntheticChannel, filled: FaultServer
) -> None:
    packages = channel.packages(filled.url, 14)
    engine.host = replace(engine.host, settings=replace(engine.host.settings, preferred_format=".conda"))
    result = await _import(catalog, engine, packages, names=["team/env:v1"])
    (made,) = result.environments
    assert made.request.deps["conda"][0] == "synthetic-0000==1.0"
    assert doubts(made) == []
    assert {tuple(sorted(p.cached)) for p in made.packages} == {(".conda",), (".conda", ".tar.bz2")}
    assert made.packages[0].hashes["sha256"] == packages[0].digests.sha256
    assert await catalog.find("team/env:v1", ARCH) == made
    assert catalog.local.defaults() == {made.id}


async def test_without_md5_in_the_list_the_identity_is_the_same(
    catalog: Catalog, engine: Engine, channel: SyntheticChannel, filled: FaultServer
) -> None:
    packages = channel.packages(filled.url, 12)
    known = (await _import(catalog, engine, packages)).environments[0]
    bare = [replace(p, digests=replace(p.digests, md5=None)) for p in packages]
    assert (await _import(catalog, engine, bare)).environments[0].id == known.id


async def test_what_was_asked_for_can_be_said(
    catalog: Catalog, engine: Engine, channel: SyntheticChannel, filled: FaultServer
) -> None:
    request = request_of(["conda::python==3.11.*", "conda::numpy"], ["conda::conda-forge"])
    made = (await _import(catalog, engine, channel.packages(filled.url, 3), request=request)).environments[0]
    assert made.id.req_id == Request({"conda": ["python==3.11.*", "numpy"]}, {"conda": ["conda-forge"]}).req_id
    with pytest.raises(UsageError, match=r"'numpy' is no requirement: expected conda::"):
        request_of(["numpy"], [])
    with pytest.raises(UsageError, match="credentials") as caught:
        request_of(["pypi::a"], ["pypi::https://me:s3cret@h/simple"])
    assert "s3cret" not in str(caught.value)


async def test_several_architectures_get_one_common_id(
    catalog: Catalog, engine: Engine, channel: SyntheticChannel, filled: FaultServer
) -> None:
    packages = channel.packages(filled.url, 6)
    lists = {"osx-arm64": packages[:4], "linux-64": packages[2:]}
    result = await import_environment(engine, catalog, lists)
    assert len({(e.id.req_id, e.id.full_id) for e in result.environments}) == 1
    assert {e.resolved_archs for e in result.environments} == {("linux-64", "osx-arm64")}


async def test_an_import_that_fails_publishes_nothing_and_names_nothing(
    catalog: Catalog, engine: Engine, channel: SyntheticChannel, filled: FaultServer
) -> None:
    lost = Package.from_url(f"{filled.url}/linux-64/lost-1-0.conda#" + "0" * 32)
    with pytest.raises(PartialFailureError):
        await _import(catalog, engine, [*channel.packages(filled.url, 2), lost], names=["team/env:v1"])
    assert [info.key async for info in engine.store.scan("envs/")] == []


@pytest.mark.parametrize("fmt", ["explicit", "conda-lock", "pixi-lock", "json"])
async def test_what_is_exported_reads_back_as_the_same_packages(environment: ResolvedEnvironment, fmt: str) -> None:
    names = {"explicit": "env.txt", "conda-lock": "conda-lock.yml", "pixi-lock": "pixi.lock", "json": "env.json"}
    found = read_package_list(names[fmt], export(environment, fmt).text, arches=(ARCH,))
    assert [(str(p.url), p.digests.md5) for p in found] == [(p.url, p.published_hash) for p in environment.packages]


def test_a_pylock_holds_the_pypi_packages_and_says_what_it_leaves_out(environment: ResolvedEnvironment) -> None:
    wheel = replace(
        environment.packages[0], kind="pypi", filename="a-1-py3-none-any", url="https://h/a-1-py3-none-any.whl",
        url_format=".whl", hashes={".whl": "a" * 64},
    )  # fmt: skip
    result = export(replace(environment, packages=(wheel, environment.packages[1])), "pylock.toml")
    (found,) = read_package_list("pylock.toml", result.text, arches=(ARCH,))
    assert (str(found.url), found.digests.sha256) == (wheel.url, "a" * 64)
    assert "which a pylock.toml cannot hold" in result.left_out[0]
    with pytest.raises(UsageError, match="no PyPI package"):
        export(environment, "pylock.toml")


def test_an_exported_document_keeps_its_identity_and_another_one_gets_it_from_its_content(
    environment: ResolvedEnvironment, tmp_path: Path
) -> None:
    path = tmp_path / "env.json"
    path.write_text(export(environment, "json").text)
    assert read_document(path, ARCH) == environment
    path.write_bytes(environment.to_json())
    assert read_document(path, None) == environment
    path.write_text(export(environment, "json").text)
    with pytest.raises(UsageError, match="another architecture"):
        read_document(path, "osx-64")
    path.write_text("{}")
    with pytest.raises(UsageError, match=r"is not an environment document: .* the key 'deps'"):
        read_document(path, None)


async def test_a_damaged_manifest_is_kept_aside_at_the_next_change_and_said(
    engine: Engine, environment: ResolvedEnvironment
) -> None:
    said: list[str] = []
    catalog = Catalog(engine.host.settings, engine.store, said.append)
    catalog.manifest.path.parent.mkdir(parents=True)
    catalog.manifest.path.write_bytes(b'{"version": 1, "mapp')
    with pytest.raises(IntegrityError, match="the next change keeps a copy"):
        await catalog.listed()
    await catalog.publish(environment)
    await catalog.keep([environment])
    (kept,) = catalog.manifest.path.parent.glob("*.damaged-*")
    assert kept.read_bytes() == b'{"version": 1, "mapp'
    assert str(kept) in said[0]
    assert [r.local for r in await catalog.listed()] == [True]
