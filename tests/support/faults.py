"""What a fault server does wrong, to which requests, and how often.

A `Fault` names its kind, the paths it applies to, and either how many times it happens (`times`) or how often
(`rate`, decided by the server's seeded random numbers). The first fault that applies to a request is the one it gets.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import StrEnum
from fnmatch import fnmatchcase


class Kind(StrEnum):
    """How a request goes wrong."""

    DROP = "drop"  # the connection ends in the middle of the body
    RESET = "reset"  # the connection is reset in the middle of the body
    SHORT = "short"  # a body that is too short, with a Content-Length that agrees with it
    FLIP = "flip"  # one wrong byte
    HTML = "html"  # a page that says 200 and is not a package
    STATUS = "status"  # an error status, with or without Retry-After
    STALL_HEADERS = "stall-headers"  # nothing comes for a while
    STALL_BODY = "stall-body"  # nothing comes for a while after a part of the body
    WRONG_RANGE = "wrong-range"  # 206 with a Content-Range that starts elsewhere
    IGNORE_RANGE = "ignore-range"  # 200 and the whole body as answer to a range request
    REDIRECT = "redirect"  # 302 to `location`
    CHANGE = "change"  # another content and ETag from now on, as when a file is replaced on the server


@dataclass(frozen=True, slots=True)
class Fault:
    """One way of going wrong.

    Attributes:
        kind: Which.
        path: Pattern for the request's path without query, as in `fnmatch`; `*` also matches slashes.
        times: Happens to the first so many requests that match; None for no limit.
        rate: Share of the matching requests it happens to, 0 to 1.
        skip: Lets so many matching requests pass first.
        after: Share of the body that is sent before it happens, or where the wrong byte is, 0 to below 1.
        seconds: How long a stall lasts.
        status: Of `STATUS`.
        retry_after: Value of the Retry-After header: seconds, or a moment, which is written as an HTTP date.
        location: Target of `REDIRECT`; `{path}` in it stands for the request's path.
        method: Only requests with this method; empty for all.
    """

    kind: Kind
    path: str = "*"
    times: int | None = None
    rate: float = 1.0
    skip: int = 0
    after: float = 0.5
    seconds: float = 3600.0
    status: int = 503
    retry_after: float | datetime | None = None
    location: str = ""
    method: str = ""

    @property
    def retry_after_text(self) -> str | None:
        """The Retry-After header's value."""
        if isinstance(self.retry_after, datetime):
            return format_datetime(self.retry_after.astimezone(UTC), usegmt=True)
        return None if self.retry_after is None else f"{self.retry_after:g}"


class FaultPlan:
    """Decides which fault a request gets. The same seed and the same order of requests give the same faults."""

    def __init__(self, faults: tuple[Fault, ...], seed: int) -> None:
        self._faults = faults
        self._seen = [0] * len(faults)
        self._happened = [0] * len(faults)
        self._random = random.Random(seed)

    def choose(self, method: str, path: str) -> Fault | None:
        """Return what goes wrong with this request, None if nothing does."""
        for number, fault in enumerate(self._faults):
            if not fnmatchcase(path, fault.path) or (fault.method and fault.method != method):
                continue
            self._seen[number] += 1
            spent = fault.times is not None and self._happened[number] >= fault.times
            if spent or self._seen[number] <= fault.skip or self._random.random() >= fault.rate:
                continue
            self._happened[number] += 1
            return fault
        return None


def parse_fault(text: str) -> Fault:
    """Read a fault from a command line: `KIND[,name=value...]`, such as `status,path=/noarch/*,status=429,times=3`.

    Raises:
        ValueError: No such kind or field, or a value that does not fit.
    """
    kind, *settings = text.split(",")
    values: dict[str, object] = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name in {"times", "skip", "status"}:
            values[name] = int(value)
        elif name in {"rate", "after", "seconds", "retry_after"}:
            values[name] = float(value)
        elif name in {"path", "location", "method"}:
            values[name] = value
        else:
            raise ValueError(f"a fault has no field {name!r}")
    return Fault(Kind(kind), **values)  # type: ignore[arg-type]  # each value was made for its field above
