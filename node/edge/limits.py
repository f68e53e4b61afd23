"""How fast a client may send: token buckets, without a clock.

Owns the rates and the count of what was taken. It must not know sockets; ``now`` is monotonic seconds and comes from the caller.

Law: a bucket never holds more than its burst, so in any window of t seconds at most ``burst + t * per_s`` are let through.
"""

from __future__ import annotations

from msgspec import Struct


class Rate(Struct, frozen=True, forbid_unknown_fields=True):
    """``per_s`` in the long run, ``burst`` at once."""

    per_s: float
    burst: float

    def check(self, key: str) -> None:
        if self.per_s <= 0 or self.burst < 1:
            raise ValueError(f"{key}: per_s must be more than 0 and burst at least 1")


class RateLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[rates]`` of the configuration."""

    connection_frames: Rate = Rate(per_s=200, burst=2_000)
    """Frames of any kind. The burst covers a device that comes back after a week and acknowledges and fetches in a thousand chats."""
    connection_sends: Rate = Rate(per_s=50, burst=200)
    """What makes an entry: ten times a fast typist; the burst is an outbox that was filled without a network."""
    user_sends: Rate = Rate(per_s=100, burst=400)
    """The same over all devices of a user, so that opening sockets buys nothing beyond two of them."""
    users_max: int = 100_000
    """Users that are remembered; those whose bucket is full again are forgotten first, for they lose nothing."""

    def check(self, section: str = "rates") -> None:
        """Raises ValueError with the key's path."""
        for name in ("connection_frames", "connection_sends", "user_sends"):
            rate: Rate = getattr(self, name)
            rate.check(f"{section}.{name}")
        if self.users_max < 1:
            raise ValueError(f"{section}.users_max must be at least 1")


class TokenBucket:
    """One bucket. It starts full."""

    __slots__ = ("_at", "_level", "rate")

    def __init__(self, rate: Rate, now: float) -> None:
        self.rate = rate
        self._level = rate.burst
        self._at = now

    def take(self, now: float, count: float = 1.0) -> float:
        """Takes ``count`` tokens and returns 0.0, or takes none and returns the seconds until there will be enough.

        ``count`` above the burst is never let through (inf).
        """
        rate = self.rate
        if now > self._at:
            self._level = min(rate.burst, self._level + (now - self._at) * rate.per_s)
            self._at = now
        if self._level >= count:
            self._level -= count
            return 0.0
        return (count - self._level) / rate.per_s if count <= rate.burst else float("inf")

    def is_full(self, now: float) -> bool:
        return self._level + max(0.0, now - self._at) * self.rate.per_s >= self.rate.burst

    def give_back(self, count: float = 1.0) -> None:
        """Undoes a ``take``, because another limit said no."""
        self._level = min(self.rate.burst, self._level + count)


class UserBuckets:
    """A bucket for each user who has sent lately."""

    def __init__(self, rate: Rate, users_max: int) -> None:
        self._rate = rate
        self._users_max = users_max
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, user: str, now: float, count: float = 1.0) -> float:
        """As ``TokenBucket.take``, for this user."""
        bucket = self._buckets.get(user)
        if bucket is None:
            if len(self._buckets) >= self._users_max:
                self._forget(now)
            bucket = self._buckets[user] = TokenBucket(self._rate, now)
        return bucket.take(now, count)

    def give_back(self, user: str) -> None:
        """Undoes a ``take``, because another limit said no."""
        bucket = self._buckets.get(user)
        if bucket is not None:
            bucket.give_back()

    def _forget(self, now: float) -> None:
        """Forgets who is back at his full burst; if that is nobody, the tenth that was met first."""
        full = [user for user, bucket in self._buckets.items() if bucket.is_full(now)]
        for user in full or list(self._buckets)[: max(1, self._users_max // 10)]:
            del self._buckets[user]


class SendLimiter:
    """Both limits on what makes an entry, for one connection; the user's part is shared by all of his."""

    __slots__ = ("_connection", "_users", "user")

    def __init__(self, user: str, users: UserBuckets, limits: RateLimits, now: float) -> None:
        self.user = user
        self._users = users
        self._connection = TokenBucket(limits.connection_sends, now)

    def take(self, now: float) -> float:
        """0.0: go ahead; otherwise the seconds after which to try again, and nothing was taken."""
        wait_s = self._connection.take(now)
        if wait_s:
            return wait_s
        wait_s = self._users.take(self.user, now)
        if wait_s:
            self._connection.give_back()
        return wait_s
