"""Shared budgets: what bounds the pipeline instead of phases.

A budget is an amount (connections, bytes, cores) that coroutines borrow from, first come first served. What to grant
is decided in plain functions, never across an await; a waiter that is cancelled gives back what it was just granted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Budget:
    """An amount that is lent out.

    Args:
        total: How much there is. A single request for more is granted when everything else has been given back, so
            that one huge package can pass.
        name: For messages.
    """

    def __init__(self, total: int, name: str = "budget") -> None:
        if total < 1:
            raise ValueError(f"{name}: a budget needs at least 1, got {total}")
        self.name = name
        self.total = total
        self.used: int = 0
        self.peak: int = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def borrow(self, amount: int = 1) -> AsyncIterator[int]:
        """Hold `amount` for the length of the block; waits in turn."""
        amount = min(max(amount, 0), self.total)
        await self.acquire(amount)
        try:
            yield amount
        finally:
            self.release(amount)

    @asynccontextmanager
    async def borrow_up_to(self, amount: int) -> AsyncIterator[int]:
        """Hold 1, or as much of `amount` as is idle when the turn comes and nobody else waits."""
        await self.acquire(1)
        extra = 0 if self._waiting else min(amount - 1, max(0, self.total - self.used))
        self._take(extra)
        try:
            yield 1 + extra
        finally:
            self.release(1 + extra)

    def _take(self, amount: int) -> None:
        self.used += amount
        self.peak = max(self.peak, self.used)

    async def acquire(self, amount: int = 1) -> None:
        """Take `amount`, at most `total`, in turn; `release` gives it back, possibly in another coroutine."""
        if not self._waiting and self.used + amount <= self.total:
            self._take(amount)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(amount)
            else:
                with suppress(ValueError):  # already passed over by _grant
                    self._waiting.remove((amount, turn))
                self._grant()
            raise

    def release(self, amount: int = 1) -> None:
        """Give back what was taken."""
        self.used -= amount
        self._grant()

    def _grant(self) -> None:
        while self._waiting:
            amount, turn = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
                continue
            if self.used + amount > self.total:
                return
            self._waiting.popleft()
            self._take(amount)
            turn.set_result(None)
