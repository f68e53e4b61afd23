"""Named limiters: what counts as one address, and that the configuration is checked."""

from __future__ import annotations

import pytest
from msgspec import structs

from node.edge.limits import Rate
from node.rest.addresses import Addresses
from node.rest.limiters import Limit, Limiter, LimiterConfig, Limiters, network_of

SLOW = Limit(address=Rate(per_s=1, burst=3), user=Rate(per_s=1, burst=1))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a:b:c", "a:b:c"),
    ],
)
def test_an_address_counts_by_what_one_customer_has(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", [], "192.0.2.7"),
        ("192.0.2.7", ["198.51.100.1"], "192.0.2.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", [", ".join(["198.51.100.1"] + ["10.0.0.2"] * 8)], "10.0.0.2"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_what_a_trusted_proxy_says_last_counts(peer: str, forwarded: list[str], address: str) -> None:
    assert Addresses(["10.0.0.0/8", "::1"]).of(peer, forwarded) == address
    assert Addresses([]).of(peer, forwarded) == peer


def test_who_is_refused_by_one_bucket_takes_nothing_from_the_other() -> None:
    limiter = Limiter(SLOW, 10)
    for user in ("alice", "bob", "carol"):
        assert limiter.take_address("192.0.2.7", 0.0) == 0.0
        assert limiter.take_user(user, "192.0.2.7", 0.0) == 0.0
    assert limiter.take_address("192.0.2.7", 0.0) == 1.0
    assert limiter.take_address("192.0.2.8", 0.0) == 0.0
    assert limiter.take_user("alice", "192.0.2.8", 0.0) == 1.0
    for _ in range(3):
        assert limiter.take_address("192.0.2.8", 0.0) == 0.0
    assert limiter.refused == {"address": 1, "user": 1}


def test_many_addresses_leave_no_more_buckets_than_the_bound() -> None:
    limiter = Limiter(SLOW, 100)
    for number in range(5_000):
        limiter.take_address(f"2001:db8:0:{number:x}::1", 0.0)
    assert len(limiter._addresses) <= 100


def test_a_wrong_rate_is_told_with_its_path() -> None:
    assert LimiterConfig().problems() == []
    wrong = LimiterConfig(sign_in=Limit(Rate(per_s=1, burst=0), Rate(per_s=0, burst=1)), buckets_max=0, trusted_proxies=["10.0.0.0/99"])
    problems = wrong.problems()
    assert [problem.partition(":")[0].partition(" ")[0] for problem in problems] == [
        "limiters.buckets_max", "limiters.trusted_proxies", "limiters.sign_in.address", "limiters.sign_in.user",
    ]  # fmt: skip


def test_rates_are_changed_while_running_and_what_stays_keeps_its_buckets() -> None:
    config = LimiterConfig(sign_in=SLOW, reads=SLOW)
    limiters = Limiters(config)
    for name in ("sign_in", "reads"):
        for wait_s in (0.0, 1.0):
            assert limiters.by_name[name].take_user("alice", "192.0.2.7", 0.0) == wait_s
    twice = Limit(address=SLOW.address, user=Rate(per_s=1, burst=2))
    assert limiters.configure(structs.replace(config, sign_in=twice)) == ["sign_in"]
    assert [limiters.by_name["sign_in"].take_user("alice", "192.0.2.7", 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    assert limiters.by_name["reads"].take_user("alice", "192.0.2.7", 0.0) == 1.0
    assert limiters.by_name["sign_in"].refused == {"address": 0, "user": 2}, "the metric goes on"
    assert limiters.configure(limiters.config) == []
