"""Running several coroutines, as one unit or independently, and work that must complete even if its caller is
cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from asynccache.errors import AsyncCacheError
from asynccache.runtime.budget import Budget
from asynccache.runtime.failures import as_failure, leaves
from asynccache.runtime.late_loop import loop_begins, without_loop

T = TypeVar("T")
Item = TypeVar("Item")


async def run_together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines at once; return their results in order.

    The first failure cancels the others and is raised as it is, not in a group: they work on one thing, so one error is
    enough.
    """
    works = list(coroutines)
    if without_loop():
        if len(works) < 2:
            return [await work for work in works]
        await loop_begins()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in works]
    except BaseExceptionGroup as exc:
        raise _first(exc) from None
    return [task.result() for task in tasks]


async def with_beside(work: Coroutine[Any, Any, T], beside: Coroutine[Any, Any, object]) -> T:
    """Run a coroutine and return its result; another one runs beside it, and is cancelled when it ends.

    A failure of either is raised as it is.
    """
    try:
        async with asyncio.TaskGroup() as group:
            other = group.create_task(beside)
            try:
                return await work
            finally:
                other.cancel()
    except BaseExceptionGroup as exc:
        raise _first(exc) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the most informative exception: an interrupt before a failure."""
    found = list(leaves(group))
    return next((error for error in found if not isinstance(error, Exception)), found[0])


async def outcome_of(work: Awaitable[T]) -> T | AsyncCacheError:
    """Return the result of a work, or its failure: whatever is raised in it (see `as_failure`).

    Only a cancellation of the caller and an interrupt are raised.
    """
    try:
        return await work
    except Exception as exc:  # noqa: BLE001 - this is the place that handles it
        return as_failure(exc)
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        return as_failure(exc)  # something inside was cancelled that is no longer waited for
    except BaseExceptionGroup as exc:
        if any(not isinstance(leaf, Exception | asyncio.CancelledError) for leaf in leaves(exc)):
            raise
        return as_failure(exc)


async def run_works(
    items: Iterable[Item] | AsyncGenerator[Item],
    work: Callable[[Item], Awaitable[T]],
    *,
    room: Budget | None = None,
    keep: bool = True,
) -> list[T | AsyncCacheError]:
    """Do the same work on many items concurrently and independently: a failing one does not affect the others.

    Whatever is raised in the work on an item becomes that item's failure (see `outcome_of`). Only a cancellation of the
    caller, an interrupt, and what is raised while taking the items end the whole; running works are then cancelled.

    Args:
        items: Taken as there is room, so that a hundred thousand are not a hundred thousand tasks; a generator is
            closed at the end.
        work: Called with an item.
        room: Limits how many works run at once; None for no limit.
        keep: Return the outcome of each, of which a million need much memory.

    Returns:
        For each item, in order, the result or the failure; nothing unless they are kept.
    """

    async def called(item: Item) -> T:
        return await work(item)

    if without_loop():
        if isinstance(items, Sequence) and len(items) < 2:
            alone = [await outcome_of(called(item)) for item in items]
            return alone if keep else []
        await loop_begins()
    outcomes: dict[int, T | AsyncCacheError] = {}
    count = 0

    async def one(number: int, item: Item) -> None:
        outcome = await outcome_of(called(item))
        if keep:
            outcomes[number] = outcome

    try:
        async with aclosing(_each(items)) as following, asyncio.TaskGroup() as group:
            async for item in following:
                if room is not None:
                    await room.acquire()
                task = group.create_task(one(count, item))
                if room is not None:
                    task.add_done_callback(lambda _task: room.release())
                count += 1
    except BaseExceptionGroup as exc:
        raise _first(exc) from None
    return [outcomes[number] for number in range(count)] if keep else []


async def _each(items: Iterable[Item] | AsyncGenerator[Item]) -> AsyncGenerator[Item]:
    if isinstance(items, Iterable):
        for item in items:
            yield item
    else:
        async with aclosing(items):
            async for item in items:
                yield item


async def to_the_end(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """Run a coroutine that must not be left half done.

    A cancelled caller waits for it, at most `seconds`, and is then cancelled; the coroutine must record its result
    itself.
    """
    # shield starts a task; waiting on its future, unlike awaiting it, leaves the task alone
    future = asyncio.shield(coroutine)
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError:
        try:
            await asyncio.wait([future], timeout=seconds)
        finally:
            if future.done() and not future.cancelled():
                future.exception()  # seen: the caller gets the cancellation
        raise
    return future.result()
