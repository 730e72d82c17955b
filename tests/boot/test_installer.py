"""What a bare node lacks, it takes from the cache's root: a zstd decoder, or the engine itself."""

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from asynccache.boot.zstd import WHEELS_KEY
from asynccache.catalog.documents import EnvironmentDocuments
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import UsageError
from asynccache.model.platform import current_architecture
from asynccache.ops import installer
from asynccache.ops.installer import configured_bundle, publish_bundle, publish_zstd_wheels
from tests.boot.conftest import Node, PackedStore
from tests.boot.killed_nodes import works

pytestmark = pytest.mark.xdist_group("object-servers")
LACKS = ("compression.zstd", "libzstd")
PYTHON = f"cp{sys.version_info[0]}{sys.version_info[1]}"
MACHINES = {
    "linux-64": "manylinux2014_x86_64",
    "linux-aarch64": "manylinux2014_aarch64",
    "osx-arm64": "macosx_11_0_arm64",
}


def zstd_wheel(directory: Path) -> Path:
    """Make a wheel of the decoder that this process uses, for its Python and machine."""
    spec = importlib.util.find_spec("zstandard")
    if spec is None or spec.origin is None or current_architecture() not in MACHINES:
        pytest.skip("no decoder to make a wheel of")
    package = Path(spec.origin).parent
    name = f"zstandard-0.23.0-{PYTHON}-{PYTHON}-{MACHINES[current_architecture()]}.whl"
    with zipfile.ZipFile(directory / name, "w") as archive:
        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, f"zstandard/{path.relative_to(package)}")
    return directory / name


