"""How much is tried: enough to notice in `make test`, and everything, or many times, in `make test-long`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final, NoReturn, TypeVar

import pytest

T = TypeVar("T")
_LONG: Final = bool(os.environ.get("ASYNCCACHE_TEST_LONG"))


def tries(usual: int, long: int) -> int:
    """Return how often to try: `long` where `ASYNCCACHE_TEST_LONG` is set."""
    return long if _LONG else usual


def share(items: Sequence[T], of: int) -> list[T]:
    """Return every `of`-th of many items that are alike: all where `ASYNCCACHE_TEST_LONG` is set."""
    return list(items if _LONG else items[::of])


def long_only() -> bool:
    """Return whether what takes minutes is left out."""
    return not _LONG


def without(server: object) -> NoReturn:
    """Skip a test whose server is not there; where `ASYNCCACHE_TEST_ALL_SERVERS` is set, as `.ci/run` does, fail it.

    Args:
        server: What is missing, and why.
    """
    if os.environ.get("ASYNCCACHE_TEST_ALL_SERVERS"):
        pytest.fail(f"nothing may be skipped here: {server}", pytrace=False)
    pytest.skip(str(server))
