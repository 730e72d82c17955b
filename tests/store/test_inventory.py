from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynccache.errors import StoreError
from asynccache.model.package import Format
from asynccache.model.url import PackageURL
from asynccache.store.base import ObjectInfo
from asynccache.store.inventory import Inventory
from asynccache.store.layout import SourceAddress, archive_key, source_directory
from asynccache.store.local import LocalStore
from asynccache.store.memory import MemoryStore
from asynccache.store.stored import StoredArchive

ZEROS = "0" * 32


class CountingStore(MemoryStore):
    """A store that counts listings, and lists segment by segment as SeaweedFS does when told to.

    Args:
        by_segment: Whether `a/x` comes before `a-b/x`.
        delay: Seconds that a listing takes.
        most: Keys of a page.
    """

    def __init__(self, *, by_segment: bool = False, delay: float = 0.0, most: int = 1000) -> None:
        super().__init__()
        self.listings = 0
        self.at_once = 0
        self.most_at_once = 0
        self._by_segment = by_segment
        self._delay = delay
        self._most = most

    async def list_page(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> list[ObjectInfo]:
        self.listings += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self._delay)
        self.at_once -= 1
        limit = min(limit, self._most)
        if not self._by_segment:
            return await super().list_page(prefix, start_after=start_after, limit=limit)
        keys = sorted((k for k in self._keys if k.startswith(prefix)), key=lambda k: k.split("/"))
        after = [k for k in keys if k.split("/") > start_after.split("/")] if start_after else keys
        return [self._objects[k].info for k in after[:limit]]


def url(path: str) -> PackageURL:
    return PackageURL.parse(f"https://{path}")[0]


def key_of(path: str, fmt: Format = Format.CONDA, digest: str = ZEROS) -> str:
    stem = path.rsplit("/", 1)[-1].removesuffix(".conda").removesuffix(".tar.bz2")
    return archive_key(SourceAddress.parse(f"https://{path}", "conda"), stem + fmt, digest)


async def filled(store: MemoryStore, paths: list[str]) -> MemoryStore:
    for path in paths:
        await store.put(key_of(path), b"archive")
    return store


def conda(number: int, subdir: str = "linux-64") -> str:
    return f"conda.host/forge/{subdir}/pkg{number:06}-1.0-h0_0.conda"


async def test_it_finds_every_archive_of_a_source_directory(tmp_path: Path) -> None:
    for store in (MemoryStore(), LocalStore(tmp_path)):
        async with store:
            path = "conda.host/forge/noarch/a-1-0.tar.bz2"
            await store.put(key_of(path, Format.TAR_BZ2), b"published")
            await store.put(key_of(path, Format.CONDA, "1" * 32), b"derived!!!")
            await store.put("packages/conda/conda.host/forge/noarch/a-1-0.tar.bz2/README", b"no archive")
            inventory = Inventory(store)
            await inventory.load([url(path), url("conda.host/forge/noarch/b-1-0.conda")])
            derived, published = inventory.found(url(path))
            assert (published.filename, published.hash, published.size) == ("a-1-0.tar.bz2", ZEROS, 9)
            assert (derived.stem, derived.format, derived.hash, derived.size) == ("a-1-0", Format.CONDA, "1" * 32, 10)
            assert derived.key == key_of(path, Format.CONDA, "1" * 32)
            assert inventory.found(url("conda.host/forge/noarch/b-1-0.conda")) == ()


async def test_the_packages_directory_has_any_name() -> None:
    store = MemoryStore()
    path = "conda.host/forge/noarch/a-1-0.conda"
    await store.put(key_of(path).replace("packages/", "my/own/", 1), b"x")
    inventory = Inventory(store, "my/own")
    await inventory.load([url(path)])
    assert len(inventory.found(url(path))) == 1
    other = Inventory(store)
    await other.load([url(path)])
    assert other.found(url(path)) == ()


async def test_an_unasked_url_is_not_taken_for_an_absent_one() -> None:
    with pytest.raises(KeyError):
        Inventory(MemoryStore()).found(url(conda(1)))


async def test_empty_objects_and_empty_hash_directories_are_absent(tmp_path: Path) -> None:
    path = "conda.host/forge/noarch/a-1-0.conda"
    (tmp_path / key_of(path)).parent.mkdir(parents=True)
    async with LocalStore(tmp_path) as store:
        inventory = Inventory(store)
        assert await inventory.refresh(url(path)) == ()
        (tmp_path / key_of(path)).touch()
        assert await inventory.refresh(url(path)) == ()
        (tmp_path / key_of(path)).write_bytes(b"x")
        (archive,) = await inventory.refresh(url(path))
        assert inventory.found(url(path)) == (archive,)


