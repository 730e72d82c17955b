"""Reading a store shows every kind of damage and harms nothing."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from asynccache.config import Settings
from asynccache.engine import events
from asynccache.engine.engine import Engine
from asynccache.errors import IntegrityError, PartialFailureError, StoreError
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.alias import Alias
from asynccache.model.package import Format
from asynccache.model.shard import Shard
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.catalog import Catalog
from asynccache.ops.contents import archives, totals
from asynccache.ops.verify import Sample, Verification, verify_store
from asynccache.ops.verify_run import VerifyRun, verify_run
from asynccache.ops.verify_whole import verify_whole
from asynccache.store import journal
from asynccache.store.stored import StoredArchive
from tests.support.environments import environment_of
from tests.support.failing_store import FailingStore
from tests.support.fault_server import FaultServer
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in

ALL = Sample()


async def _verify(settings: Settings, sample: Sample = ALL, *, quarantine: bool = False) -> Verification:
    async with Engine(settings) as engine:
        return await verify_store(engine.host, engine.sources, sample, quarantine=quarantine)


def _damage(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)
    return bytes(data)


async def test_a_whole_store_is_whole(filled: FaultServer, configured: Settings) -> None:
    result = await _verify(configured)
    assert (result.checked, result.whole) == (12, True)


async def test_shards_read_everything_once_and_the_first_one_what_belongs_to_no_archive(
    filled: FaultServer, configured: Settings
) -> None:
    read: list[str] = []
    async with Engine(configured) as engine:
        done = [
            await verify_whole(
                engine.host,
                engine.sources,
                Sample(shard=Shard(index, 5)),
                checked=lambda archive: read.append(archive.key),
            )
            for index in range(1, 6)
        ]
        assert sorted(read) == [info.key async for info in engine.store.scan("packages/")]
    assert sum(each.archives.checked for each in done) == len(read) == 12
    assert [Sample(shard=Shard(index, 5)).whole for index in (1, 2)] == [True, False]
    for each in done:
        each.raise_for_failures()


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
        (damage,) = (await verify_store(engine.host, engine.sources, ALL, quarantine=True)).damaged
    assert damage.moved_to == ""
    assert victim.read_bytes() == good


async def test_a_store_that_fails_while_it_is_verified_is_no_damage(
    channel: SyntheticChannel, configured: Settings
) -> None:
    async with FaultServer(channel.root) as server, FailingStore() as store, Engine(configured, store=store) as engine:
        packages = channel.packages(server.url, 3)
        (await engine.cache(packages)).raise_for_failures()
        environment = environment_of(packages)
        catalog = Catalog(configured, store)
        await catalog.publish(environment)
        assert catalog.aliases is not None
        env_id = environment.id
        await catalog.aliases.assign(Alias.parse("team/env:v1"), (env_id.req_id, env_id.full_id))
        (await verify_whole(engine.host, engine.sources, ALL)).raise_for_failures()
        await store.put(pack_key(env_id), bytes(1000))
        read = [info.key async for info in store.scan() if not info.key.startswith("asynccache/")]
        assert len(read) >= 3 + 1 + 1 + 1
        for key in read:
            store.failing = {key}
            result = await verify_whole(engine.host, engine.sources, ALL, quarantine=True)
            failed = {**result.archives.errors, **result.environments.errors}
            named = {key} if "/aliases/" not in key or key in failed else set()
            assert set(failed) == named, key
            damaged = {damage.key for damage in result.environments.damaged} - {pack_key(env_id)}
            assert (result.archives.damaged, damaged) == ([], set()), key
            if named:
                with pytest.raises(PartialFailureError) as caught:
                    result.raise_for_failures()
                assert (caught.value.exit_code, caught.value.retryable) == (StoreError.exit_code, True)
        store.failing = set()
        assert [info.key async for info in store.scan("asynccache/quarantine/")] == []
        assert [deed async for deed in journal.entries(store)] == []


async def test_what_is_quarantined_is_entered_in_the_log_of_the_store(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    victim = archives_in(tmp_path / "store")[3]
    _damage(victim)
    async with Engine(replace(configured, username="ann")) as engine:
        (damage,) = (await verify_store(engine.host, engine.sources, ALL, quarantine=True)).damaged
        (deed,) = [deed async for deed in journal.entries(engine.store)]
    assert damage.moved_to
    assert (deed.what, deed.keys, deed.moved_to, deed.user) == ("quarantine", (damage.key,), damage.moved_to, "ann")


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


async def test_a_named_run_goes_on_where_it_was_and_a_run_that_is_done_reads_nothing(
    filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    victims = archives_in(tmp_path / "store")[:2]
    _damage(victims[0])
    sample = Sample(run_id="night")
    read: list[str] = []
    async with Engine(replace(configured, in_flight=1)) as engine:

        def checked(archive: StoredArchive) -> None:
            read.append(archive.key)
            if len(read) == 5:
                task.cancel()

        task = asyncio.ensure_future(verify_whole(engine.host, engine.sources, sample, checked=checked))
        with pytest.raises(asyncio.CancelledError):
            await task
    before = len(read)
    assert before < 12
    async with Engine(replace(configured, cache_dir=tmp_path / "another node")) as engine:
        done = await verify_whole(engine.host, engine.sources, sample, checked=lambda each: read.append(each.key))
        assert 12 <= len(read) <= 13  # what was in flight is read again, and nothing else
        assert len(set(read)) == 12
        assert done.archives.checked == 12
        assert [damage.key for damage in done.archives.damaged] == [str(victims[0].relative_to(tmp_path / "store"))]
        again = await verify_whole(
            engine.host, engine.sources, sample, checked=lambda archive: read.append(archive.key)
        )
        assert (again.archives, len(read) <= 13) == (done.archives, True)
        other = await verify_whole(engine.host, engine.sources, replace(sample, run_id="another"))
        assert other.archives.checked == 12


async def test_shards_of_a_named_run_add_up_to_what_one_of_the_whole_shows(
    channel: SyntheticChannel, filled: FaultServer, configured: Settings, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    async with Engine(configured) as engine:
        await Catalog(configured, engine.store).publish(environment_of(channel.packages(filled.url, 12)))
        victims = archives_in(store)
        _damage(victims[0])
        _damage(victims[-1])
        victims[5].unlink()
        one = await verify_whole(engine.host, engine.sources, Sample())

        async def run() -> VerifyRun:
            return await verify_run(engine.store, "packages", Sample(shard=Shard(1, 3), run_id="night"))

        for index in (3, 2):
            part = Sample(shard=Shard(index, 3), run_id="night")
            await verify_whole(engine.host, engine.sources, part)
        with pytest.raises(StoreError, match=r"1 of 3 shards are not done \(1\); start those shards again"):
            (await run()).raise_for_failures()
        first = await verify_whole(engine.host, engine.sources, Sample(shard=Shard(1, 3), run_id="night"))
        done = await run()
        assert (done.complete, done.shards) == (True, 3)
        done.verification.archives.damaged.sort(key=lambda damage: damage.key)
        assert (done.verification.archives, done.verification.environments) == (one.archives, one.environments)
        assert (len(one.archives.damaged), len(one.environments.damaged)) == (2, 1)
        with pytest.raises(IntegrityError, match="2 of 11 archives"):
            done.raise_for_failures()
        for path in store.glob("envs/*/*/*/env"):
            path.unlink()
        again = await verify_whole(engine.host, engine.sources, Sample(shard=Shard(1, 3), run_id="night"))
        assert (again.archives, again.environments) == (first.archives, first.environments)


async def test_what_could_not_be_read_is_read_first_by_whoever_goes_on(
    channel: SyntheticChannel, configured: Settings
) -> None:
    async with FaultServer(channel.root) as server, FailingStore() as store, Engine(configured, store=store) as engine:
        (await engine.cache(channel.packages(server.url, 4))).raise_for_failures()
        keys = [info.key async for info in store.scan("packages/")]
        store.failing = set(keys[1:3])
        sample = Sample(run_id="night")
        result = await verify_whole(engine.host, engine.sources, sample)
        assert (sorted(result.archives.errors), result.archives.checked) == (keys[1:3], 2)
        store.failing = {keys[2]}
        read: list[str] = []
        result = await verify_whole(
            engine.host, engine.sources, sample, checked=lambda archive: read.append(archive.key)
        )
        assert (read, list(result.archives.errors), result.archives.checked) == ([keys[1]], [keys[2]], 3)
        store.failing = set()
        await store.delete(keys[2])
        result = await verify_whole(engine.host, engine.sources, sample)
        assert (result.archives.errors, result.archives.checked) == ({}, 3)


async def test_how_much_there_is_to_read_is_told_while_it_is_read(filled: FaultServer, configured: Settings) -> None:
    async with Engine(replace(configured, in_flight=1)) as engine:
        told: list[tuple[int, int]] = []
        sample = Sample(share=0.5, seed="1")
        result = await verify_whole(engine.host, engine.sources, sample, total=lambda *both: told.append(both))
        assert told == [(result.archives.checked, result.archives.bytes)]
        assert 0 < result.archives.checked < 12
