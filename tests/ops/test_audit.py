"""Auditing a store names whatever does not fit together, mends what can be obtained again, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest

from asynccache.catalog.keys import CatalogKeys
from asynccache.config import Settings
from asynccache.engine.engine import Engine
from asynccache.errors import IntegrityError, PartialFailureError, StoreError
from asynccache.hydrate.pack_find import pack_key
from asynccache.model.alias import Alias
from asynccache.model.identity import EnvID
from asynccache.model.package import Format
from asynccache.model.root import StoreRoot
from asynccache.model.shard import Shard
from asynccache.ops import audit_result
from asynccache.ops.audit_receipts import ReceiptsOfArchives
from asynccache.ops.audit_repair import audit
from asynccache.ops.audit_result import Audit, AuditFinding, AuditRun
from asynccache.ops.audit_run import AuditSelection, audit_run
from asynccache.ops.backfill import Backfill, Selection
from asynccache.ops.catalog import Catalog
from asynccache.ops.leftovers import LEFT_AFTER
from asynccache.ops.verify import Sample
from asynccache.ops.verify_environments import verify_environments
from asynccache.store import journal
from asynccache.store.base import ObjectInfo, Store, Unfinished
from asynccache.store.key_range import WHOLE
from asynccache.store.local import LocalStore
from asynccache.store.memory import MemoryStore
from tests.support.environments import environment_of
from tests.support.fault_server import FaultServer
from tests.support.faults import Fault, Kind
from tests.support.small_channel import SyntheticChannel
from tests.support.stores import archives_in

PACKAGES = 12


async def audited(
    settings: Settings, *, others: Sequence[StoreRoot] = (), **about: Any
) -> tuple[Audit, list[AuditFinding]]:
    found: list[AuditFinding] = []
    async with Engine(settings) as engine:
        result = await audit(engine, found.append, AuditSelection(**about), others=others)
    return result, found


def kinds(found: list[AuditFinding]) -> list[str]:
    return sorted(f.kind for f in found)


@pytest.fixture
async def whole(filled: FaultServer, channel: SyntheticChannel, configured: Settings, tmp_path: Path) -> Settings:
    """All packages in both formats with receipts, an environment of them, a name; nothing of it is young."""
    async with Engine(configured) as engine:
        await Backfill(engine, Selection(Format.CONDA)).run()
        catalog = Catalog(configured, engine.store)
        environment = environment_of(channel.packages(filled.url, PACKAGES))
        await catalog.publish(environment)
        assert catalog.aliases is not None
        await catalog.aliases.assign(Alias.parse("team/env:v1"), (environment.id.req_id, environment.id.full_id))
    old = time.time() - 2 * LEFT_AFTER
    for path in (tmp_path / "store").rglob("*"):
        os.utime(path, (old, old))
    return configured


async def test_a_store_in_which_all_fits_has_no_findings(whole: Settings) -> None:
    result, found = await audited(whole, read=Sample())
    assert found == []
    assert (result.archives, result.receipts, result.documents, result.names) == (PACKAGES + 6, 6, 1, 1)
    assert result.read is not None
    assert result.read.checked == PACKAGES + 6
    result.raise_for_failures()


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.chmod(0o644)
    path.write_bytes(data)


async def test_each_thing_that_does_not_fit_is_named_once(whole: Settings, tmp_path: Path) -> None:
    store = tmp_path / "store"
    archives = archives_in(store)
    transmuted = [a for a in archives if a.suffix == ".conda" and a.parents[2].name.endswith(".tar.bz2")]
    assert len(transmuted) == 6
    receipts = sorted((store / "asynccache/receipts").rglob("*.json"))

    def receipt_of(archive: Path) -> Path:
        return store / "asynccache/receipts" / f"{archive.relative_to(store / 'packages')}.json"

    assert {receipt_of(a) for a in transmuted} == set(receipts)
    receipt_of(transmuted[0]).unlink()  # no receipt
    transmuted[1].unlink()  # a receipt alone, and missing
    published = [a for a in archives if a.parents[2].name == a.name]
    published[-1].unlink()  # missing
    second = published[0].parents[1] / ("0" * 32) / published[0].name
    second.parent.mkdir()
    second.write_bytes(b"x")
    empty = published[1].parents[1] / ("1" * 32) / published[1].name
    empty.parent.mkdir()
    empty.touch()
    alone = store / "packages/conda/elsewhere/ch/noarch/a-1-0.conda/a-1-0.conda" / ("2" * 32) / "a-1-0.conda"
    alone.parent.mkdir(parents=True)
    alone.write_bytes(b"x")
    os.utime(alone, (1, 1))
    name = store / "envs/aliases/generic/team/env/v1"
    assert name.exists()
    name.write_text(json.dumps(["0" * 40, "1" * 40]))
    (document,) = (store / "envs").glob("linux-64/*/*/env")
    (document.parent / Path(pack_key(EnvID("0" * 40, "1" * 40, "linux-64"))).name).write_bytes(bytes(100))
    result, found = await audited(whole)
    at = {f.kind: f.key for f in found}
    assert kinds(found) == [
        "empty", "missing", "missing", "name", "no receipt", "pack", "receipt", "two digests", "unnamed",
    ]  # fmt: skip
    assert at["no receipt"] == str(transmuted[0].relative_to(store))
    assert at["receipt"] == str(receipt_of(transmuted[1]).relative_to(store))
    missing = {f.key for f in found if f.kind == "missing"}
    assert missing == {str(path.relative_to(store)) for path in (published[-1], transmuted[1])}
    assert at["empty"] == str(empty.relative_to(store))
    assert at["unnamed"] == "packages/conda/elsewhere/ch/noarch/a-1-0.conda"
    with pytest.raises(IntegrityError, match="5 things"):
        result.raise_for_failures()


async def test_what_is_missing_damaged_or_without_receipt_is_mended_and_nothing_is_lost(
    whole: Settings, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    archives = archives_in(store)
    before = {path: path.read_bytes() for path in archives}
    published = [a for a in archives if a.parents[2].name == a.name]
    transmuted = [a for a in archives if a not in published]
    published[0].unlink()
    damage(published[1])
    damage(transmuted[2])
    wrong = transmuted[2].read_bytes()
    (store / "asynccache/receipts" / f"{transmuted[3].relative_to(store / 'packages')}.json").unlink()
    result, found = await audited(whole, read=Sample(), repair=True)
    assert kinds(found) == ["damaged", "damaged", "missing", "no receipt"]
    assert dict(result.mended) == {"damaged": 2, "missing": 1, "no receipt": 1}
    result.raise_for_failures()
    assert {path: path.read_bytes() for path in archives_in(store)} == before
    assert wrong in {path.read_bytes() for path in (store / "asynccache/quarantine").rglob("*") if path.is_file()}
    again, left = await audited(whole, read=Sample())
    assert left == []
    again.raise_for_failures()


async def test_another_store_gives_what_upstream_no_longer_has(
    whole: Settings, filled: FaultServer, tmp_path: Path
) -> None:
    store, other = tmp_path / "store", tmp_path / "other"
    shutil.copytree(store, other)
    published = [a for a in archives_in(store) if a.parents[2].name == a.name]
    before = {path: path.read_bytes() for path in archives_in(store)}
    published[0].unlink()
    damage(published[1])
    damage(other / published[1].relative_to(store))
    filled.plan(Fault(Kind.STATUS, status=404))
    result, found = await audited(whole, read=Sample(), repair=True, others=[whole.other_root(str(other))])
    assert kinds(found) == ["damaged", "missing"]
    assert published[0].read_bytes() == before[published[0]]
    assert not published[1].exists()  # the other store has it damaged as well, and nothing unverified takes its key
    assert dict(result.mended) == {"missing": 1}
    assert list(result.unmended) == [str(published[1].relative_to(store))]
    with pytest.raises(PartialFailureError):
        result.raise_for_failures()


async def test_a_damaged_archive_that_was_built_is_quarantined_and_told_and_the_rest_is_mended(
    whole: Settings, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    file = "a-1.0-py3-none-any.whl"
    built = store / f"packages/pypi/_fake/host/a-1.0.tar.gz/{file}/{'0' * 64}/{file}"
    built.parent.mkdir(parents=True)
    built.write_bytes(b"x")
    published = next(a for a in archives_in(store) if a.parents[2].name == a.name)
    before = published.read_bytes()
    damage(published)
    result, _found = await audited(whole, read=Sample(), repair=True)
    assert result.mended["damaged"] == 1
    assert published.read_bytes() == before
    assert list(result.unmended) == [str(built.relative_to(store))]
    assert [path.read_bytes() for path in (store / "asynccache/quarantine").rglob(file) if path.is_file()] == [b"x"]


async def test_a_name_whose_last_move_was_not_completed_is_repaired_and_what_is_empty_makes_room(
    whole: Settings, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    async with Engine(whole) as engine:
        catalog = Catalog(whole, engine.store)
        assert catalog.aliases is not None
        (document,) = (store / "envs").glob("linux-64/*/*/env")
        ids = (document.parents[1].name, document.parent.name)
        await catalog.aliases.assign(Alias.parse("team/env:latest"), ids)
    name = next(path for path in (store / "envs/aliases/generic").rglob("latest") if path.is_file())
    name.write_bytes(name.read_bytes().replace(ids[1].encode(), b"f" * 40))
    published = [a for a in archives_in(store) if a.parents[2].name == a.name]
    data = published[0].read_bytes()
    published[0].chmod(0o644)
    published[0].write_bytes(b"")
    result, found = await audited(whole, repair=True)
    assert kinds(found) == ["empty", "missing", "name"]
    assert result.unmended == {}
    assert published[0].read_bytes() == data
    assert ids[1].encode() in name.read_bytes()
    async with Engine(whole) as engine:
        assert [deed.what async for deed in journal.entries(engine.store)] == ["delete"]
    assert (await audited(whole))[1] == []


class WithUpload(LocalStore):
    """A directory in which an upload was begun long ago, as only object stores have them."""

    async def unfinished(self) -> list[Unfinished]:
        """See `Store.unfinished`."""
        return [Unfinished("packages/conda/elsewhere/ch/noarch/b-1-0.conda", "1", 1.0)]


def spoil(store: Path) -> None:
    """Make something wrong of each kind but an upload."""
    archives = archives_in(store)
    published = [a for a in archives if a.parents[2].name == a.name]
    transmuted = [a for a in archives if a not in published]
    (store / "asynccache/receipts" / f"{transmuted[0].relative_to(store / 'packages')}.json").unlink()
    transmuted[1].unlink()
    published[-1].unlink()
    second = published[0].parents[1] / ("0" * 32) / published[0].name
    second.parent.mkdir()
    second.write_bytes(b"x")
    empty = published[1].parents[1] / ("1" * 32) / published[1].name
    empty.parent.mkdir()
    empty.touch()
    for host in ("aaa", "zzz"):
        alone = store / f"packages/conda/{host}/ch/noarch/a-1-0.conda/a-1-0.conda" / ("2" * 32) / "a-1-0.conda"
        alone.parent.mkdir(parents=True)
        alone.write_bytes(b"x")
        os.utime(alone, (1, 1))
    damage(published[3])
    (store / "envs/aliases/generic/team/env/v1").write_text(json.dumps(["0" * 40, "1" * 40]))
    (document,) = (store / "envs").glob("linux-64/*/*/env")
    pack = Path(pack_key(EnvID("0" * 40, "1" * 40, "linux-64"))).name
    (document.parent / pack).write_bytes(bytes(100))
    unreadable = store / f"envs/linux-64/{'a' * 40}/{'b' * 40}/env"
    unreadable.parent.mkdir(parents=True)
    unreadable.write_bytes(b"{")


async def audited_in_shards(
    settings: Settings, store: Store, count: int, **about: Any
) -> tuple[list[Audit], AuditRun, list[AuditFinding]]:
    async with Engine(settings, store=store) as engine:
        parts = [
            await audit(engine, lambda _finding: None, AuditSelection(shard=Shard(index, count), **about))
            for index in range(1, count + 1)
        ]
        found: list[AuditFinding] = []
        run = await audit_run(engine.host, engine.store, AuditSelection(shard=Shard(1, count), **about), found.append)
    return parts, run, found


async def test_three_shards_together_find_what_one_audit_of_the_whole_finds(whole: Settings, tmp_path: Path) -> None:
    spoil(tmp_path / "store")
    async with WithUpload(tmp_path / "store") as store:
        found: list[AuditFinding] = []
        async with Engine(whole, store=store) as engine:
            one = await audit(engine, found.append, AuditSelection(Sample()))
        assert {f.kind for f in found} == set(get_args(audit_result.Kind))
        parts, run, together = await audited_in_shards(whole, store, 3, read=Sample(), run_id="r")
        assert sum(part.archives > 0 for part in parts) == 3
        assert sorted(map(str, together)) == sorted(map(str, found))
        assert (run.audit.found, run.complete) == (one.found, True)
        for each in (one, run.audit):
            assert each.read is not None
            each.read.damaged.sort(key=str)
        assert run.audit == one
        with pytest.raises(IntegrityError):
            run.raise_for_failures()


async def test_a_shard_of_a_named_run_that_is_done_tells_what_it_found_and_one_that_is_not_is_named(
    whole: Settings, tmp_path: Path
) -> None:
    spoil(tmp_path / "store")
    async with WithUpload(tmp_path / "store") as store, Engine(whole, store=store) as engine:
        part = AuditSelection(shard=Shard(1, 3), run_id="r")
        found: list[list[AuditFinding]] = [[], [], []]
        first_time = await audit(engine, found[0].append, part)
        for path in (tmp_path / "store/packages").rglob("*.conda"):
            if path.is_file():
                path.unlink()
        assert await audit(engine, found[1].append, part) == first_time
        assert found[1] == found[0] != []
        run = await audit_run(engine.host, engine.store, part, found[2].append)
        assert (run.unfinished, found[2]) == ((2, 3), found[0])
        with pytest.raises(StoreError, match=r"2 of 3 shards are not done \(2, 3\); start those shards again"):
            run.raise_for_failures()


async def test_shards_mend_what_is_in_their_ranges(whole: Settings, tmp_path: Path) -> None:
    store = tmp_path / "store"
    before = {path: path.read_bytes() for path in archives_in(store)}
    published = [a for a in before if a.parents[2].name == a.name]
    for path in (published[0], published[-1]):
        path.unlink()
    for path in (published[2], published[-2]):
        damage(path)
    (store / "envs/aliases/generic/team/env/v1").write_text(json.dumps(["0" * 40, "1" * 40]))
    async with WithUpload(store) as opened:
        _parts, run, found = await audited_in_shards(whole, opened, 3, read=Sample(), repair=True)
    assert kinds(found) == ["damaged", "damaged", "missing", "missing", "name", "upload"]
    assert dict(run.audit.mended) == {"damaged": 2, "missing": 2}
    assert list(run.audit.unmended) == ["envs/aliases/generic/team/env/v1"]  # it is one that never moves
    assert {path: path.read_bytes() for path in archives_in(store)} == before


async def test_a_receipt_is_met_whatever_the_order_of_the_store_and_one_without_archive_is_told() -> None:
    names = [f"conda/h/{channel}/noarch/p-1-0.tar.bz2/p-1-0.conda/{'0' * 32}/p-1-0.conda" for channel in ("a", "a-b")]
    for order in (str, lambda key: key.split("/")):  # by bytes, and by segments as SeaweedFS does

        class Ordered(MemoryStore):
            async def scan(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
                there = [info async for info in super().scan(prefix, start_after=start_after)]
                for info in sorted(there, key=lambda info: order(info.key)):  # noqa: B023
                    yield info

        for with_receipt in names:
            async with Ordered() as store:
                told: list[str] = []
                for name in names:
                    await store.put(f"packages/{name}", b"x")
                await store.put(f"asynccache/receipts/{with_receipt}.json", b"{}")
                await store.put(f"asynccache/receipts/{with_receipt.replace('p-1', 'q-1')}.json", b"{}")
                receipts = ReceiptsOfArchives(store, "packages", WHOLE, told.append)
                have = [
                    name
                    async for info in store.scan("packages/")
                    if await receipts.has(name := info.key.removeprefix("packages/"))
                ]
                await receipts.to_the_end()
                assert have == [with_receipt]
                assert told == [f"asynccache/receipts/{with_receipt.replace('p-1', 'q-1')}.json"]


async def test_both_environments_that_lack_a_package_are_told_by_verify_and_the_package_once_by_audit(
    whole: Settings, filled: FaultServer, channel: SyntheticChannel, tmp_path: Path
) -> None:
    second = environment_of(channel.packages(filled.url, PACKAGES), "b", "c")
    async with Engine(whole) as engine:
        await engine.store.put(CatalogKeys().document(second.id), second.to_json())  # it records no keys
        victim = next(a for a in archives_in(tmp_path / "store") if a.parents[2].name == a.name)
        other = victim.parents[1] / ("0" * 32) / victim.name  # of the same name, and not what the documents name
        other.parent.mkdir()
        victim.rename(other)
        damaged = (await verify_environments(engine.host, engine.sources)).damaged
    lacking = [damage for damage in damaged if damage.missing]
    assert [damage.missing for damage in lacking] == [(victim.name,)] * 2
    assert len({damage.key for damage in lacking}) == 2
    _result, found = await audited(whole)
    assert [f.key for f in found if f.kind == "missing"] == [str(victim.relative_to(tmp_path / "store"))]


class Crowded(MemoryStore):
    """Notes how many small objects are read at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
        """See `Store.get`."""
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        try:
            return await super().get(key, start=start, length=length)
        finally:
            self.now -= 1


async def test_names_are_asked_for_beside_each_other_and_not_all_at_once(configured: Settings) -> None:
    async with Crowded() as store, Engine(configured, store=store) as engine:
        for number in range(40):
            await store.put(f"envs/aliases/generic/e{number}/v1", json.dumps(["0" * 40, "1" * 40]).encode())
        result = await audit(engine, lambda _finding: None)
        assert (result.names, dict(result.found)) == (40, {"name": 40})
        assert 1 < store.most <= 16
