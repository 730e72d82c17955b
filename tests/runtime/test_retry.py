"""Waits are jittered, bounded and polite."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.runtime.retry import RetryPolicy, parse_retry_after


@given(st.integers(1, 20), st.integers(0, 2**32))
def test_no_wait_is_longer_than_the_cap(attempt: int, seed: int) -> None:
    delay = RetryPolicy(attempts=30, cap=8.0, rng=random.Random(seed)).delay(attempt)
    assert delay is not None
    assert 0 <= delay <= min(8.0, 0.5 * 2 ** (attempt - 1))


def test_the_last_try_is_not_followed_by_another() -> None:
    assert RetryPolicy(attempts=3).delay(3) is None


def test_a_server_that_asks_for_a_wait_gets_it() -> None:
    delay = RetryPolicy().delay(1, retry_after=7.0)
    assert delay is not None
    assert 7.0 <= delay <= 8.0


def test_a_server_that_asks_for_hours_is_taken_as_a_refusal() -> None:
    assert RetryPolicy(cap=30.0).delay(1, retry_after=3600.0) is None


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after("120") == 120.0
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after(later, now.timestamp()) == 90.0
    assert parse_retry_after(format_datetime(now, usegmt=True), now.timestamp() + 5) == 0.0


@pytest.mark.parametrize("text", [None, "", "soon", "-3", "١"])
def test_a_retry_after_that_makes_no_sense_is_ignored(text: str | None) -> None:
    assert parse_retry_after(text) is None
