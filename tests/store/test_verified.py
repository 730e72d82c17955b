"""What a read of the store shows is decided once: by the object's own key, and never by one reading."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asynccache.errors import StoreError
from asynccache.model.digest import Digests
from asynccache.model.package import Format
from asynccache.runtime.budget import Budget
from asynccache.runtime.threads import Threads
from asynccache.store.base import BytesMoved, ObjectInfo, Store
from asynccache.store.memory import MemoryStore
from asynccache.store.stored import StoredArchive
from asynccache.store.verified import Absent, Damaged, Misread, NotWanted, VerifiedReader, Whole

BODY = bytes(range(256)) * 40
MD5 = hashlib.md5(BODY).hexdigest()
KEY = f"packages/conda/h/c/noarch/a-1-0.conda/a-1-0.conda/{MD5}/a-1-0.conda"


class Faulty(MemoryStore):
    """Reads as it is told: each download takes the next of `faults`, whichever opening makes it."""

    def __init__(self, faults: list[str], openings: list["Faulty"] | None = None) -> None:
        super().__init__()
        self.faults = faults
        self.openings = [self] if openings is None else openings
        self.read_by: list[Faulty] = []

    def another(self) -> MemoryStore:
        other = Faulty(self.faults, self.openings)
        self.openings.append(other)
        self.share(other)
        return other

    async def download(self, key: str, path: Path, *, size: int | None = None, moved: BytesMoved | None = None) -> int:
        self.openings[0].read_by.append(self)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "fails":
            raise StoreError("the store does not answer")
        count = await super().download(key, path, size=size, moved=moved)
        if fault == "flips":
            path.write_bytes(b"!" + path.read_bytes()[1:])
        elif fault == "cuts":
            path.write_bytes(path.read_bytes()[:-7])
        return count


@dataclass
class Bed:
    store: MemoryStore
    reader: VerifiedReader
    path: Path
    told: list[Damaged | Misread] = field(default_factory=list)

    async def read(self, wanted: Digests | None = None, key: str = KEY) -> Whole | Absent | NotWanted | Damaged:
        archive = StoredArchive.recorded(ObjectInfo(key, 0), "a-1-0", Format.CONDA)
        return await self.reader.read(archive, self.path, wanted=wanted)


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    with Threads(2) as pool:
        yield pool


def bed(threads: Threads, path: Path, *faults: str) -> Bed:
    store = Faulty(list(faults))
    told: list[Damaged | Misread] = []
    reader = VerifiedReader(store, threads, Budget(1 << 20), Budget(2), told.append)
    return Bed(store, reader, path / "file", told)


async def test_what_is_as_its_key_says_is_whole_after_one_reading(threads: Threads, tmp_path: Path) -> None:
    made = bed(threads, tmp_path)
    await made.store.put(KEY, BODY)
    reading = await made.read(Digests(sha256=hashlib.sha256(BODY).hexdigest()))
    assert reading == Whole(Digests(md5=MD5, sha256=hashlib.sha256(BODY).hexdigest(), size=len(BODY)))
    assert made.path.read_bytes() == BODY
    assert made.told == []
    assert isinstance(made.store, Faulty)
    assert len(made.store.read_by) == 1


@pytest.mark.parametrize("fault", ["flips", "cuts"])
async def test_one_wrong_reading_is_no_damage_and_is_told(threads: Threads, tmp_path: Path, fault: str) -> None:
    made = bed(threads, tmp_path, fault)
    await made.store.put(KEY, BODY)
    assert isinstance(await made.read(), Whole)
    assert made.path.read_bytes() == BODY
    (told,) = made.told
    assert isinstance(told, Misread)
    assert (told.part, told.expected) == ("md5", MD5)


async def test_the_second_reading_is_made_by_the_store_opened_anew(threads: Threads, tmp_path: Path) -> None:
    made = bed(threads, tmp_path, "flips")
    await made.store.put(KEY, BODY)
    await made.read()
    assert isinstance(made.store, Faulty)
    first, second = made.store.read_by
    assert first is made.store
    assert second is not made.store


async def test_what_differs_from_its_key_twice_is_damaged_with_both_readings_and_its_version(
    threads: Threads, tmp_path: Path
) -> None:
    made = bed(threads, tmp_path)
    there = await made.store.put(KEY, BODY[:-1] + b"?")
    reading = await made.read()
    assert isinstance(reading, Damaged)
    wrong = hashlib.md5(BODY[:-1] + b"?").hexdigest()
    assert (reading.part, reading.expected, reading.found) == ("md5", MD5, wrong)
    assert [r.md5 for r in reading.readings] == [wrong, wrong]
    assert reading.version == there.etag
    assert made.told == [reading]
    assert not made.path.exists()
    assert [i.key async for i in made.store.scan()] == [KEY]
    assert "`asynccache verify --quarantine`" in str(reading.error("memory:"))


@pytest.mark.parametrize("wanted", [Digests(md5="0" * 32), Digests(sha256="0" * 64), Digests(size=3)])
async def test_a_good_object_that_is_not_what_was_wanted_is_not_damaged(
    threads: Threads, tmp_path: Path, wanted: Digests
) -> None:
    made = bed(threads, tmp_path)
    await made.store.put(KEY, BODY)
    reading = await made.read(wanted)
    assert isinstance(reading, NotWanted)
    assert made.told == []
    assert not made.path.exists()


async def test_where_the_key_names_no_digest_the_wanted_one_decides_and_nothing_is_damaged(
    threads: Threads, tmp_path: Path
) -> None:
    made = bed(threads, tmp_path, "flips")
    await made.store.put("old/cache/a-1-0.conda", BODY)
    assert isinstance(await made.read(Digests(md5=MD5), "old/cache/a-1-0.conda"), Whole)
    assert isinstance(await made.read(Digests(md5="0" * 32), "old/cache/a-1-0.conda"), NotWanted)


async def test_what_is_not_there_is_absent(threads: Threads, tmp_path: Path) -> None:
    made = bed(threads, tmp_path)
    assert await made.read() == Absent()


@pytest.mark.parametrize("faults", [("fails",), ("flips", "fails")])
async def test_a_store_that_fails_tells_nothing_of_its_objects(
    threads: Threads, tmp_path: Path, faults: tuple[str, ...]
) -> None:
    made = bed(threads, tmp_path, *faults)
    await made.store.put(KEY, BODY)
    with pytest.raises(StoreError, match="does not answer"):
        await made.read()
    assert made.told == []
    assert not made.path.exists()


async def test_every_kind_of_store_can_be_opened_anew(store: Store, tmp_path: Path) -> None:
    await store.put("a", b"1")
    async with store.another() as other:
        assert await other.get("a") == b"1"
        await other.put("b", b"2")
        assert other.root == store.root
    assert await store.get("b") == b"2"
