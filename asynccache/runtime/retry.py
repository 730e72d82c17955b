"""When to try again, and how long to wait first."""

from __future__ import annotations

import random
import time
from dataclasses import field
from typing import Final

from asynccache.model.dataclass import dataclass

# Statuses that say "later", not "no": RFC 9110 section 15, RFC 6585.
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_PATIENCE: Final = 10  # times the longest wait of our own that a server may ask for


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential waits with full jitter.

    Attributes:
        base: Upper bound of the first wait, in seconds; doubles with every failure.
        cap: Upper bound of any wait, in seconds.
        rng: Source of the jitter.
    """

    base: float = 0.1
    cap: float = 20.0
    rng: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def wait(self, failures: int) -> float:
        """Return the seconds to wait after that many failures (from 1)."""
        return self.rng.uniform(0.0, min(self.cap, self.base * 2.0 ** min(failures - 1, 30)))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to give up, and how long to wait until then.

    Attributes:
        attempts: Tries in all, the first included.
        backoff: The waits. A server's Retry-After is honoured up to ten times their cap; when it asks for more, it is
            taken as a refusal.
    """

    attempts: int = 5
    backoff: Backoff = Backoff(base=0.5, cap=30.0)

    def delay(self, attempt: int, retry_after: float | None = None) -> float | None:
        """Return the seconds to wait after failed try number `attempt` (from 1), or None to give up."""
        if attempt >= self.attempts:
            return None
        if retry_after is None:
            return self.backoff.wait(attempt)
        if retry_after > _PATIENCE * self.backoff.cap:
            return None
        # a little jitter on top, so that those who were sent away together do not come back together
        return retry_after + self.backoff.rng.uniform(0, min(1.0, 0.1 * retry_after + 0.05))


def parse_retry_after(value: str | None, now: float | None = None) -> float | None:
    """Read a Retry-After header (RFC 9110 section 10.2.3): seconds, or a date.

    Returns:
        Seconds from now, never negative; None when there is none or it makes no sense.

    >>> parse_retry_after("7")
    7.0
    """
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few servers say a date

        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))
