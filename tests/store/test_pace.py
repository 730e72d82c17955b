from __future__ import annotations

import gc

import pytest

from asynccache.store.pace import Pace, shared_pace


class ManualTime:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.value = 100.0

    def __call__(self) -> float:
        return self.value


def test_nothing_is_held_back_before_the_first_refusal() -> None:
    pace = Pace(ManualTime())
    assert [pace.reserve() for _ in range(1000)] == [0.0] * 1000
    assert pace.rate is None


def test_what_somebody_asked_for_is_never_passed() -> None:
    time = ManualTime()
    pace = Pace(time)
    pace.limit(10.0, None)
    assert [pace.reserve() for _ in range(4)] == pytest.approx([0.0, 0.1, 0.2, 0.3])
    pace.limit(None, 1000.0)
    time.value += 1
    assert [pace.reserve(500), pace.reserve(), pace.reserve(100), pace.reserve(1)] == pytest.approx([0, 0, 0.5, 0.6])
    pace.limit(None, None)
    assert [pace.reserve(10**9) for _ in range(3)] == [0.0] * 3


def test_a_refusal_cuts_the_rate_that_was_measured() -> None:
    time = ManualTime()
    pace = Pace(time)
    for _ in range(400):  # 100 a second for 4 seconds
        pace.reserve()
        time.value += 0.01
    pace.refused()
    assert pace.rate == pytest.approx(50, rel=0.05)


def test_refusals_that_were_under_way_together_count_once() -> None:
    time = ManualTime()
    pace = Pace(time)
    for _ in range(200):
        pace.reserve()
    pace.refused()
    rate = pace.rate
    for _ in range(50):
        pace.refused()
    assert pace.rate == rate
    time.value += 1
    pace.refused()
    assert pace.rate is not None
    assert rate is not None
    assert pace.rate < rate


def test_tokens_come_at_the_rate_and_in_turn() -> None:
    time = ManualTime()
    pace = Pace(time)
    pace.reserve()
    pace.refused()
    assert pace.rate == pytest.approx(10)  # not less, however little was sent
    waits = [pace.reserve() for _ in range(5)]
    assert waits == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_retry_after_holds_everybody_back() -> None:
    time = ManualTime()
    pace = Pace(time)
    pace.reserve()
    pace.refused(retry_after=3.0)
    assert pace.reserve() == pytest.approx(3.0)
    assert pace.reserve() > 3.0


def test_the_rate_never_falls_to_nothing() -> None:
    time = ManualTime()
    pace = Pace(time)
    for _ in range(50):
        pace.refused()
        time.value += 1
    assert pace.rate is not None
    assert pace.rate >= 1.0


def test_success_raises_the_rate_slowly_until_it_limits_no_more() -> None:
    time = ManualTime()
    pace = Pace(time)
    for _ in range(400):
        pace.reserve()
        time.value += 0.01
    pace.refused()
    rates = []
    for _ in range(60):
        time.value += 0.5
        pace.succeeded()
        rates.append(pace.rate)
    numbers = [r for r in rates if r is not None]
    assert numbers == sorted(numbers)
    assert numbers[1] / numbers[0] == pytest.approx(1.1)  # 20 % a second, in half a second
    assert rates[-1] is None


@pytest.mark.parametrize("limit", [30.0, 200.0])
def test_it_settles_near_what_the_server_serves(limit: float) -> None:
    """A server that refuses what exceeds its rate gets most of its rate asked, and few requests in vain."""
    time = ManualTime()
    pace = Pace(time)
    tokens, served, refused, last = limit, 0, 0, time.value
    while time.value < 160:
        wait = pace.reserve()
        time.value += max(wait, 0.0005)
        tokens = min(limit, tokens + (time.value - last) * limit)
        last = time.value
        if tokens >= 1:
            tokens -= 1
            served += 1
            pace.succeeded()
        else:
            refused += 1
            pace.refused()
    assert served / 60 > 0.6 * limit
    assert refused < 0.35 * served


def test_all_stores_of_a_process_that_mean_one_place_share_a_pace() -> None:
    first = shared_pace("endpoint bucket", ManualTime())
    assert shared_pace("endpoint bucket", ManualTime()) is first
    assert shared_pace("endpoint other", ManualTime()) is not first
    first.refused()
    del first
    gc.collect()
    assert shared_pace("endpoint bucket", ManualTime()).rate is None
