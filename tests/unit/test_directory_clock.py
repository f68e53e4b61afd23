"""Cluster time: the directory's own, and everybody else's estimate."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from directory.clock import STEP_MS, ClusterClock, DirectoryClock


def test_the_directory_s_time_begins_with_the_later_of_what_was_stored_and_the_wall_clock() -> None:
    for stored, wall, first in ((5_000, 9_000, 9_000), (9_000, 5_000, 9_000)):
        clock = DirectoryClock()
        clock.start(stored, wall, 100.0)
        assert clock.time_ms(100.0) == first
        assert clock.time_ms(101.5) == first + 1_500


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 100)), min_size=1, max_size=20))
def test_the_directory_s_time_never_goes_back_however_often_it_begins_again(starts: list[tuple[int, int, float]]) -> None:
    clock, now, latest = DirectoryClock(), 0.0, 0
    for stored, wall, passed in starts:
        clock.start(stored, wall, now)
        assert clock.time_ms(now) >= max(latest, stored, wall)
        now += passed
        latest = clock.time_ms(now)


def test_the_first_sample_is_believed_at_its_midpoint() -> None:
    clock = ClusterClock(123, 0.0)
    assert clock.time_ms(1.0) == 1_123
    clock.sample(10.0, 1_000_000, 10.2)
    assert clock.known and clock.time_ms(10.1) == 1_000_000
    assert clock.time_ms(11.1) == 1_001_000


def test_of_the_last_few_round_trips_the_quickest_is_believed() -> None:
    clock = ClusterClock(0, 0.0)
    clock.sample(10.0, 1_000_000, 10.002)  # 1,000,000 at 10.001
    for n in range(1, 6):
        clock.sample(10.0 + n, 1_000_000 + n * 1_000 + 90, 10.2 + n)  # the answer was late: 10 ms off
    assert abs(clock.time_ms(16.0) - 1_005_999) <= 1


def test_a_quick_round_trip_is_forgotten_after_a_while() -> None:
    clock = ClusterClock(0, 0.0)
    clock.sample(10.0, 1_000_000, 10.001)
    for n in range(1, 10):
        clock.sample(10.0 + n, 1_000_020 + n * 1_000, 10.0 + n + 0.004)
    assert abs(clock.time_ms(21.0) - 1_011_018) <= 1


def test_a_small_correction_is_slewed_never_stepped_back() -> None:
    clock = ClusterClock(0, 0.0)
    clock.sample(0.0, 1_000_000, 0.02)
    before = clock.time_ms(0.02)
    clock.sample(1.0, 1_000_800, 1.0)  # 190 ms behind what was believed
    seen = [clock.time_ms(1.0 + n / 100) for n in range(400)]
    assert seen == sorted(seen) and seen[0] >= before
    assert seen[0] - 1_000_800 > 150 and abs(seen[-1] - (1_000_800 + 3_990)) <= 1


def test_far_behind_it_jumps_forward() -> None:
    clock = ClusterClock(0, 0.0)
    clock.sample(0.0, 1_000_000, 0.0)
    clock.sample(0.1, 1_000_100 + int(STEP_MS) + 50, 0.1)
    clock.sample(0.2, 1_000_200 + int(STEP_MS) + 50, 0.2)
    assert clock.time_ms(0.2) <= 1_000_300  # equal round trips: which is believed is settled by the earlier time
    for n in range(3, 12):
        clock.sample(n / 10, 1_000_000 + n * 100 + int(STEP_MS) + 50, n / 10)
    assert clock.time_ms(1.1) == 1_001_100 + int(STEP_MS) + 50


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1), st.integers(0, 10**7)), max_size=40))
def test_after_the_first_sample_it_never_goes_back_whatever_the_directory_says(samples: list[tuple[float, float, int]]) -> None:
    clock, now, latest = ClusterClock(10**6, 0.0), 0.0, 0
    for gap, round_trip, time_ms in samples:
        now += gap
        clock.sample(now, time_ms, now + round_trip)
        now += round_trip
        assert clock.time_ms(now) >= latest
        latest = clock.time_ms(now)
        assert clock.time_ms(now - 1.0) >= latest


def test_a_sample_that_was_answered_before_it_was_asked_is_ignored() -> None:
    clock = ClusterClock(0, 0.0)
    clock.sample(5.0, 1_000, 4.0)
    assert not clock.known