async def test_a_decoder_is_taken_from_the_cache(packed: PackedStore, tmp_path: Path) -> None:
    store = packed.copy(tmp_path / "store")
    async with Engine(Settings(store=str(store.root), cache_dir=tmp_path / "cache")) as engine:
        wheel = await asyncio.to_thread(zstd_wheel, tmp_path)
        published = await publish_zstd_wheels(engine.host, engine.store, [wheel])
    assert list(published) == [f"{PYTHON}-{current_architecture()}"]
    bare = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    known = "import importlib.util as u; print(any(map(u.find_spec, ['zstandard', 'backports'])))"
    if await asyncio.to_thread(subprocess.check_output, [str(bare), "-c", known], text=True) != "False\n":
        pytest.skip("the Python of this machine has a decoder of its own")
    node = Node(tmp_path / "node", bare, LACKS)
    done = await asyncio.to_thread(node.boot, store.manifest(tmp_path), "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Fetching a zstd decoder" in done.stdout
    assert node.receipt["decoder"] == "zstandard"
    works(node)
    damaged = store.root / published[f"{PYTHON}-{current_architecture()}"].key
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    other = Node(tmp_path / "other", bare, LACKS)
    done = await asyncio.to_thread(other.boot, store.manifest(tmp_path), "train")
    assert done.returncode == 1
    assert "the zstd wheel in the cache is damaged" in done.stderr


async def test_wheels_are_added_to_those_that_are_there_and_others_refused(tmp_path: Path) -> None:
    async with Engine(Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache")) as engine:
        names = [
            "zstandard-0.21.0-cp37-cp37m-manylinux2014_x86_64.whl",
            "backports_zstd-1.0-cp39-cp39-macosx_11_0_arm64.whl",
        ]
        for name in names:
            (tmp_path / name).write_bytes(name.encode())
            await publish_zstd_wheels(engine.host, engine.store, [tmp_path / name])
        known = json.loads(await engine.store.get(WHEELS_KEY))
        assert sorted(known) == ["cp37-linux-64", "cp39-osx-arm64"]
        for name in ("six-1.0-py3-none-any.whl", "no.whl"):
            (tmp_path / name).touch()
            with pytest.raises(UsageError, match="is no wheel"):
                await publish_zstd_wheels(engine.host, engine.store, [tmp_path / name])


@pytest.mark.slow
async def test_without_a_pack_the_published_engine_makes_it_from_packages(packed: PackedStore, tmp_path: Path) -> None:
    store = packed.copy(tmp_path / "store")
    (store.root / store.pack.key).unlink()
    async with Engine(Settings(store=str(store.root), cache_dir=tmp_path / "cache")) as engine:
        await EnvironmentDocuments(engine.store).put(store.environment)
        first = await publish_bundle(engine.host, engine.store)
        assert await publish_bundle(engine.host, engine.store) == first
    node = Node(tmp_path / "node")
    done = await asyncio.to_thread(node.boot, store.manifest(tmp_path), "train")
    assert done.returncode == 0, done.stderr
    assert "Making the environment from packages" in done.stdout
    assert node.receipt["source"] == "packages"
    said = re.search(r"made from packages \((\d+), (\S+) MB on disk\); .*: (\S+) MB in (\d+) requests", done.stdout)
    assert said is not None
    assert int(said[1]) == len(store.environment.packages)
    assert float(said[2]) > 0
    assert float(said[3]) > 0
    # the pack that is not there, the name of the bundle, the bundle; then the engine's, for each package at least one
    assert int(said[4]) >= 3 + len(store.environment.packages)
    packages = sum(path.stat().st_size for path in (store.root / "packages").rglob("*") if path.is_file())
    assert int(str(node.receipt["bytes"])) > packages > 0
    works(node)
    assert json.loads((node.prefix / ".metaflowenv").read_text()) == list(store.triple)
    assert node.hidden() == []


@pytest.mark.parametrize(
    ("dirname", "name", "key"),
    [
        (None, None, None),
        ("tools", "", None),
        (None, "engine-{arch}", "engine-linux-64"),
        ("tools/{arch}/", "engine", "tools/linux-64/engine"),
        ("/tools", "/{arch}/engine", "tools/linux-64/engine"),
    ],
)
def test_the_bundle_has_the_bundle_key(dirname: str | None, name: str | None, key: str | None) -> None:
    settings = Settings(remote_installer_dirname=dirname, remote_installer=name)

    assert settings.bundle_key("linux-64") == key


async def test_the_bundle_goes_where_it_is_configured_and_replaces_no_other_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installer, "_write_bundle", lambda path, _stop: path.write_bytes(b"the engine"))
    arch = current_architecture()
    settings = Settings(
        store=str(tmp_path / "store"),
        cache_dir=tmp_path / "cache",
        remote_installer_dirname="tools",
        remote_installer="conda-{arch}",
    )
    async with Engine(settings) as engine:
        await engine.store.put(f"tools/conda-{arch}", b"another program")
        assert await configured_bundle(engine.host, engine.store, arch) is None
        with pytest.raises(UsageError, match=f"tools/conda-{arch} is in the store but is not a bundle of asynccache"):
            await publish_bundle(engine.host, engine.store, configured=True)
        assert await engine.store.get(f"tools/conda-{arch}") == b"another program"
        elsewhere = await publish_bundle(engine.host, engine.store)  # what a flow does then
        assert elsewhere.key.startswith("asynccache/bundles/")
        assert await engine.store.get(f"tools/conda-{arch}") == b"another program"

        done = await publish_bundle(engine.host, engine.store, configured=True, force=True)
        assert done.key == f"tools/conda-{arch}"
        assert await engine.store.get(done.key) == b"the engine"
        assert await configured_bundle(engine.host, engine.store, arch) == done
        assert await publish_bundle(engine.host, engine.store, configured=True) == done
        assert await configured_bundle(engine.host, engine.store, "osx-arm64") is None


async def test_publishing_names_the_engine_of_now_and_a_flow_leaves_the_named_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arch = current_architecture()
    listing = f"asynccache/bundles/{arch}.json"
    async with Engine(Settings(store=str(tmp_path / "store"), cache_dir=tmp_path / "cache")) as engine:
        made = []
        for version in (b"old", b"new"):
            monkeypatch.setattr(installer, "_fingerprint", version.decode)
            monkeypatch.setattr(installer, "_write_bundle", lambda path, _stop, data=version: path.write_bytes(data))
            made.append(await publish_bundle(engine.host, engine.store))
        old, new = made
        assert json.loads(await engine.store.get(listing)) == old.as_document()
        for _again in range(2):
            assert await publish_bundle(engine.host, engine.store, configured=True) == new
            assert json.loads(await engine.store.get(listing)) == new.as_document()
        assert await engine.store.get(old.key) == b"old"
