"""A cancelled coroutine waits for its thread, so that nothing is written behind its back."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

from asynccache.runtime.threads import Threads
from tests.support.waiting import until_it_holds


async def test_work_is_told_to_stop_and_waited_for() -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(stop: Callable[[], bool]) -> None:
        begun.set()
        while not stop():
            time.sleep(0.001)
        time.sleep(0.05)
        ended.set()

    with Threads(1) as threads:
        task = asyncio.ensure_future(threads.work(work))
        await until_it_holds(begun.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()


async def test_work_that_has_not_begun_never_begins() -> None:
    begun = list[int]()
    go_on = threading.Event()
    with Threads(1) as threads:
        first = asyncio.ensure_future(threads.work(lambda _stop: go_on.wait()))
        second = asyncio.ensure_future(threads.work(lambda _stop: begun.append(1)))
        await asyncio.sleep(0.02)
        second.cancel()
        await asyncio.sleep(0.02)
        go_on.set()
        await asyncio.gather(second, return_exceptions=True)
        await first
    assert begun == []


async def test_the_loop_runs_on_while_a_thread_works() -> None:
    go_on = threading.Event()
    with Threads(1) as threads:
        task = asyncio.ensure_future(threads.run(go_on.wait))
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert not task.done()
        go_on.set()
        assert await task


async def test_results_and_errors_come_back() -> None:
    with Threads(1) as threads:
        assert await threads.run(divmod, 7, 2) == (3, 1)
        with pytest.raises(ZeroDivisionError):
            await threads.run(divmod, 7, 0)
