"""Who is here: the people whom the program watches, and what the cluster says of them. Sans-I/O; knows nothing of conversations.

Laws:
    * The server is told the whole set, again after each welcome, and at most once in `watch_pace_s`.
    * Nothing is known of who is not watched, and of nobody while there is no session: who was online then may not be any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from homing.effects import Effect, PresenceChanged, Transmit
from homing.limits import Limits
from homing.protocol import WATCH_MAX, PresenceState, Watch
from homing.protocol import PresenceChanged as PresenceFrame


class Known(NamedTuple):
    """What is known of somebody. `unknown` is shown as nothing, never as offline."""

    state: PresenceState = "unknown"
    last_seen: int | None = None
    """Cluster time in ms."""


UNKNOWN = Known()


class Presence:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._wanted: dict[str, None] = {}
        """In the order in which the program named them."""
        self._said: frozenset[str] = frozenset()
        """What this session was told last."""
        self._not_before = 0.0
        self._known: dict[str, Known] = {}

    @property
    def watched(self) -> list[str]:
        return list(self._wanted)

    def of(self, user: str) -> Known:
        return self._known.get(user, UNKNOWN)

    def watch(self, users: Iterable[str]) -> None:
        """These from now on, the first `WATCH_MAX` of them."""
        self._wanted = dict.fromkeys(list(dict.fromkeys(users))[:WATCH_MAX])
        self._known = {user: known for user, known in self._known.items() if user in self._wanted}

    def welcome(self) -> None:
        self._said, self._not_before = frozenset(), 0.0

    def take(self, f: PresenceFrame) -> list[Effect]:
        effects: list[Effect] = []
        for person in f.people:
            known = Known(person.state, person.last_seen)
            if person.user in self._wanted and self.of(person.user) != known:
                self._known[person.user] = known
                effects.append(PresenceChanged(person.user, *known))
        return effects

    def lost(self) -> list[Effect]:
        before = [user for user, known in self._known.items() if known.state != "unknown"]
        self._known.clear()
        return [PresenceChanged(user, *UNKNOWN) for user in before]

    def flush(self, now: float, effects: list[Effect]) -> None:
        if self._is_due and now >= self._not_before:
            self._said = frozenset(self._wanted)
            self._not_before = now + self._limits.watch_pace_s
            effects.append(Transmit(Watch(users=list(self._wanted))))

    def next_deadline(self) -> float | None:
        return self._not_before if self._is_due else None

    @property
    def _is_due(self) -> bool:
        return self._wanted.keys() != self._said

    def check(self) -> None:
        assert len(self._wanted) <= WATCH_MAX and self._known.keys() <= self._wanted.keys()
