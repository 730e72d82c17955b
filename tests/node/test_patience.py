"""Failures that may pass are borne as long as is said, and no longer; waits are jittered, bounded and polite."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynccache.node.patience import Patience, Peer, Tries, parse_retry_after, peer_of


class ManualTime:
    """A clock that moves by what is waited for."""

    def __init__(self) -> None:
        self.value = 1000.0

    def __call__(self) -> float:
        return self.value

    def spent_on(self, failing: Callable[[], float | None]) -> float:
        """Fail until given up; return the seconds that this took."""
        began = self.value
        while (pause := failing()) is not None:
            self.value += pause
        return self.value - began


def tries(time: ManualTime, peer: Peer | None = None, *, elsewhere: bool = False, **borne: float) -> Tries:
    values = {"tries": 5, "outage": 60.0, "throttled": 300.0, "longest": 30.0, **borne}
    return Tries(Patience(**values), peer or Peer(answers=True), elsewhere, time)  # type: ignore[arg-type]


@given(st.integers(1, 2000))
def test_no_pause_is_longer_than_the_longest(failures: int) -> None:
    assert 0 <= Patience(longest=8.0).pause(failures) <= min(8.0, 0.2 * 2 ** min(failures - 1, 10))


def test_pauses_are_jittered_grow_and_are_capped() -> None:
    for failures in range(1, 60):
        pauses = [Patience(longest=5.0).pause(failures) for _ in range(200)]
        bound = min(5.0, 0.2 * 2 ** (failures - 1))
        assert max(pauses) > 0.9 * bound
        assert min(pauses) < 0.1 * bound


def test_one_that_has_answered_is_tried_until_the_outage_is_over() -> None:
    time = ManualTime()
    failing = tries(time)
    assert time.spent_on(failing.failed) == pytest.approx(60)
    assert failing.failures >= 5


def test_one_that_never_answered_has_the_tries_alone() -> None:
    time = ManualTime()
    failing = tries(time, Peer())
    assert time.spent_on(failing.failed) <= 0.2 + 0.4 + 0.8 + 1.6
    assert failing.failures == 5


def test_where_another_one_can_be_asked_the_tries_decide() -> None:
    time = ManualTime()
    failing = tries(time, elsewhere=True)
    time.spent_on(failing.failed)
    assert failing.failures == 5


def test_tries_that_take_long_themselves_are_made_all_the_same() -> None:
    time = ManualTime()
    failing = tries(time)
    while failing.failed() is not None:
        time.value += 70
    assert failing.failures == 5


def test_who_was_given_up_is_not_waited_for_again_until_he_answers() -> None:
    time, peer = ManualTime(), Peer(answers=True)
    assert time.spent_on(tries(time, peer).failed) == pytest.approx(60)
    assert time.spent_on(tries(time, peer).failed) < 4
    peer.answers = True
    assert time.spent_on(tries(time, peer).failed) == pytest.approx(60)


def test_refusals_because_of_the_rate_have_a_time_of_their_own_and_do_not_count_as_tries() -> None:
    time = ManualTime()
    failing = tries(time, Peer())
    assert time.spent_on(failing.throttled) == pytest.approx(300)
    both = tries(time, Peer())
    assert [both.throttled() is None for _ in range(10)] == [False] * 10
    assert [both.failed() is None for _ in range(5)] == [False] * 4 + [True]


def test_an_answer_that_is_of_no_use_has_the_tries_alone() -> None:
    failing = tries(ManualTime())
    assert [failing.wrong() is None for _ in range(5)] == [False] * 4 + [True]


def test_a_server_that_asks_for_a_wait_gets_it() -> None:
    delay = tries(ManualTime()).throttled(7.0)
    assert delay is not None
    assert 7.0 <= delay <= 8.0


def test_a_server_that_asks_for_a_longer_wait_than_is_borne_is_given_up_at_once() -> None:
    assert tries(ManualTime(), throttled=300).throttled(300.0) is not None
    assert tries(ManualTime(), throttled=300).throttled(301.0) is None


def test_who_is_asked_is_known_by_name() -> None:
    peer_of("https://a").answers = True
    assert peer_of("https://a").answers
    assert not peer_of("https://b").answers


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert parse_retry_after("120") == 120.0
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after(later, now.timestamp()) == 90.0
    assert parse_retry_after(format_datetime(now, usegmt=True), now.timestamp() + 5) == 0.0


@pytest.mark.parametrize("text", [None, "", "soon", "-3", "١"])
def test_a_retry_after_that_makes_no_sense_is_ignored(text: str | None) -> None:
    assert parse_retry_after(text) is None
