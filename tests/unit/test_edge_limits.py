"""Token buckets: what they let through, and that they remember a bounded number of users."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.edge.limits import Rate, RateLimits, SendLimiter, TokenBucket, UserBuckets


def test_a_burst_goes_through_and_then_the_rate() -> None:
    bucket = TokenBucket(Rate(per_s=2, burst=3), 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert bucket.take(100.5) == 0.0
    assert bucket.take(100.5) == 0.5


def test_waiting_as_long_as_told_is_enough() -> None:
    bucket = TokenBucket(Rate(per_s=3, burst=1), 0.0)
    bucket.take(0.0)
    wait_s = bucket.take(0.1)
    assert bucket.take(0.1 + wait_s + 1e-9) == 0.0


def test_more_than_the_burst_never_goes_through() -> None:
    assert TokenBucket(Rate(per_s=1, burst=3), 0.0).take(1e9, 4) == float("inf")


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = TokenBucket(Rate(per_s=1, burst=1), 10.0)
    assert bucket.take(10.0) == 0.0
    assert bucket.take(5.0) == 1.0
    assert bucket.take(10.5) == 0.5


@given(st.floats(0.1, 50), st.integers(1, 20), st.lists(st.floats(0, 2), max_size=60))
@settings(max_examples=100, deadline=None)
def test_no_window_gets_more_than_burst_and_rate(per_s: float, burst: int, gaps: list[float]) -> None:
    bucket, now, taken = TokenBucket(Rate(per_s=per_s, burst=burst), 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now) == 0.0
        assert taken <= burst + now * per_s + 1e-6


def test_a_users_connections_share_his_rate_and_a_refusal_takes_nothing() -> None:
    limits = RateLimits(connection_sends=Rate(per_s=0.001, burst=3), user_sends=Rate(per_s=1, burst=4))
    users = UserBuckets(limits.user_sends, limits.users_max)
    one, two = SendLimiter("u", users, limits, 0.0), SendLimiter("u", users, limits, 0.0)
    assert [one.take(0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    assert one.take(0.0) == pytest.approx(1000.0)
    assert [two.take(0.0) for _ in range(6)] == [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert SendLimiter("v", users, limits, 0.0).take(0.0) == 0.0
    assert two.take(1.0) == 0.0  # the refusals above cost the connection none of its three


def test_users_are_remembered_up_to_a_bound_and_the_busy_ones_longest() -> None:
    users = UserBuckets(Rate(per_s=0.001, burst=2), 10)
    for n in range(9):
        users.take(f"idle{n}", 0.0)
    users.take("busy", 1e6, 2)
    users.take("new", 1e6)
    assert len(users) == 2
    assert users.take("busy", 1e6) > 0
    for n in range(100):
        users.take(f"flood{n}", 1e6)
        assert len(users) <= 10


@pytest.mark.parametrize(("rate", "key"), [(Rate(0, 1), "per_s"), (Rate(1, 0.5), "burst")])
def test_a_useless_rate_is_refused_with_its_key(rate: Rate, key: str) -> None:
    with pytest.raises(ValueError, match=rf"rates\.user_sends.*{key}"):
        RateLimits(user_sends=rate).check()
