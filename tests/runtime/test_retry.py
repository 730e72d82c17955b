"""Waits are jittered, bounded and polite."""

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.runtime.retry import Backoff, RetryPolicy, parse_retry_after


@given(st.integers(1, 2000), st.integers(0, 2**32))
def test_no_wait_is_longer_than_the_cap(failures: int, seed: int) -> None:
    wait = Backoff(base=0.5, cap=8.0, rng=random.Random(seed)).wait(failures)
    assert 0 <= wait <= min(8.0, 0.5 * 2 ** min(failures - 1, 10))


def test_waits_are_jittered_grow_and_are_capped() -> None:
    backoff = Backoff(base=0.1, cap=5.0, rng=random.Random(1))
    for failures in range(1, 60):
        waits = [backoff.wait(failures) for _ in range(200)]
        bound = min(5.0, 0.1 * 2 ** (failures - 1))
        assert all(0 <= w <= bound for w in waits)
        assert max(waits) > 0.9 * bound
        assert min(waits) < 0.1 * bound


def test_the_last_try_is_not_followed_by_another() -> None:
    assert RetryPolicy(attempts=3).delay(3) is None


def test_a_server_that_asks_for_a_wait_gets_it() -> None:
    delay = RetryPolicy().delay(1, retry_after=7.0)
    assert delay is not None
    assert 7.0 <= delay <= 8.0


def test_a_server_that_asks_for_more_than_ten_times_the_longest_wait_is_taken_as_a_refusal() -> None:
    policy = RetryPolicy(backoff=Backoff(cap=30.0))
    delay = policy.delay(1, retry_after=300.0)
    assert delay is not None
    assert delay >= 300.0
    assert policy.delay(1, retry_after=301.0) is None


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after("120") == 120.0
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after(later, now.timestamp()) == 90.0
    assert parse_retry_after(format_datetime(now, usegmt=True), now.timestamp() + 5) == 0.0


@pytest.mark.parametrize("text", [None, "", "soon", "-3", "١"])
def test_a_retry_after_that_makes_no_sense_is_ignored(text: str | None) -> None:
    assert parse_retry_after(text) is None
