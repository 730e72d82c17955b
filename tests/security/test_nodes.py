"""What a node runs before its environment is there was vouched for by whoever submitted: packs, bundles, decoders."""

import asyncio
import hashlib
import io
import json
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynccache.boot.zstd import WHEELS_KEY, find_decompressor
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.engine.events import Event, PackStarted
from asynccache.errors import ConfigurationError, IntegrityError
from asynccache.hydrate.pack import pack
from asynccache.hydrate.pack_find import Packed, pack_key
from asynccache.hydrate.pack_write import FRAME, Planned, plan_pack, write_pack
from asynccache.model.environment import ResolvedEnvironment
from asynccache.model.platform import current_architecture
from asynccache.node import pack_format as packs
from asynccache.node.errors import PackUnusableError
from asynccache.node.pack_reader import read_index, unpack
from asynccache.node.ranges import LocalRanges
from asynccache.ops import installer
from asynccache.ops.node_supplies import supply_nodes
from tests.boot.conftest import Node
from tests.support.channel import cached_channel
from tests.support.hydration import cached, channel_paths, packages_of

ARCH = current_architecture()
OTHER = "osx-arm64" if ARCH != "osx-arm64" else "linux-64"


def engine_on(tmp_path: Path, machine: str, events: list[Event] | None = None, **more: Any) -> Engine:
    settings = Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / machine, **more)
    return Engine(settings, emit=(events if events is not None else []).append)


async def environment_in(engine: Engine, *names: str) -> ResolvedEnvironment:
    return await cached(engine, packages_of(channel_paths(cached_channel("small"), *names)))


async def good(engine: Engine) -> ResolvedEnvironment:
    return await environment_in(engine, "feature-symlinks", "feature-prefix-text", "feature-names")


async def plant_pack(engine: Engine, environment: ResolvedEnvironment) -> bytes:
    """Put the pack of other packages under the name of an environment; return it."""
    other = await environment_in(engine, "feature-hardlinks", "feature-prefix-text")
    key = pack_key(environment.id)
    await pack(engine.host, engine.sources, replace(other, id=environment.id), force=True, level=1)
    return await engine.store.get(key)


def manifest(tmp_path: Path, environment: ResolvedEnvironment, **more: object) -> Path:
    path = tmp_path / "manifest.json"
    ids = [environment.id.req_id, environment.id.full_id]
    path.write_text(json.dumps({"version": 1, "root": str(tmp_path / "store"), "steps": {"train": ids}, **more}))
    return path


def pin(packed: Packed) -> dict[str, object]:
    env_id = packed.id
    said = {"key": packed.key, "size": packed.size, "digest": packed.digest, "compared": packed.compared}
    return {f"{env_id.req_id}:{env_id.full_id}:{env_id.arch}": said}


def publish(tmp_path: Path, key: str, data: bytes, listing: str, tag: str | None) -> None:
    """Put an object into the store with a list that names its digest, as anybody can who writes there."""
    for name, content in ((key, data), (listing, b"")):
        (tmp_path / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / name).write_bytes(content)
    said: dict[str, object] = {"key": key, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (tmp_path / "store" / listing).write_text(json.dumps(said if tag is None else {tag: said}))


def plant_bundle(tmp_path: Path) -> Path:
    """Publish a bundle whose Python leaves a mark; return the mark."""
    mark, buffer = tmp_path / "bundle-ran", io.BytesIO()
    script = f"#!/bin/sh\necho ran >{mark}\nexit 1\n".encode()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("bin/python3")
        entry.size, entry.mode = len(script), 0o755
        archive.addfile(entry, io.BytesIO(script))
    publish(tmp_path, "asynccache/bundles/x.tar.gz", buffer.getvalue(), f"asynccache/bundles/{ARCH}.json", None)
    return mark


def plant_decoder(tmp_path: Path) -> Path:
    """Publish a zstd wheel that leaves a mark when it is imported; return the mark."""
    mark, buffer = tmp_path / "wheel-ran", io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr("zstandard/__init__.py", f"open({str(mark)!r}, 'w').close()\n")
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}-{ARCH}"
    publish(tmp_path, "asynccache/zstd/e.whl", buffer.getvalue(), WHEELS_KEY, tag)
    return mark


async def test_a_planted_pack_is_not_vouched_for_and_replaced_only_by_force(tmp_path: Path) -> None:
    async with engine_on(tmp_path, "a") as engine:
        environment = await good(engine)
        planted = await plant_pack(engine, environment)
    async with engine_on(tmp_path, "b") as engine:
        with pytest.raises(IntegrityError, match=r"is not what the packages of .* give: .* files differ"):
            await pack(engine.host, engine.sources, environment)
        assert await engine.store.get(pack_key(environment.id)) == planted
        made = await pack(engine.host, engine.sources, environment, force=True, level=1)
        assert (made.created, made.compared) == (True, "")
        again = await pack(engine.host, engine.sources, environment)
        assert (again.created, again.digest, again.compared) == (False, made.digest, "")


@pytest.mark.parametrize("version", ["this one", "one without digests of files"])
async def test_a_pack_that_another_machine_made_is_compared_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    async with engine_on(tmp_path, "a") as engine:
        environment = await good(engine)
        if version != "this one":
            whole = Planned.index

            def without_digests(self: Planned, about: dict[str, Any], frames: list[packs.Frame]) -> packs.Index:
                index = whole(self, about, frames)
                index.files[:] = [file._replace(sha256="") for file in index.files]
                return index

            monkeypatch.setattr(Planned, "index", without_digests)
        made = await pack(engine.host, engine.sources, environment, level=1)
        monkeypatch.undo()
    events: list[Event] = []
    async with engine_on(tmp_path, "b", events) as engine:
        for started in (1, 1):
            found = await pack(engine.host, engine.sources, environment)
            assert (found.created, found.digest, found.compared) == (False, made.digest, "whole")
            assert sum(isinstance(event, PackStarted) for event in events) == started


