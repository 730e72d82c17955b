"""Shared budgets, which limit the pipeline instead of phases.

A budget is an amount (connections, bytes, cores) that coroutines borrow from: the one with the most work comes first,
equals in turn. What to grant is decided in plain functions, never across an await; a cancelled waiter returns what it
was just granted.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from operator import itemgetter

from asynccache.model.dataclass import dataclass
from asynccache.runtime.late_loop import without_loop


class Budget:
    """An amount that is lent out.

    Args:
        total: The total amount. A single request for more is granted when everything else has been returned, so that
            one huge package can pass.
        name: Its name in messages.
    """

    def __init__(self, total: int, name: str = "budget") -> None:
        if total < 1:
            raise ValueError(f"{name}: a budget needs at least 1, got {total}")
        self.name = name
        self.total = total
        self.used: int = 0
        self.peak: int = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # (work negated, amount, turn), sorted

    @asynccontextmanager
    async def borrow(self, amount: int = 1, *, work: int = 0) -> AsyncIterator[int]:
        """Hold `amount` for the length of the block; waits in turn, the most `work` first."""
        amount = min(max(amount, 0), self.total)
        await self.acquire(amount, work=work)
        try:
            yield amount
        finally:
            self.release(amount)

    @asynccontextmanager
    async def borrow_up_to(self, amount: int, *, work: int = 0) -> AsyncIterator[int]:
        """Hold 1, or as much of `amount` as is idle when the turn comes and no other coroutine waits."""
        await self.acquire(1, work=work)
        taken = 1
        try:
            if not without_loop():
                await asyncio.sleep(0)  # those that ask at the same moment get one first
            extra = 0 if self._waiting else min(amount - 1, max(0, self.total - self.used))
            self._take(extra)
            taken += extra
            yield taken
        finally:
            self.release(taken)

    def _take(self, amount: int) -> None:
        self.used += amount
        self.peak = max(self.peak, self.used)

    async def acquire(self, amount: int = 1, *, work: int = 0) -> None:
        """Take `amount`, at most `total`, in turn; `release` returns it, possibly in another coroutine.

        Args:
            amount: How much.
            work: How much work it is for, in any unit: of those waiting, the one with the most comes first, so that the
                largest does not end up last and alone. Equals come in the order of their requests.
        """
        if not self._waiting and self.used + amount <= self.total:
            self._take(amount)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (-work, amount, turn)
        insort(self._waiting, entry, key=itemgetter(0))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(amount)
            else:
                with suppress(ValueError):  # already handled by _grant
                    self._waiting.remove(entry)
                self._grant()
            raise

    def release(self, amount: int = 1) -> None:
        """Return what was taken."""
        self.used -= amount
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            _work, amount, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.pop(0)
                continue
            if self.used + amount > self.total:
                return
            self._waiting.pop(0)
            self._take(amount)
            turn.set_result(None)


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets that concurrent work shares.

    Attributes:
        in_flight: Packages being worked on.
        cpu: Cores for decompressing, compressing, verifying.
        memory: Bytes of package data in memory.
        temp: Bytes of temporary files.
        uploads: Concurrent uploads.
    """

    in_flight: Budget
    cpu: Budget
    memory: Budget
    temp: Budget
    uploads: Budget
