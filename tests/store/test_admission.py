"""A client that is too old for a store writes nothing; a version leaves a mark a day; neither disturbs normal work."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from asynccache import __version__
from asynccache.errors import IntegrityError, StoreRefusedError, UsageError
from asynccache.model.digest import digest_file
from asynccache.store.admission import FORMAT, Admission, read_floor, read_writers, set_floor
from asynccache.store.base import Condition, ObjectInfo
from asynccache.store.memory import MemoryStore

FLOOR = "asynccache/format-floor"
TODAY = datetime.now(UTC).date()


@pytest.fixture
async def store(tmp_path: Path) -> MemoryStore:
    made = MemoryStore()
    made.admit(Admission(tmp_path / "cache"))
    return made


async def keys(store: MemoryStore) -> list[str]:
    return [info.key async for info in store.scan()]


async def test_a_client_below_the_floor_reads_and_writes_nothing(store: MemoryStore, tmp_path: Path) -> None:
    other = MemoryStore()
    floor = json.dumps({"format": FORMAT + 1, "by": "ann", "on": "2026-01-31"}).encode()
    await other.put(FLOOR, floor)
    await other.put("a", b"1")
    other.admit(Admission(tmp_path))
    path = tmp_path / "file"
    path.write_bytes(b"2")
    digests = digest_file(str(path), "sha256", "md5")
    for write in (
        other.put("b", b"2"), other.put("a", b"2"), other.upload("b", path, digests),
        other.delete("a"), other.move("a", "b"),
    ):  # fmt: skip
        with pytest.raises(StoreRefusedError, match=r"format 2 or later, set by ann on 2026-01-31.*update asynccache"):
            await write
    assert (await keys(other), await other.get("a")) == (["a", FLOOR], b"1")


async def test_a_floor_is_set_seen_and_taken_away_but_not_above_who_sets_it(store: MemoryStore) -> None:
    assert (await read_floor(store)).format == 0
    await set_floor(store, FORMAT, "ann")
    await store.put("a", b"1")
    floor = await read_floor(store)
    assert (floor.format, floor.by, floor.on) == (FORMAT, "ann", TODAY.isoformat())
    await set_floor(store, 0, "bob")
    assert (await read_floor(store)).format == 0
    with pytest.raises(UsageError, match="there is no such format"):
        await set_floor(store, FORMAT + 1, "ann")


@pytest.mark.parametrize("data", [b"x", b"[]", b"{}", b'{"format": "a"}', b"null"])
async def test_a_floor_that_says_nothing_lets_nobody_write(store: MemoryStore, tmp_path: Path, data: bytes) -> None:
    damaged = MemoryStore()
    await damaged.put(FLOOR, data)
    damaged.admit(Admission(tmp_path))
    with pytest.raises(IntegrityError, match=r"says no format.*asynccache floor"):
        await damaged.put("a", b"1")
    assert await keys(damaged) == [FLOOR]


async def test_a_version_leaves_one_mark_a_day(store: MemoryStore, tmp_path: Path) -> None:
    await asyncio.gather(*(store.put(name, b"1") for name in "abc"))
    mark = f"asynccache/writers/{FORMAT}/{__version__}/{TODAY}.json"
    assert await keys(store) == ["a", mark, "b", "c"]
    assert json.loads(await store.get(mark)) == {"format": FORMAT, "version": __version__, "day": TODAY.isoformat()}
    await store.delete(mark)
    for memory, left in ((tmp_path / "cache", False), (tmp_path / "another machine", True)):
        store.admit(Admission(memory))
        await store.put("d", b"1")
        assert (mark in await keys(store)) is left


async def test_who_wrote_lately_is_told_with_a_warning_of_older_ones(store: MemoryStore) -> None:
    def key(version: str, days: int, number: int = FORMAT) -> str:
        return f"asynccache/writers/{number}/{version}/{TODAY - timedelta(days=days)}.json"

    for name in (key("0.0.9", 2), key("0.0.9", 5), key("0.0.8", 40), key("9.0.0", 0), key(__version__, 1)):
        await store.put(name, b"{}")
    for name in (
        "asynccache/writers/1/0.0.1/soon.json",
        "asynccache/writers/1/x y/2026-01-31.json",
        "asynccache/writers/a",
    ):
        await store.put(name, b"{}")
    writers = await read_writers(store)
    assert [w.version for w in writers.versions] == ["0.0.9", __version__, "9.0.0"]
    assert writers.versions[0].last == (TODAY - timedelta(days=2)).isoformat()
    (warning,) = writers.warnings
    assert "0.0.9 (last on" in warning
    assert "0.0.8" not in warning
    assert "9.0.0" not in warning


async def test_a_mark_that_cannot_be_left_and_a_floor_that_may_not_be_read_are_no_failure(tmp_path: Path) -> None:
    class Strict(MemoryStore):
        async def get(self, key: str, *, start: int = 0, length: int | None = None) -> bytes:
            raise StoreRefusedError(f"{key} may not be read")

        async def _put(self, key: str, data: bytes, condition: Condition) -> ObjectInfo:
            if key.startswith("asynccache/"):
                raise StoreRefusedError(f"{key} may not be written")
            return await super()._put(key, data, condition)

    strict = Strict()
    (tmp_path / "file").write_text("no directory")
    strict.admit(Admission(tmp_path / "file"))
    await strict.put("a", b"1")
    assert await keys(strict) == ["a"]
