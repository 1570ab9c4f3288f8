"""When to try again and until when, without any waiting: the clock is the test's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dea.raijin.retry import Deadline, Retries, TokenBucket, Tries

seconds = st.floats(0.001, 1000)
draws = st.floats(0, 1)


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@given(seconds, seconds, st.integers(1, 10_000), draws)
def test_a_wait_is_never_longer_than_the_cap_nor_than_doubling_allows(
    base: float, cap: float, failures: int, draw: float
) -> None:
    wait_s = Retries(base_s=base, cap_s=cap).wait_s(failures, draw)
    assert 0 <= wait_s <= cap
    assert wait_s <= base * 2.0 ** min(failures - 1, 1000)


@given(seconds, st.integers(1, 20))
def test_jitter_is_full(base: float, failures: int) -> None:
    retries = Retries(base_s=base, cap_s=1e9)
    assert retries.wait_s(failures, 0.0) == 0.0
    assert retries.wait_s(failures, 1.0) == pytest.approx(base * 2 ** (failures - 1))


@given(st.floats(0.2, 1000), st.lists(st.tuples(st.floats(0, 30), draws), max_size=200))
def test_no_wait_passes_the_deadline_and_the_tries_end(timeout: float, steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    deadline = Deadline(timeout, clock=clock)
    drawn = iter([draw for _, draw in steps])
    tries = Tries(Retries(), deadline, clock=clock, draw=lambda: next(drawn))
    for took_s, _ in steps:
        clock.now += took_s
        pause_s = tries.pause_s()
        if pause_s is None:
            assert (deadline.remaining_s() or 0.0) <= 0.1
            return
        clock.now += pause_s
        assert not deadline.passed


@given(st.floats(1, 100), st.lists(st.tuples(st.floats(0, 5), draws), min_size=1, max_size=100))
def test_without_a_deadline_it_gives_up_once_nothing_was_heard_for_long(
    give_up: float, steps: list[tuple[float, float]]
) -> None:
    clock = Clock()
    drawn = iter([draw for _, draw in steps])
    tries = Tries(Retries(give_up_s=give_up), Deadline(None), clock=clock, draw=lambda: next(drawn))
    for took_s, _ in steps:
        clock.now += took_s
        pause_s = tries.pause_s()
        silent_s = clock.now - 1000.0
        if pause_s is None:
            assert silent_s + 10.0 >= give_up
            return
        clock.now += pause_s
        assert silent_s + pause_s <= give_up + 1e-6


def test_what_is_heard_begins_the_count_anew() -> None:
    clock = Clock()
    tries = Tries(Retries(base_s=1, cap_s=64, give_up_s=60), Deadline(None), clock=clock, draw=lambda: 1.0)
    assert [tries.pause_s() for _ in range(4)] == [1, 2, 4, 8]
    clock.now += 59
    tries.heard()
    assert tries.pause_s() == 1
    clock.now += 61
    assert tries.pause_s() is None


def test_what_the_other_end_asks_for_is_kept_to_or_given_up() -> None:
    clock = Clock()
    tries = Tries(Retries(base_s=1), Deadline(10, clock=clock), clock=clock, draw=lambda: 0.5)
    assert tries.pause_s(at_least_s=3) == 3.5
    clock.now += 8
    assert tries.pause_s(at_least_s=3) is None


def test_a_deadline_is_the_nearer_of_two_ends() -> None:
    clock, left = Clock(), [7.0]
    deadline = Deadline(10, lambda: left[0], clock=clock)
    assert deadline.remaining_s() == 7.0
    left[0] = 100.0
    assert deadline.remaining_s() == 10.0
    assert Deadline(None, lambda: -1.0).passed
    assert Deadline(None).remaining_s() is None


@given(st.floats(0.5, 100), st.integers(1, 50), st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_a_bucket_lets_no_more_through_than_its_burst_and_its_rate(rate: float, burst: int, gaps: list[float]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate, burst, clock=clock)
    granted = []
    for gap in gaps:
        clock.now += gap
        granted.append(clock.now + bucket.take_s())
    for at, first in enumerate(granted):
        # Whatever window one looks at.
        assert all(count <= burst + rate * (last - first) + 1 + 1e-6 for count, last in enumerate(granted[at:], 1))


def test_a_bucket_that_was_left_alone_is_full_again() -> None:
    clock = Clock()
    bucket = TokenBucket(2.0, 3, clock=clock)
    assert [bucket.take_s() for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    clock.now += 100
    assert [bucket.take_s() for _ in range(4)] == [0, 0, 0, 0.5]
