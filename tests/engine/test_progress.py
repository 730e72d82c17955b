"""How far a run is: what is counted, and what is estimated of it."""

from __future__ import annotations

import pytest

from asynccache.engine import events
from asynccache.engine.progress import Progress


class Hand:
    """A clock whose hand is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Hand:
    return Hand()


@pytest.fixture
def run(clock: Hand) -> Progress:
    return Progress(clock)


def test_what_is_expected_is_unknown_until_a_server_says_it(run: Progress) -> None:
    def expected() -> int | None:
        return run.phases["fetch"].expected

    run.take(events.PhaseStarted("fetch", "a", 100))
    assert expected() == 100
    run.take(events.PhaseStarted("fetch", "b", None))
    run.take(events.BytesMoved("fetch", "b", 30))
    assert expected() is None
    run.take(events.SizeKnown("fetch", "b", 20))
    assert expected() == 150


def test_what_was_there_already_is_no_longer_expected_once_a_package_is_complete(run: Progress) -> None:
    run.take(events.PhaseStarted("fetch", "a", 100))
    run.take(events.BytesMoved("fetch", "a", 40))
    run.take(events.PhaseEnded("fetch", "a", 1.0))
    assert run.phases["fetch"].expected == 40
    assert run.phases["fetch"].ended == 1


def test_speed_counts_only_the_time_in_which_something_was_fetched(run: Progress, clock: Hand) -> None:
    for _ in range(2):
        run.take(events.PhaseStarted("fetch", "a", 100))
        clock.now += 5
        run.take(events.BytesMoved("fetch", "a", 100))
        run.take(events.PhaseEnded("fetch", "a", 5.0))
        clock.now += 1000
    assert run.speed == 20
    assert run.phases["fetch"].span_seconds == 10


def test_packages_that_had_nothing_to_do_do_not_make_the_rest_look_short(run: Progress, clock: Hand) -> None:
    run.take(events.RunStarted(100, 0))
    for number in range(50):
        run.take(events.PackageDone(f"there-{number}", "https://h/p", 0.0))
    run.take(events.PhaseStarted("transmute", "a", 10))
    clock.now += 10
    assert run.seconds_left() is None
    run.take(events.PackageDone("a", "https://h/a", 10.0))
    assert run.seconds_left() == 490


def test_before_a_package_is_complete_the_rest_is_as_large_as_what_has_begun(run: Progress, clock: Hand) -> None:
    run.take(events.RunStarted(4, 0))
    run.take(events.PhaseStarted("fetch", "a", 100))
    clock.now += 5
    run.take(events.BytesMoved("fetch", "a", 50))
    assert run.seconds_left() == 35
    run.take(events.RunStarted(1, 1000))
    assert run.seconds_left() == 95
