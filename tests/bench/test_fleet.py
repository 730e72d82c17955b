"""A fleet that starts at once, small and in virtual time: the rules by which requests wait are the product's own."""

from __future__ import annotations

import asyncio
import random

import pytest

from asynccache.hydrate.packages import asking_order
from bench.fleet import (
    GETS,
    Hydrate,
    Outcome,
    VirtualTime,
    environment,
    from_pack,
    from_packages,
    one_by_one,
    prefix_of,
    simulate,
)

NODES, PACKAGES = 30, 50
SCALE = NODES / 3000  # the store's rates are those for 3,000 nodes, as is what each node has of them
WANTED = environment(PACKAGES, random.Random(1))
BUSIEST = max(sum(prefix_of(key) == prefix_of(other) for key, _ in WANTED.packages) for other, _ in WANTED.packages)
LEAST = BUSIEST * NODES / (GETS * SCALE)  # seconds in which the store can answer all


def started(hydrate: Hydrate, *, shared: bool = True) -> Outcome:
    return simulate(hydrate, WANTED, nodes=NODES, tasks=1, shared=shared, scale=SCALE)


def test_a_fleet_that_is_refused_gets_all_in_little_more_than_the_store_needs_to_answer_it() -> None:
    ours, other = started(from_packages), started(one_by_one, shared=False)
    assert (ours.failures, other.failures) == (0, 0)
    assert ours.ready[-1] < 1.25 * LEAST
    assert ours.ready[-1] < other.ready[-1]
    assert ours.requests_per_node < 2.25 * (1 + PACKAGES)
    assert 1.8 * ours.requests_per_node < other.requests_per_node


def test_from_packs_it_takes_a_fraction_of_that_and_few_requests() -> None:
    packed = started(from_pack)
    assert packed.failures == 0
    assert packed.refused > 0
    assert packed.requests_per_node < 21  # 9 are needed
    assert packed.ready[-1] < 0.45 * LEAST


def test_tasks_of_a_node_ask_once() -> None:
    outcome = simulate(from_packages, WANTED, nodes=2, tasks=20, shared=True)
    assert outcome.requests == [1 + PACKAGES] * 2
    assert len(outcome.ready) == 40


def test_packages_of_unknown_size_come_in_another_order_on_each_node_and_large_ones_first() -> None:
    orders = {tuple(asking_order([0] * 8)) for _ in range(50)}
    assert len(orders) > 20
    assert all(sorted(order) == list(range(8)) for order in orders)
    sizes = [1, 5, 0, 5]
    assert {tuple(asking_order(sizes, wheels={3})) for _ in range(20)} == {(3, 1, 0, 2)}


def test_virtual_time_passes_when_somebody_waits_and_stands_where_nobody_ever_will() -> None:
    async def wait() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        assert runner.run(wait()) == pytest.approx(3600)
        with pytest.raises(RuntimeError, match="never be"):
            runner.run(asyncio.Event().wait())
