"""Works are done each for itself; a group of coroutines as one."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from asynccache.errors import AsyncCacheError, DefectError, DiskError, IntegrityError, PartialFailureError
from asynccache.runtime.budget import Budget
from asynccache.runtime.tasks import run_together, run_works


@pytest.fixture(autouse=True)
def _reports_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


async def test_whatever_is_raised_in_one_work_is_its_failure_and_the_others_go_on() -> None:
    raised: dict[str, BaseException] = {
        "ours": IntegrityError("wrong bytes"),
        "deep": RecursionError("too deep"),
        "group": ExceptionGroup("outer", [ExceptionGroup("inner", [OSError(28, "No space left on device", "/d/f")])]),
        "two": ExceptionGroup("", [IntegrityError("a"), ExceptionGroup("", [IntegrityError("b")])]),
        "stray": asyncio.CancelledError(),
    }

    async def work(name: str) -> str:
        await asyncio.sleep(0)
        if name in raised:
            raise raised[name]
        return name.upper()

    done = await run_works(["a", *raised, "z"], work)
    assert done[0] == "A"
    assert done[-1] == "Z"
    ours, deep, group, two, stray = done[1:-1]
    assert ours is raised["ours"]
    assert isinstance(deep, DefectError)
    assert isinstance(group, DiskError)
    assert "/d/f is full" in str(group)
    assert isinstance(two, PartialFailureError)
    assert [str(error) for error, _names in two.causes()] == ["a", "b"]
    assert two.exit_code == 5
    assert isinstance(stray, DefectError)


async def test_a_cancelled_caller_is_cancelled_and_so_is_every_work() -> None:
    ended = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await run_works(range(5), work)
    assert sorted(ended) == [0, 1, 2, 3, 4]


async def test_an_interrupt_is_no_failure_of_an_item() -> None:
    async def work(_number: int) -> None:
        raise BaseExceptionGroup("", [IntegrityError("a"), asyncio.QueueEmpty(), GeneratorExit()])

    with pytest.raises(GeneratorExit):
        await run_works([1], work)


async def test_items_are_taken_only_as_there_is_room_and_what_taking_them_raises_is_raised_as_it_is() -> None:
    room, taken, closed = Budget(2, "works"), [], []

    async def items() -> AsyncGenerator[int]:
        try:
            for number in range(100):
                taken.append(number)
                yield number
            raise IntegrityError("the list ends early")
        finally:
            closed.append(True)

    async def work(number: int) -> int:
        assert len(taken) <= number + 3
        await asyncio.sleep(0)
        return number

    with pytest.raises(IntegrityError, match="ends early"):
        await run_works(items(), work, room=room)
    assert closed == [True]
    assert room.peak == 2
    assert room.used == 0


async def test_the_first_failure_of_a_group_is_raised_as_it_is_at_every_depth() -> None:
    async def fails() -> None:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", [IntegrityError("the cause")])])

    with pytest.raises(AsyncCacheError, match="the cause"):
        await run_together([fails(), asyncio.sleep(60)])
