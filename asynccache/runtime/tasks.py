"""Running several requests as one, and requests that must be brought to an end although nobody waits any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


async def run_together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines at once; return their results in order.

    The first failure cancels the others and is raised as it is, not in a group: they work on one thing, so one error
    tells it all.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as exc:
        raise _first(exc) from None
    return [task.result() for task in tasks]


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


async def to_the_end(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    """Run a coroutine that must not be left half done.

    A cancelled caller waits for it, at most `seconds`, and is cancelled then; what the coroutine found out it must have
    noted somewhere.
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
                future.exception()  # seen: the cancellation is what the caller hears of
        raise
    return future.result()
