"""Lengths of time and amounts of bytes as people write them."""

from __future__ import annotations

import re
from typing import Final

from asynccache.errors import UsageError

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_UNITS: Final = "KMGTP"


def parse_duration(text: str) -> float:
    """Read `30d`, `12h`, `90m`, `45s` or `2w`; return seconds.

    Raises:
        UsageError: Anything else.

    >>> parse_duration("1.5h")
    5400.0
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    if not matched:
        raise UsageError(f"{text!r} is no length of time", expected="a number and one of s, m, h, d, w, such as 30d")
    return float(matched[1]) * _SECONDS[matched[2]]


def parse_rate(text: str) -> float:
    """Read `500/s`, `30/m` or `500`; return a number per second.

    Raises:
        UsageError: Anything else.

    >>> parse_rate("30/m")
    0.5
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:/\s*([smh]))?", text.strip().lower())
    if not matched or not float(matched[1]):
        raise UsageError(f"{text!r} is no rate", expected="a number and /s, /m or /h, such as 500/s")
    return float(matched[1]) / _SECONDS[matched[2] or "s"]


def parse_bytes(text: str) -> int:
    """Read `20G`, `500MiB` or `1000000`; units are binary.

    Raises:
        UsageError: Anything else.

    >>> parse_bytes("2K"), parse_bytes("1.5 MiB")
    (2048, 1572864)
    """
    matched = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:([KMGTP])(?:i?B)?|B)?", text.strip(), re.IGNORECASE)
    if not matched:
        raise UsageError(f"{text!r} is no amount of bytes", expected="a number and a unit, such as 20G")
    power = _UNITS.index(matched[2].upper()) + 1 if matched[2] else 0
    return int(float(matched[1]) * 1024**power)
