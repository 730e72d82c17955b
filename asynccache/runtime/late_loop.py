"""An event loop that starts when something has to be waited for.

Known requests are looked up without waiting for anything, and importing asyncio and starting a loop takes longer than
that. So a verb is run as an unscheduled coroutine until something in it calls `await loop_begins()`, as everything that
waits does: budgets, threads, locks, programs, the store. From there on the same coroutine runs on a loop, as if from
its beginning. In a program that already has a loop, this module has no effect.
"""

from __future__ import annotations

import signal
import types
from _thread import get_ident
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    from types import FrameType

P = ParamSpec("P")
T = TypeVar("T")

_driving: Final[set[int]] = set()  # threads that run a coroutine without a loop
_interrupts: Final[list[int]] = []  # signals that came meanwhile


def without_loop() -> bool:
    """Return whether this runs in a coroutine of `run_late` before its loop starts: then nothing else runs
    concurrently.
    """
    return get_ident() in _driving


@types.coroutine
def loop_begins() -> Generator[None, None, None]:
    """Return on an event loop; called before anything that needs a running one."""
    if without_loop():
        _heed_interrupt()
        yield


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a short blocking function in a thread, or directly if there is no loop that it could block.

    An interrupt does not end it in the middle in either case.
    """
    if not without_loop():
        import asyncio  # noqa: PLC0415 - imported where there is a loop

        return await asyncio.to_thread(function, *args, **kwargs)
    return run_blocking(lambda _interrupted: function(*args, **kwargs))


def run_blocking(function: Callable[[Callable[[], bool]], T]) -> T:
    """Run a long blocking function if there is no loop that it could block.

    Args:
        function: Called with a function that returns whether an interrupt has come; it checks this at every block.

    Raises:
        KeyboardInterrupt: One has come, whatever the function raised.
    """
    try:
        return function(lambda: bool(_interrupts))
    finally:
        _heed_interrupt()


def run_late(work: Coroutine[Any, Any, T], on_a_loop: Callable[[Coroutine[Any, Any, T]], T]) -> T:
    """Run a coroutine to its end.

    Args:
        work: The coroutine.
        on_a_loop: Called with the rest of it when it has to wait for something: runs that on an event loop.

    Raises:
        KeyboardInterrupt: The process was interrupted; what ran was cancelled.
    """
    previous = signal.getsignal(signal.SIGINT)
    noting = previous is signal.default_int_handler
    if noting:
        signal.signal(signal.SIGINT, _note)
    _driving.add(get_ident())
    try:
        work.send(None)
        _heed_interrupt(work)
    except StopIteration as end:
        result: T = end.value
        return result
    finally:
        _driving.discard(get_ident())
        _interrupts.clear()
        if noting:
            signal.signal(signal.SIGINT, previous)
    return on_a_loop(_rest(work))


def _note(number: int, frame: FrameType | None) -> None:
    """Make an interrupt wait for what runs, as a loop does; a second one does not wait."""
    _interrupts.append(number)
    if len(_interrupts) > 1:
        signal.default_int_handler(number, frame)


def _heed_interrupt(work: Coroutine[Any, Any, object] | None = None) -> None:
    if _interrupts:
        if work is None:
            raise KeyboardInterrupt
        work.throw(KeyboardInterrupt())


async def _rest(work: Coroutine[Any, Any, T]) -> T:
    return await _continued(work)


@types.coroutine
def _continued(work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Continue a coroutine that has begun, which cannot be awaited."""
    step: Callable[[], Any] = partial(work.send, None)
    while True:
        try:
            waited_for = step()
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            came = yield waited_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:  # noqa: BLE001 - any exception is the coroutine's
            step = partial(work.throw, error)
        else:
            step = partial(work.send, came)
