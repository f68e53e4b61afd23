"""How often each kind of request may come: named limiters, each with a bucket per address and one per user.

Owns the rates (section ``[limiters]``) and the count of refusals. It must not know HTTP; ``now`` is monotonic seconds.

Laws:
    * Both buckets must let a request through; one that is refused takes from neither.
    * The buckets are bounded. They are this node's own: with N nodes somebody who asks all of them gets N times as much.
"""

from __future__ import annotations

import ipaddress

from msgspec import Struct

from node.edge.limits import Rate, UserBuckets
from node.rest.addresses import Addresses


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """The two rates of one limiter."""

    address: Rate
    user: Rate


class LimiterConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[limiters]``: what one network address and one account may do over HTTP. An IPv6 address counts by its /64."""

    register: Limit = Limit(Rate(per_s=0.5, burst=50), Rate(per_s=0.05, burst=5))
    """New accounts. The burst is a class that tries Homing out behind one address; ``user`` is the handle that is wanted."""
    sign_in: Limit = Limit(Rate(per_s=5, burst=100), Rate(per_s=0.1, burst=10))
    """Passwords that are tried. ``user`` is the account's, so ten guesses, then one in ten seconds, from wherever they come."""
    refresh: Limit = Limit(Rate(per_s=50, burst=500), Rate(per_s=1, burst=20))
    """Renewals: one in ten minutes a device, but many behind one address come back after a storm. ``user`` is the token's device."""
    tickets: Limit = Limit(Rate(per_s=50, burst=500), Rate(per_s=1, burst=20))
    """Browsers' tickets: one a connection."""
    reads: Limit = Limit(Rate(per_s=100, burst=500), Rate(per_s=20, burst=100))
    """What only reads the caller's own account."""
    changes: Limit = Limit(Rate(per_s=20, burst=100), Rate(per_s=5, burst=50))
    """What changes it."""
    people: Limit = Limit(Rate(per_s=20, burst=200), Rate(per_s=5, burst=100))
    """Looking others up: enough for an address book, slow for who collects accounts."""
    messages: Limit = Limit(Rate(per_s=200, burst=1_000), Rate(per_s=20, burst=100))
    """Messages that are sent over HTTP; they count for ``rates.user_sends`` as well."""
    history: Limit = Limit(Rate(per_s=200, burst=1_000), Rate(per_s=20, burst=100))
    """Pages of history and of the conversation list."""
    events: Limit = Limit(Rate(per_s=500, burst=5_000), Rate(per_s=20, burst=200))
    """Long polls. ``polls.pace_s`` keeps one device below ``user``; a school that blocks WebSockets polls from one address."""
    typing: Limit = Limit(Rate(per_s=200, burst=2_000), Rate(per_s=2, burst=10))
    """Saying that one writes: once in three seconds for each conversation, as a session does."""
    trusted_proxies: list[str] = []
    """Addresses and networks (``10.0.0.0/8``) of load balancers in front of the nodes: the last address that they put into
    ``X-Forwarded-For`` counts instead of theirs. Without this all clients behind one share its buckets."""
    buckets_max: int = 50_000
    """Addresses, and users, that each limiter remembers; those whose bucket is full again are forgotten first."""

    def problems(self, path: str = "limiters") -> list[str]:
        problems: list[str] = [] if self.buckets_max > 0 else [f"{path}.buckets_max must be more than 0"]
        try:
            Addresses(self.trusted_proxies)
        except ValueError as error:
            problems.append(f"{path}.trusted_proxies: {error}")
        for name in NAMES:
            limit: Limit = getattr(self, name)
            for part in ("address", "user"):
                try:
                    getattr(limit, part).check(f"{path}.{name}.{part}")
                except ValueError as error:
                    problems.append(str(error))
        return problems


NAMES = tuple(name for name in LimiterConfig.__struct_fields__ if name not in ("trusted_proxies", "buckets_max"))


class Limiter:
    """One of them."""

    def __init__(self, limit: Limit, buckets_max: int) -> None:
        self._addresses = UserBuckets(limit.address, buckets_max)
        self._users = UserBuckets(limit.user, buckets_max)
        self.refused = {"address": 0, "user": 0}

    def take_address(self, address: str, now: float) -> float:
        """0.0: go ahead; otherwise the seconds after which to try again."""
        return self._counted("address", self._addresses.take(network_of(address), now))

    def take_user(self, user: str, address: str, now: float) -> float:
        """The same, after ``take_address`` let the request through; gives that back if this refuses."""
        wait_s = self._counted("user", self._users.take(user, now))
        if wait_s:
            self._addresses.give_back(network_of(address))
        return wait_s

    def _counted(self, what: str, wait_s: float) -> float:
        if wait_s:
            self.refused[what] += 1
        return wait_s


class Limiters:
    """All of them, by name."""

    def __init__(self, config: LimiterConfig) -> None:
        self.config = config
        self.addresses = Addresses(config.trusted_proxies)
        self.by_name = {name: Limiter(getattr(config, name), config.buckets_max) for name in NAMES}

    def configure(self, config: LimiterConfig) -> list[str]:
        """Takes other rates, while running; returns the names of what changed, whose buckets are full again."""
        old, self.config = self.config, config
        self.addresses = Addresses(config.trusted_proxies)
        changed = [name for name in NAMES if getattr(old, name) != getattr(config, name) or old.buckets_max != config.buckets_max]
        for name in changed:
            before, self.by_name[name] = self.by_name[name], Limiter(getattr(config, name), config.buckets_max)
            self.by_name[name].refused = before.refused
        return changed


def network_of(address: str) -> str:
    """What one customer of a provider has: an IPv4 address, or an IPv6 network of 64 bits."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.ip_network((address.partition("%")[0], 64), strict=False))
    except ValueError:
        return address
