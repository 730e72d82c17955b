"""How fast requests may be made to a store, learnt from its refusals.

All calls of a process to one store share a `Pace`. Nothing is limited until the store refuses; then it is a token
bucket whose rate is cut by each wave of refusals and grows slowly while the store answers, until it no longer limits
anything. It grows by a share of itself: if thousands of processes make a few requests a second each, as in a fleet that
starts at once, a fixed amount would be many times what the store can give each of them.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Final
from weakref import WeakValueDictionary

_WINDOW: Final = 2.0  # seconds over which the present rate is measured
_CUT: Final = 0.5  # share of the rate that is kept after refusals
_WAVE: Final = 0.5  # seconds in which further refusals belong to the same cut: their requests were already in flight
_SLOWEST: Final = 1.0  # requests per second
_FIRST: Final = 20.0  # requests per second; a store that refuses at a lower rate is not refusing because of us alone
_GROWTH: Final = 0.2  # share of the present rate that is added each second


class Pace:
    """The shared token bucket of a store.

    Args:
        now: Monotonic seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._sent: deque[float] = deque(maxlen=4096)
        self._rate: float | None = None  # requests per second; None for no limit
        self._refused_rate = 0.0
        self._next = 0.0  # when the next token is available
        self._last_cut = -_WAVE
        self._last_success = 0.0
        self._most: float | None = None
        self._bandwidth: float | None = None
        self._next_bytes = 0.0

    def limit(self, requests: float | None, bandwidth: float | None) -> None:
        """Set limits that are never exceeded.

        Args:
            requests: Requests per second; None for no limit.
            bandwidth: Bytes per second, in both directions together; None for no limit.
        """
        self._most, self._bandwidth = requests, bandwidth

    @property
    def rate(self) -> float | None:
        """Requests per second that are allowed; None if there is no limit."""
        return self._rate

    def reserve(self, moved: int = 0) -> float:
        """Take the next token; return the seconds until it may be used.

        Args:
            moved: Bytes that the request will transfer.
        """
        now = self._now()
        at = max(now, self._next)
        if self._bandwidth is not None and moved:
            at = max(at, self._next_bytes)
            self._next_bytes = at + moved / self._bandwidth
        self._sent.append(at)
        rates = [rate for rate in (self._rate, self._most) if rate is not None]
        if rates:
            self._next = max(self._next, now) + 1.0 / min(rates)
        return at - now

    def refused(self, retry_after: float | None = None) -> None:
        """Learn that the store refused a request because of its rate.

        Args:
            retry_after: Seconds to wait, as the store asks; all callers wait.
        """
        now = self._now()
        if retry_after:
            self._next = max(self._next, now + retry_after)
        if now - self._last_cut < _WAVE:
            return
        self._last_cut = now
        if self._rate is None:
            measured = sum(now - _WINDOW < at <= now for at in self._sent) / _WINDOW
            self._refused_rate = max(measured, _FIRST)
        else:
            self._refused_rate = self._rate
        self._rate = max(self._refused_rate * _CUT, _SLOWEST)
        self._last_success = now

    def succeeded(self) -> None:
        """Learn that a request was answered."""
        if self._rate is None:
            return
        now = self._now()
        # by time, not by answer, so that the growth does not depend on the rate
        self._rate *= 1.0 + _GROWTH * min(now - self._last_success, 1.0)
        self._last_success = now
        if self._rate > 4 * max(self._refused_rate, _FIRST):
            self._rate = None


_paces: WeakValueDictionary[str, Pace] = WeakValueDictionary()
_paces_guard = threading.Lock()


def shared_pace(name: str, now: Callable[[], float]) -> Pace:
    """Return the process's pace for a store, identified by its endpoint and bucket; created with a clock if it is
    new.
    """
    with _paces_guard:
        pace = _paces.get(name)
        if pace is None:
            pace = _paces[name] = Pace(now)
        return pace
