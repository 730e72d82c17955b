"""Budgets lend in turn and lose nothing."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynccache.runtime.budget import Budget


async def test_what_is_lent_never_exceeds_the_total() -> None:
    budget = Budget(3)

    async def borrow() -> None:
        async with budget.borrow():
            assert budget.used <= 3
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for _ in range(50):
            group.create_task(borrow())
    assert budget.used == 0
    assert budget.peak == 3


async def test_waiters_are_served_in_the_order_they_came() -> None:
    budget, served = Budget(1), list[int]()

    async def borrow(number: int) -> None:
        async with budget.borrow():
            served.append(number)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(borrow(number))
    assert served == list(range(10))


async def test_who_has_the_most_to_do_comes_first_and_equals_in_turn() -> None:
    budget, served = Budget(1), list[tuple[int, int]]()

    async def borrow(number: int, work: int) -> None:
        async with budget.borrow(work=work):
            served.append((work, number))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number, work in enumerate([5, 0, 9, 0, 9, 1]):
            group.create_task(borrow(number, work))
    assert served == [(5, 0), (9, 2), (9, 4), (1, 5), (0, 1), (0, 3)]  # the first had nobody beside it


async def test_a_small_request_does_not_overtake_a_large_one_that_waits() -> None:
    budget, served = Budget(4), list[int]()

    async def borrow(amount: int) -> None:
        async with budget.borrow(amount):
            served.append(amount)
            await asyncio.sleep(0)

    async with budget.borrow(3):
        tasks = [asyncio.ensure_future(borrow(4)), asyncio.ensure_future(borrow(1))]
        await asyncio.sleep(0)
        assert served == []
    await asyncio.gather(*tasks)
    assert served == [4, 1]


async def test_a_request_above_the_total_is_granted_alone() -> None:
    budget = Budget(4)
    async with budget.borrow(1_000_000) as amount:
        assert amount == 4


async def test_idle_amounts_are_taken_only_while_nobody_waits() -> None:
    budget = Budget(2)
    async with budget.borrow_up_to(2) as all_of_it:
        assert all_of_it == 2
        waiting = [asyncio.ensure_future(_take_up_to(budget, 2)) for _ in range(2)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*waiting) == [1, 1]
    assert budget.used == 0


async def test_of_several_that_ask_at_once_none_takes_what_another_could_use() -> None:
    budget = Budget(2)
    assert await asyncio.gather(*(_take_up_to(budget, 2) for _ in range(3))) == [1, 1, 2]


async def _take_up_to(budget: Budget, amount: int) -> int:
    async with budget.borrow_up_to(amount) as got:
        await asyncio.sleep(0)
        return got


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.integers(0, 3)), max_size=20))
def test_cancelled_waiters_give_back_whatever_they_were_granted(plan: list[tuple[int, bool, int]]) -> None:
    async def scenario() -> None:
        budget = Budget(4)

        async def borrow(amount: int, steps: int) -> None:
            async with budget.borrow(amount):
                for _ in range(steps):
                    await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(borrow(amount, steps)) for amount, _, steps in plan]
        for task, (_, cancel, steps) in zip(tasks, plan, strict=True):
            for _ in range(steps):
                await asyncio.sleep(0)
            if cancel:
                task.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks, return_exceptions=True)
        assert budget.used == 0
        assert not budget._waiting

    asyncio.run(scenario())


def test_an_empty_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Budget(0)