@pytest.mark.parametrize("size", [10, FRAME + 10], ids=["in one frame", "in several frames"])
def test_content_that_its_index_hides_is_found_when_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    (tmp_path / "tree/bin").mkdir(parents=True)
    (tmp_path / "tree/bin/tool").write_bytes(b"e" * size)
    whole = Planned.index

    def lying(self: Planned, about: dict[str, Any], frames: list[packs.Frame]) -> packs.Index:
        index = whole(self, about, frames)
        index.files[0] = index.files[0]._replace(sha256=hashlib.sha256(b"g" * size).hexdigest())
        return index

    monkeypatch.setattr(Planned, "index", lying)
    about = {"format": packs.VERSION, "env": ["r", "f", ARCH], "prefix": packs.PREFIX}
    write_pack(plan_pack(tmp_path / "tree"), tmp_path / "pack", about, level=1, threads=1, stop=lambda: False)
    decoder = find_decompressor()
    assert decoder is not None
    ranges = LocalRanges(str(tmp_path / "pack"))
    index = read_index(ranges, decoder[1])
    (tmp_path / "target").mkdir()
    with pytest.raises(PackUnusableError, match="'bin/tool' has sha256"):
        unpack(ranges, index, decoder[1], str(tmp_path / "target"), "/somewhere", check_files=True)


async def test_where_a_pack_is_pinned_no_other_one_and_no_unnamed_bundle_is_run(tmp_path: Path) -> None:
    async with engine_on(tmp_path, "a") as engine:
        environment = await good(engine)
        packed = await pack(engine.host, engine.sources, environment, level=1)
        await plant_pack(engine, environment)
    mark, node = plant_bundle(tmp_path), Node(tmp_path / "node")
    done = await asyncio.to_thread(node.boot, manifest(tmp_path, environment, packs=pin(packed)), "train")
    assert done.returncode == 1
    assert "is another pack than the manifest says" in done.stderr
    assert f"the manifest names no bundle for {ARCH} to make it from packages" in done.stderr
    assert not mark.exists()
    assert node.hidden() == []


async def test_where_anything_is_pinned_a_pack_that_is_not_named_is_not_used(tmp_path: Path) -> None:
    async with engine_on(tmp_path, "a") as engine:
        environment = await good(engine)
        packed = await pack(engine.host, engine.sources, environment, level=1)
    other = replace(packed, id=replace(packed.id, full_id="0" * 40))
    node = Node(tmp_path / "node")
    done = await asyncio.to_thread(node.boot, manifest(tmp_path, environment, packs=pin(other)), "train")
    assert done.returncode == 1
    assert f"names no pack of {packed.id.req_id}:{packed.id.full_id}, so none is used" in done.stderr


async def test_where_anything_is_pinned_no_decoder_is_loaded_that_is_not_named(tmp_path: Path) -> None:
    async with engine_on(tmp_path, "a") as engine:
        environment = await good(engine)
        packed = await pack(engine.host, engine.sources, environment, level=1)
    mark = plant_decoder(tmp_path)
    node = Node(tmp_path / "node", lacks=("compression.zstd", "backports.zstd", "libzstd", "zstandard"))
    path = manifest(tmp_path, environment, packs=pin(packed))
    done = await asyncio.to_thread(node.boot, path, "train")
    assert done.returncode == 1
    assert "this image has no zstd decoder and the manifest names none for" in done.stderr
    assert not mark.exists()


async def test_a_manifest_without_pins_goes_on_and_says_so(tmp_path: Path) -> None:
    async with engine_on(tmp_path, "a") as engine:
        environment = await good(engine)
        packed = await pack(engine.host, engine.sources, environment, level=1)
    for name, more, said in (("old", {}, True), ("new", {"packs": pin(packed)}, False)):
        node = Node(tmp_path / name)
        done = await asyncio.to_thread(node.boot, manifest(tmp_path, environment, **more), "train")
        assert (done.returncode, done.stderr) == (0, "")
        assert ("warning: the manifest names no digests" in done.stdout) == said


async def test_a_submitter_pins_what_this_machine_published_or_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "_write_bundle", lambda path, _stop: path.write_bytes(b"the engine"))
    plant_decoder(tmp_path)
    plant_bundle(tmp_path)
    publish(tmp_path, "asynccache/bundles/y.tar.gz", b"theirs", f"asynccache/bundles/{OTHER}.json", None)
    theirs = hashlib.sha256(b"theirs").hexdigest()
    async with engine_on(tmp_path, "a") as engine:
        supplies = await supply_nodes(engine.host, engine.sources, [], [ARCH])
        assert supplies.decoders == {}
        assert await engine.store.get(supplies.engines[ARCH].key) == b"the engine"
        with pytest.raises(ConfigurationError, match=f"nodes for {OTHER} make environments with an engine, and none"):
            await supply_nodes(engine.host, engine.sources, [], [ARCH, OTHER])
        wheel = tmp_path / f"zstandard-0.23.0-cp310-cp310-{'manylinux2014_x86_64'}.whl"
        wheel.write_bytes(b"a wheel")
        await installer.publish_zstd_wheels(engine.host, engine.store, [wheel])
        assert list((await supply_nodes(engine.host, engine.sources, [], [ARCH])).decoders) == ["cp310-linux-64"]
    async with engine_on(tmp_path, "b", node_digests=[f"sha256:{theirs}"]) as engine:
        supplies = await supply_nodes(engine.host, engine.sources, [], [ARCH, OTHER])
        assert supplies.engines[OTHER].sha256 == theirs
        assert supplies.decoders == {}
