"""How long temporary failures are retried, for any peer, and how long to wait before the next try.

The one rule for stores and for sources of packages, in the engine and on bare nodes (documented in docs/settings.md).
Python 3.7, standard library.
"""

from __future__ import annotations

import time
from typing import Callable

TRIES = 5
"""Tries that every request has, whatever the time; ASYNCCACHE_ATTEMPTS."""
OUTAGE_SECONDS = 60.0
"""For which one that has answered before may be silent or broken: three times an outage of 20 s, which the restart of a
server or of a load balancer takes; ASYNCCACHE_OUTAGE_TIMEOUT."""
THROTTLED_SECONDS = 300.0
"""For which one may refuse because it is asked too often; ASYNCCACHE_THROTTLE_TIMEOUT."""
LONGEST_PAUSE = 30.0
"""Seconds between two tries; ASYNCCACHE_RETRY_CAP."""
_FIRST_PAUSE = 0.2  # seconds, at most; doubled with every failure
_OTHERS = 2  # further doublings after a refusal because of rate limits: many others were refused as well

TRANSIENT_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
"""HTTP statuses that say "later", not "no": RFC 9110 section 15, RFC 6585."""


class Peer:
    """A store or a host, as this process knows it.

    Attributes:
        answers: Whether it has answered, and was not given up since. One that never answered may be a mistyped address,
            and one that was given up is not waited for again by every later request: for both, only the number of tries
            counts.
    """

    def __init__(self, answers: bool = False) -> None:
        self.answers = answers


_peers: dict[str, Peer] = {}


def peer_of(name: str) -> Peer:
    """Return the peer of a name, such as an endpoint with its bucket or the origin of a URL; kept for the process's
    lifetime.
    """
    return _peers.setdefault(name, Peer())


def forget_peers() -> None:
    """Forget all peers, as in a new process."""
    _peers.clear()


class Patience:
    """How long failures are tolerated.

    Attributes:
        tries: Number of tries of every request, after which a failure without a time limit of its own is final.
        outage: Seconds for which a peer that has answered before may be silent (refused or broken connections,
            time-outs, names that do not resolve) or broken (5xx).
        throttled: Seconds for which refusals because of rate limits are tolerated, including the requested waits.
        longest: Upper bound of a pause, in seconds, unless a server asks for more.
    """

    def __init__(
        self,
        tries: int = TRIES,
        outage: float = OUTAGE_SECONDS,
        throttled: float = THROTTLED_SECONDS,
        longest: float = LONGEST_PAUSE,
    ) -> None:
        self.tries = tries
        self.outage = outage
        self.throttled = throttled
        self.longest = longest

    def pause(self, failures: int) -> float:
        """Return the seconds to wait after that many failures (from 1): exponential, with full jitter."""
        import random  # noqa: PLC0415 - only after a failure

        return random.uniform(0.0, min(self.longest, _FIRST_PAUSE * 2.0 ** min(failures - 1, 30)))  # noqa: S311 - no secret


class Tries:
    """The tries of one request since it last made progress.

    Args:
        patience: How long failures are tolerated.
        peer: The store or host.
        elsewhere: Whether another source can be tried, so that only the number of tries counts.
        now: Monotonic seconds.

    Attributes:
        failures: How many tries failed.
    """

    def __init__(
        self, patience: Patience, peer: Peer, elsewhere: bool = False, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._patience = patience
        self._peer = peer
        self._elsewhere = elsewhere
        self._now = now
        self._broken = 0
        self._broken_since = 0.0
        self._throttled_since = 0.0
        self.failures = 0

    def failed(self) -> float | None:
        """Count a failure of the connection or of the server; return the seconds to wait, None to give up."""
        now, patience = self._now(), self._patience
        if not self._broken:
            self._broken_since = now
        self.failures += 1
        self._broken += 1
        waits = self._peer.answers and not self._elsewhere
        left = self._broken_since + patience.outage - now if waits else 0.0
        if self._broken >= patience.tries and left <= 0:
            self._peer.answers = False
            return None
        pause = patience.pause(self._broken)
        # the last try comes when the time is over, not before
        return min(pause, left) if left > 0 else pause

    def throttled(self, asked: float | None = None) -> float | None:
        """Count a refusal because of rate limits; return the seconds to wait, None to give up.

        Args:
            asked: Seconds to wait, as the server asks.
        """
        now, patience = self._now(), self._patience
        if self.failures == self._broken:
            self._throttled_since = now
        self.failures += 1
        left = self._throttled_since + patience.throttled - now
        if left <= 0 or (asked or 0.0) > left:
            return None
        if asked is None:
            return min(patience.pause(self.failures - self._broken + _OTHERS), left)
        # with a little jitter, so that clients that were refused together do not return together
        import random  # noqa: PLC0415 - as above

        return asked + random.uniform(0.0, min(1.0, 0.1 * asked + 0.05))  # noqa: S311 - no secret

    def wrong(self) -> float | None:
        """Count an invalid answer; return the seconds to wait, None to give up."""
        self.failures += 1
        self._broken += 1
        return None if self._broken >= self._patience.tries else self._patience.pause(self._broken)


def parse_retry_after(value: str | None, now: float | None = None) -> float | None:
    """Read a Retry-After header (RFC 9110 section 10.2.3): seconds, or a date.

    Returns:
        Seconds from now, never negative; None if there is none or it makes no sense.

    >>> parse_retry_after("7")
    7.0
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few servers send a date

        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))
