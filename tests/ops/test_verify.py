"""Reading a store shows every kind of damage and harms nothing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import PartialFailureError, StoreRefusedError
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.identity import EnvID
from asynccache.model.package import Format
from asynccache.ops.audit import audit
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.contents import archives, totals
from asynccache.ops.verify import Sample, Verification, verify_store
from asynccache.store.base import BytesMoved
from asynccache.store.memory import MemoryStore
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in

ALL = Sample()


async def _verify(settings: Settings, sample: Sample = ALL, *, quarantine: bool = False) -> Verification:
    async with Engine(settings) as engine:
        return await verify_store(engine, sample, quarantine=quarantine)


def _damage(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)
    return bytes(data)


async def test_a_whole_store_is_whole(filled: FaultServer, configured: Settings) -> None:
    result = await _verify(configured)
    assert (result.checked, result.whole) == (12, True)


async def test_a_store_is_read_where_the_cache_directory_cannot_be_made(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    root = str(tmp_path / "store")
    result = await _verify(replace(configured, store=root, cache_dir=tmp_path / "file" / "cache"))
    assert (result.checked, result.whole) == (12, True)


async def test_a_flipped_bit_is_found_and_named_with_both_digests(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    victim = archives_in(tmp_path / "store")[3]
    _damage(victim)
    result = await _verify(configured)
    (damage,) = result.damaged
    assert damage.key == str(victim.relative_to(tmp_path / "store"))
    assert (damage.part, damage.expected) == ("md5", victim.parent.name)
    assert len(damage.found) == 32
    assert victim.exists()


async def test_quarantine_keeps_it_whole(filled: FaultServer, configured: Settings, tmp_path: Path) -> None:
    victim = archives_in(tmp_path / "store")[3]
    data = _damage(victim)
    (damage,) = (await _verify(configured, quarantine=True)).damaged
    assert not victim.exists()
    assert (tmp_path / "store" / damage.moved_to).read_bytes() == data
    assert (await _verify(configured)).whole


async def test_an_object_that_was_mended_after_it_was_read_is_not_quarantined(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    victim = archives_in(tmp_path / "store")[3]
    good = victim.read_bytes()
    _damage(victim)

    def mend(event: events.Event) -> None:
        if isinstance(event, events.DamageFound):
            victim.write_bytes(good)

    async with Engine(configured, emit=mend) as engine:
        (damage,) = (await verify_store(engine, ALL, quarantine=True)).damaged
    assert damage.moved_to == ""
    assert victim.read_bytes() == good


class _Silent(MemoryStore):
    """A store that stops answering when it is to be read."""

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        raise StoreRefusedError(f"{key} cannot be read")

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        raise StoreRefusedError(f"{key} cannot be read")


async def test_a_store_that_fails_while_it_is_verified_is_no_damage(
    channel: SyntheticChannel, configured: Settings
) -> None:
    async with (
        FaultServer(channel.root) as server,
        _Silent() as store,
        Engine(configured, store=store) as engine,
    ):
        (await engine.cache(channel.packages(server.url, 3))).raise_for_failures()
        await store.put(pack_key(EnvID("a" * 40, "b" * 40, "linux-64")), bytes(1000))
        archives_read = await audit(engine, Sample("*"))
        with pytest.raises(StoreRefusedError):
            await audit(engine, ALL)
    assert (archives_read.archives.damaged, len(archives_read.archives.errors)) == ([], 3)
    with pytest.raises(PartialFailureError) as caught:
        archives_read.raise_for_failures()
    assert caught.value.exit_code == StoreRefusedError.exit_code


async def test_a_transmuted_archive_without_receipt_is_counted_and_one_that_differs_from_it_is_damaged(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    async with Engine(configured) as engine:
        await Backfill(engine, Selection(Format.CONDA)).run()
    receipts = sorted((tmp_path / "store/asynccache/receipts").rglob("*.json"))
    receipts[0].unlink()
    document = json.loads(receipts[1].read_text())
    document["derived"]["sha256"] = "0" * 64
    receipts[1].write_text(json.dumps(document))
    result = await _verify(configured)
    assert result.without_receipt == 1
    assert [(d.part, d.expected) for d in result.damaged] == [("receipt", "sha256 " + "0" * 64)]


async def test_a_sample_reads_its_share_and_other_seeds_read_others(filled: FaultServer, configured: Settings) -> None:
    results = [await _verify(configured, Sample(share=0.5, seed=str(seed))) for seed in range(8)]
    assert all(r.checked + r.skipped == 12 for r in results)
    assert len({r.checked for r in results}) > 1
    assert 0 < sum(r.checked for r in results) < 96


async def test_a_pattern_limits_what_is_read(filled: FaultServer, configured: Settings) -> None:
    assert (await _verify(configured, Sample("*.tar.bz2"))).checked == 6
    assert (await _verify(configured, Sample("packages/*/synthetic-0001-*"))).checked == 1


async def test_totals_count_forms_hosts_and_duplicates(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    async with Engine(configured) as engine:
        await Backfill(engine, Selection(Format.CONDA)).run()
        first = archives_in(tmp_path / "store")[0]
        second = first.parent.parent / ("0" * 32) / first.name
        second.parent.mkdir()
        second.write_bytes(b"x")
        result = await totals(engine.store, "packages")
        assert (result.packages, result.both_forms, result.transmuted) == (12, 6, 7)
        assert sum(result.objects.values()) == 19
        assert list(result.hosts) == [filled.url.removeprefix("http://")]
        assert result.duplicates == [str(first.parent.parent.relative_to(tmp_path / "store"))]
        assert len([a async for a in archives(engine.store, "packages")]) == 19
