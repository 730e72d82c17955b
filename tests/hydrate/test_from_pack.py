"""A pack is used where it saves work, and only there."""

from dataclasses import replace
from pathlib import Path

from asynccache.engine.engine import Engine
from asynccache.hydrate.from_pack import from_pack
from asynccache.hydrate.hydrate import hydrate
from asynccache.hydrate.pack import pack
from asynccache.model.environment import ResolvedEnvironment


async def test_a_pack_is_used_until_the_node_has_all_packages(
    engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path
) -> None:
    await pack(engine.host, engine.sources, tiny)
    fresh = replace(engine.host.settings, cache_dir=tmp_path / "other-node")
    async with Engine(fresh) as other:
        assert (await hydrate(other.host, other.sources, tiny, tmp_path / "one", packed=from_pack)).packed
        assert not (fresh.cache_dir / "pkgs/feature-names-1.0-h0_0").exists()
        assert not (await hydrate(other.host, other.sources, tiny, tmp_path / "two")).packed
        assert not (await hydrate(other.host, other.sources, tiny, tmp_path / "three", packed=from_pack)).packed
    files = [tmp_path / name / "share/feature-names/with blank/x" for name in ("one", "two", "three")]
    assert [f.read_bytes() for f in files] == [b"y"] * 3


async def test_without_a_pack_packages_are_linked(engine: Engine, tiny: ResolvedEnvironment, tmp_path: Path) -> None:
    assert not (await hydrate(engine.host, engine.sources, tiny, tmp_path / "env", packed=from_pack)).packed
