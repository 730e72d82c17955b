"""Ranges of keys leave none out, share none, and are found without listing the store."""

from __future__ import annotations

import hashlib
import random
from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynccache.model.package import Format
from asynccache.store import partition
from asynccache.store.base import Store
from asynccache.store.key_range import LAST, KeyRange, Order, order_shown_by
from tests.store.test_inventory import CountingStore, key_of

pytestmark = pytest.mark.xdist_group("object-servers")
SEGMENT = st.sampled_from(["a", "a-b", "a.c", "ab", "r-x", "r", "00", "0f", "z"])
PATH = st.builds(
    lambda directories, stem: "/".join(["h", *directories, f"{stem}-1-0.conda"]),
    st.lists(SEGMENT, min_size=1, max_size=3),
    st.builds("".join, st.lists(SEGMENT, min_size=1, max_size=2)),
)


async def _filled(paths: list[str], *, by_segment: bool = False) -> CountingStore:
    store = CountingStore(by_segment=by_segment)
    for path in paths:
        for number, fmt in enumerate((Format.CONDA, Format.TAR_BZ2)):
            await store.put(key_of(path, fmt, hashlib.md5(f"{path}{number}".encode()).hexdigest()), b"archive")
    store.listings = 0
    return store


def _ranges(places: list[str], order: Order) -> list[KeyRange]:
    ends = ["", *places, ""]
    return [KeyRange(after, upto, order) for after, upto in pairwise(ends)]


@pytest.mark.parametrize("by_segment", [False, True])
@pytest.mark.parametrize("seen", [3, 300])
@given(paths=st.lists(PATH, max_size=30, unique=True), later=st.lists(PATH, max_size=9), count=st.integers(2, 9))
@settings(max_examples=30, deadline=None)
async def test_every_key_is_in_one_range_and_with_its_source(
    paths: list[str], later: list[str], count: int, seen: int, *, by_segment: bool
) -> None:
    store = await _filled(paths, by_segment=by_segment)
    before = partition._SEEN, partition._SMALL
    partition._SEEN, partition._SMALL = seen, 0  # type: ignore[misc]
    try:
        sampled = await partition.sampled(store, "packages/", count)
    finally:
        partition._SEEN, partition._SMALL = before  # type: ignore[misc]
    found = [sampled, await partition.counted(store, "packages/", count) or []]
    for path in later:  # what comes after the plan was made is in one range, too
        await store.put(key_of(path, Format.CONDA, "f" * 32), b"archive")
    keys = sorted(store._keys)
    order: Order = "segments" if by_segment else "bytes"
    for places in found:
        assert len(places) < count
        ranges = _ranges(places, order)
        listed = [[info.key async for info in each.scan(store, "packages/")] for each in ranges]
        assert sorted(chain.from_iterable(listed)) == keys
        for part, each in zip(listed, ranges, strict=True):
            directories = {partition.unit_of(key, "packages/") for key in part}
            assert all(each.holds(f"{directory}/") for directory in directories)
            assert all(each.holds(key) for key in part)


async def test_four_ranges_of_ten_thousand_list_each_key_once_and_are_found_with_few_requests() -> None:
    names = [f"h/ch/noarch/p-{number:05}-1-0.conda" for number in range(5_000)]
    store = await _filled(names)
    places = await partition.sampled(store, "packages/conda/", 4)
    assert store.listings == 11
    store.listings = 0
    sizes = [len([info async for info in each.scan(store, "packages/conda/")]) for each in _ranges(places, "bytes")]
    assert sum(sizes) == 10_000
    assert store.listings <= 10 + 4
    assert max(sizes) < 1.5 * min(sizes)


async def test_ranges_of_names_like_real_ones_are_not_far_from_even_after_a_bounded_number_of_requests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition, "_SMALL", 0)
    source = random.Random(1)
    names = ["".join(source.choices("abcdeiloprstu", k=5)) for _ in range(900)]
    names += [f"r-{name}" for name in names[:500]]
    paths = [
        f"h/ch/{subdir}/{name}-{version}-0.conda"
        for subdir in ("linux-64", "noarch")
        for name in names
        for version in range(int(source.paretovariate(1)) % 9 + 1)
    ]
    store = await _filled(paths)
    places = await partition.sampled(store, "packages/", 4)
    assert store.listings < 64 + 12 * 4 + 100
    sizes = [len([info async for info in each.scan(store, "packages/")]) for each in _ranges(places, "bytes")]
    assert max(sizes) < 2 * sum(sizes) / 4


async def test_a_range_of_any_store_begins_behind_all_of_a_directory(store: Store) -> None:
    for key in ("o/1.json", "o/1/planner.json", "packages/a-b/x", "packages/a/x", "packages/a/y", "packages/b"):
        await store.put(key, b"1")
    order = await order_shown_by(store, "o/1")
    ranges = _ranges([f"packages/a/{LAST}"], order)
    listed = [[info.key async for info in each.scan(store, "packages/")] for each in ranges]
    everything = [info.key async for info in store.scan("packages/")]
    assert listed[0] + listed[1] == everything
    assert "packages/a/y" in listed[0]
    assert "packages/b" in listed[1]
    assert [info.key async for info in KeyRange(f"packages/{LAST}").scan(store, "packages/a/")] == []
    assert [info.key async for info in KeyRange("o/1").scan(store, "packages/b")] == ["packages/b"]