async def test_of_two_hashes_the_first_written_is_taken_and_both_are_reported() -> None:
    store = MemoryStore()
    path = "conda.host/forge/noarch/a-1-0.tar.bz2"
    await store.put(key_of(path, Format.CONDA, "f" * 32), b"first")
    await asyncio.sleep(0.01)
    await store.put(key_of(path, Format.CONDA, "0" * 32), b"second")
    inventory = Inventory(store)
    await inventory.load([url(path)])
    (archive,) = inventory.found(url(path))
    assert archive.hash == "f" * 32
    directory = source_directory(url(path), "conda") + "/a-1-0.conda"
    assert inventory.duplicates == {
        directory: (key_of(path, Format.CONDA, "f" * 32), key_of(path, Format.CONDA, "0" * 32))
    }
    await store.delete(key_of(path, Format.CONDA, "0" * 32))
    await inventory.refresh(url(path))
    assert inventory.duplicates == {}


async def test_a_store_that_holds_just_the_wanted_packages_costs_one_request_a_thousand() -> None:
    paths = [conda(n) for n in range(2500)]
    store = CountingStore()
    await filled(store, paths)
    inventory = Inventory(store)
    await inventory.load([url(p) for p in paths])
    assert all(inventory.found(url(p)) for p in paths)
    assert store.listings <= 5


async def test_three_hundred_packages_of_three_hosts_cost_three_requests() -> None:
    paths = [f"{host}/ch/noarch/p{n}-1-0.conda" for n in range(100) for host in ("a", "b:80", "c")]
    store = CountingStore()
    await filled(store, paths)
    inventory = Inventory(store)
    await inventory.load([url(p) for p in paths])
    assert store.listings == 3


async def test_few_packages_in_a_huge_store_cost_one_small_request_each_and_run_at_once() -> None:
    store = CountingStore(delay=0.001)
    await filled(store, [conda(n) for n in range(20_000)])
    wanted = [conda(n) for n in random.Random(3).sample(range(20_000), 100)]
    inventory = Inventory(store)
    await inventory.load([url(p) for p in wanted])
    assert all(len(inventory.found(url(p))) == 1 for p in wanted)
    assert store.listings <= 101
    assert 8 <= store.most_at_once <= 16


async def test_a_source_directory_of_more_than_a_page_is_found_whole() -> None:
    store = CountingStore()
    path = "conda.host/forge/noarch/a-1-0.tar.bz2"
    for number in range(1500):
        await store.put(key_of(path, Format.CONDA, f"{number:032x}"), b"x")
    await store.put(key_of(path, Format.TAR_BZ2), b"x")
    inventory = Inventory(store)
    await inventory.load([url(path)] + [url(conda(n)) for n in range(10)])
    assert [a.filename for a in inventory.found(url(path))] == ["a-1-0.conda", "a-1-0.tar.bz2"]


async def test_a_failed_listing_is_raised_as_it_is() -> None:
    class Broken(MemoryStore):
        async def list_page(self, prefix: str, *, start_after: str = "", limit: int = 1000) -> list[ObjectInfo]:
            raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        await Inventory(Broken()).load([url(conda(n)) for n in range(20)])


async def test_a_page_that_ends_before_a_directory_in_the_servers_order_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asynccache.store.inventory._PAGE", 5)
    monkeypatch.setattr("asynccache.store.inventory._DENSE", 2)
    store = CountingStore(by_segment=True, most=5)
    between = [f"h/a/noarch/p{n}-1-0.conda" for n in range(9)]  # `a-b/` sorts before `a/` by bytes, `a` before `a-b`
    wanted = ["h/A/noarch/p-1-0.conda", "h/a-b/noarch/p-1-0.conda"]
    await filled(store, between + wanted)
    inventory = Inventory(store)
    await inventory.load([url(p) for p in wanted])
    assert all(inventory.found(url(p)) for p in wanted)


_NAMES = ["a", "a-b", "a.b", "b", "linux-64", "noarch"]
_PATHS = st.builds(
    lambda host, channel, subdir, number: f"{host}/{channel}/{subdir}/p{number}-1-0.conda",
    st.sampled_from(["h", "h-2", "h.x:80"]),
    st.sampled_from(_NAMES),
    st.sampled_from(_NAMES),
    st.integers(0, 40),
)


@pytest.mark.parametrize("by_segment", [False, True], ids=["by bytes", "by segment"])
@settings(max_examples=60, deadline=None)
@given(st.sets(_PATHS, max_size=60), st.sets(_PATHS, min_size=1, max_size=60), st.integers(3, 12))
def test_it_finds_the_same_in_any_order_of_listing_and_any_page_size(
    by_segment: bool, stored: set[str], wanted: set[str], page: int
) -> None:
    async def compare() -> None:
        store = CountingStore(by_segment=by_segment, most=page)
        await filled(store, sorted(stored))
        inventory = Inventory(store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("asynccache.store.inventory._PAGE", page)
            patch.setattr("asynccache.store.inventory._DENSE", 2)
            await inventory.load([url(p) for p in wanted])
        for path in wanted:
            found = inventory.found(url(path))
            assert [a.key for a in found] == ([key_of(path)] if path in stored else [])
            assert all(isinstance(a, StoredArchive) for a in found)

    asyncio.run(compare())
