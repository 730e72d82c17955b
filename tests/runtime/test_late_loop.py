"""A coroutine that has to wait for nothing runs without an event loop, and goes on with one where it has to."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from asynccache.runtime.late_loop import in_thread, loop_begins, run_late, without_loop
from asynccache.runtime.tasks import run_together, run_works
from asynccache.runtime.threads import ThreadRoom

REPOSITORY = Path(__file__).parents[2]
began: list[bool] = []


@pytest.fixture(autouse=True)
def forgotten() -> None:
    began.clear()


def on_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    began.append(True)
    return asyncio.run(work)


def running() -> bool:
    return asyncio._get_running_loop() is not None


async def looked_up(value: int) -> tuple[int, bool]:
    return await in_thread(lambda: value), running()


async def waited(value: int) -> tuple[int, bool]:
    await loop_begins()
    await asyncio.sleep(0.001)
    return value, running()


@pytest.mark.parametrize(
    "work",
    [
        lambda: looked_up(1),
        lambda: run_together([]),
        lambda: run_together([looked_up(1)]),
        lambda: run_works([1], looked_up),
    ],
    ids=["itself", "none", "one", "one work"],
)
def test_what_waits_for_nothing_needs_no_loop(work: Any) -> None:
    here = threading.get_ident()

    async def all_of_it() -> Any:
        assert await in_thread(threading.get_ident) == here
        return await work()

    result = run_late(all_of_it(), on_a_loop)
    assert result in ([], (1, False), [(1, False)])
    assert not began
    assert not without_loop()


@pytest.mark.parametrize(
    "work",
    [
        lambda: waited(1),
        lambda: asyncio.sleep(0, (1, True)),
        lambda: run_together([waited(1)]),
        lambda: run_together([looked_up(1), looked_up(2)]),
        lambda: run_works([1], waited),
        lambda: run_works([1, 2], looked_up),
    ],
    ids=["itself", "sleep", "one", "several", "one work", "several works"],
)
def test_what_waits_goes_on_where_it_was_with_a_loop(work: Any) -> None:
    here = threading.get_ident()
    steps: list[object] = []

    async def all_of_it() -> Any:
        steps.append(await looked_up(0))
        result = await work()
        steps.append("on")
        assert await in_thread(threading.get_ident) != here
        return result

    result = run_late(all_of_it(), on_a_loop)
    assert result in ((1, True), [(1, True)], [(1, True), (2, True)])
    assert (steps, began) == ([(0, False), "on"], [True])


def test_threads_and_cancellation_are_those_of_the_loop() -> None:
    room = ThreadRoom(1)

    async def work() -> str:
        assert await room.run(threading.get_ident) == threading.get_ident()
        await loop_begins()
        assert await room.run(threading.get_ident) != threading.get_ident()
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "in time"
        return ""

    assert run_late(work(), on_a_loop) == "in time"
    room.close()


def test_a_failure_is_raised_as_it_is_before_and_after_the_loop_begins() -> None:
    cleaned: list[str] = []

    async def failing(*, wait: bool) -> None:
        try:
            if wait:
                await loop_begins()
            raise LookupError("no such thing")
        finally:
            cleaned.append("yes")

    for wait in (False, True):
        with pytest.raises(LookupError, match="no such thing"):
            run_late(failing(wait=wait), on_a_loop)
        with pytest.raises(LookupError, match="no such thing"):
            run_late(run_together([failing(wait=wait)]), on_a_loop)
    assert cleaned == ["yes"] * 4


def test_long_work_is_told_of_an_interrupt() -> None:
    room = ThreadRoom(1)

    def long(stop: Any) -> None:
        assert not stop()
        os.kill(os.getpid(), signal.SIGINT)
        assert stop()
        raise LookupError("stopped")

    with pytest.raises(KeyboardInterrupt):
        run_late(room.run_stoppable(long), on_a_loop)
    room.close()


@pytest.mark.parametrize("then", [looked_up, waited])
def test_an_interrupt_waits_for_what_runs_and_ends_what_follows(then: Any) -> None:
    done: list[str] = []

    def write() -> None:
        done.append("begun")
        os.kill(os.getpid(), signal.SIGINT)
        done.append("whole")

    async def work() -> None:
        try:
            await in_thread(write)
            await then(1)
            done.append("never")
        finally:
            done.append("cleaned up")

    with pytest.raises(KeyboardInterrupt):
        run_late(work(), on_a_loop)
    assert done == ["begun", "whole", "cleaned up"]
    assert not began
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


async def test_in_a_program_with_a_loop_nothing_changes() -> None:
    assert not without_loop()
    await loop_begins()
    assert await in_thread(threading.get_ident) != threading.get_ident()
    assert await run_together([looked_up(1), waited(2)]) == [(1, True), (2, True)]


def test_every_blocking_call_goes_through_the_function_that_needs_no_loop() -> None:
    modules = [path for path in (REPOSITORY / "asynccache").rglob("*.py") if path.name != "late_loop.py"]
    assert [path.name for path in modules if "asyncio.to_thread" in path.read_text("utf-8")] == []
