"""When to try again, and how long to wait first."""

from __future__ import annotations

import email.utils
import random
import time
from dataclasses import dataclass, field
from typing import Final

# Statuses that say "later", not "no": RFC 9110 section 15, RFC 6585.
TRANSIENT_STATUSES: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential waits with full jitter, bounded in number and length.

    Attributes:
        attempts: Tries in all, the first included.
        base: Upper bound of the first wait, in seconds; doubles with every try.
        cap: Upper bound of any wait, in seconds. A server's Retry-After is honoured up to ten times that; when it asks
            for more, it is taken as a refusal.
        rng: Source of the jitter.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 30.0
    rng: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def delay(self, attempt: int, retry_after: float | None = None) -> float | None:
        """Return the seconds to wait after failed try number `attempt` (from 1), or None to give up."""
        if attempt >= self.attempts:
            return None
        wait = self.rng.uniform(0, min(self.cap, self.base * 2.0 ** (attempt - 1)))
        if retry_after is None:
            return wait
        if retry_after > 10 * self.cap:
            return None
        # a little jitter on top, so that those who were sent away together do not come back together
        return retry_after + self.rng.uniform(0, min(1.0, 0.1 * retry_after + 0.05))


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
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return max(0.0, moment.timestamp() - (time.time() if now is None else now))
