"""The one place where requests to an object store are paced, repeated, limited in time and counted.

The clients' own retries are off: a second mechanism below this one would multiply tries and hide refusals.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from asynccache.model.dataclass import dataclass
from asynccache.node.patience import Peer, Tries, peer_of
from asynccache.store.pace import Pace, shared_pace

if TYPE_CHECKING:
    from asynccache.store.options import StoreOptions

T = TypeVar("T")
_SLOWEST_BYTES: Final = 64 << 10  # per second; a body that takes longer counts as stalled


class CallFailedError(Exception):
    """A request that failed permanently; never leaves the store.

    Attributes:
        cause: What the client raised.
        code: The server's error code, or its HTTP status as text; empty if there was no answer.
        lost: A condition of the request does not hold.
        absent: The object does not exist.
        beyond: The object has no such range.
        gone: The upload that the request belongs to does not exist.
        unsupported: The server does not support the request.
    """

    def __init__(
        self,
        cause: BaseException,
        code: str = "",
        *,
        lost: bool = False,
        absent: bool = False,
        beyond: bool = False,
        gone: bool = False,
        unsupported: bool = False,
    ) -> None:
        super().__init__(type(cause).__name__)
        self.cause = cause
        self.code = code
        self.lost = lost
        self.absent = absent
        self.beyond = beyond
        self.gone = gone
        self.unsupported = unsupported


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failure means for the next try.

    Attributes:
        kind: The store asks to slow down, a retry may succeed, or the failure is final.
        answered: The server answered.
        retry_after: Seconds to wait, as the store asks.
    """

    kind: Literal["throttled", "transient", "final"]
    answered: bool = False
    retry_after: float | None = None


class Requests:
    """Makes requests to one bucket or container.

    Args:
        options: How to reach it.

    Attributes:
        requests: Tries sent, so far.
        retries: How many of these were retries.
        throttled: Refusals because of rate limits.
    """

    _peer: Peer
    _pace: Pace

    def __init__(self, options: StoreOptions) -> None:
        self.requests = 0
        self.retries = 0
        self.throttled = 0
        self._options = options
        self._slots = asyncio.Semaphore(options.connections)
        self._turn = asyncio.Lock()

    def _known_as(self, name: str) -> None:
        """Share the pace and what is known with all requests to the same endpoint and bucket."""
        self._peer, self._pace = peer_of(name), shared_pace(name, self._options.clock.now)
        self._pace.limit(self._options.rate, self._options.bandwidth)

    async def _repeat(
        self,
        attempt: Callable[[], Awaitable[T]],
        failures: tuple[type[BaseException], ...],
        judge: Callable[[BaseException], Verdict],
        body_bytes: int,
    ) -> T:
        """Try until it succeeds or retrying is of no use.

        Args:
            attempt: One try.
            failures: Exceptions that it raises on failure.
            judge: Returns what such a failure means.
            body_bytes: Size of the body in either direction, for the time limit.

        Raises:
            BaseException: The last failure, one of `failures`.
        """
        clock = self._options.clock
        tries = Tries(self._options.patience, self._peer, now=clock.now)
        while True:
            async with self._turn:  # one waits for a token: later ones get theirs at the rate at that time
                if seconds := self._pace.reserve(body_bytes):
                    await clock.sleep(seconds)
            self.retries += bool(tries.failures)
            try:
                # the slot is held while the body is transferred, as the connection is
                async with self._slots, asyncio.timeout(self._limit(body_bytes)):
                    self.requests += 1
                    result = await attempt()
            except failures as exc:
                verdict = judge(exc)
                if verdict.kind == "throttled":
                    self.throttled += 1
                    pause = tries.throttled(verdict.retry_after)
                    if pause is not None:
                        self._pace.refused(verdict.retry_after)
                elif verdict.kind == "transient":
                    pause = tries.failed()
                else:
                    self._peer.answers |= verdict.answered
                    pause = None
                if pause is None:
                    raise
                await clock.sleep(pause)
            else:
                self._peer.answers = True
                self._pace.succeeded()
                return result

    def _limit(self, body_bytes: int) -> float:
        options = self._options
        return options.connect_timeout + options.read_timeout + body_bytes / _SLOWEST_BYTES
