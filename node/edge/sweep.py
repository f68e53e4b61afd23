"""Finds half-open and slow connections by looking at a part of them at a time.

Owns no timer and no socket: its edge calls ``step(now)`` every ``step_s``. One look at all connections at once would hold up the loop for
tens of milliseconds at 65,000 connections; a timer for each would cost a heap operation a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from node.edge.websocket import CLOSE_ABNORMAL, EdgeLimits

PARTS = 8
"""A round's parts: one is looked at in each step."""
ROUNDS_PER_PING = 8
"""How often a connection is looked at in ``ping_idle_s``: so late may a ping be, as a fraction."""


class Swept(Protocol):
    """What the sweeper needs of a connection."""

    id: int
    seen: float
    """The sweeper's ``now`` when something last came in."""
    pinged: bool
    """A ping was sent since; whoever sets ``seen`` need not reset it."""

    def buffered(self) -> int: ...
    def ping(self) -> None: ...
    def cut(self, code: int) -> None:
        """Ends the connection at once and drops what waits for it."""


C = TypeVar("C", bound=Swept)


class Sweeper(Generic[C]):
    """The connections of one edge, and who of them has fallen silent or does not read."""

    def __init__(self, limits: EdgeLimits, slow_code: int) -> None:
        self.step_s = limits.ping_idle_s / ROUNDS_PER_PING / PARTS
        self.now = 0.0
        """Coarse time, as of the last step: good enough to stamp ``seen`` with, and costs nothing."""
        self.on_silent: Callable[[C], None] = lambda c: c.cut(CLOSE_ABNORMAL)
        """Ends a connection on which nothing came for ``idle_s``; called again as long as it is there."""
        self._limits = limits
        self._slow_code = slow_code
        self._parts: list[dict[int, C]] = [{} for _ in range(PARTS)]
        self._next_part = 0
        self._waiting: dict[int, tuple[int, C]] = {}
        """Connections that had bytes waiting when last looked at: how many."""

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def add(self, c: C) -> None:
        self._parts[c.id % PARTS][c.id] = c

    def remove(self, c: C) -> None:
        self._parts[c.id % PARTS].pop(c.id, None)
        self._waiting.pop(c.id, None)

    def all(self) -> list[C]:
        return [c for part in self._parts for c in part.values()]

    def buffered(self) -> int:
        """Bytes that waited for all connections when they were last looked at."""
        return sum(size for size, _ in self._waiting.values())

    def step(self, now: float) -> None:
        """Looks at the next part of the connections."""
        self.now = now
        part = self._parts[self._next_part]
        self._next_part = (self._next_part + 1) % PARTS
        for c in list(part.values()):
            self._look_at(c, now)
        self._bound_total()

    def _look_at(self, c: C, now: float) -> None:
        silent_s = now - c.seen
        if silent_s >= self._limits.idle_s:
            self.on_silent(c)
            self._waiting.pop(c.id, None)
            return
        if silent_s < self._limits.ping_idle_s:
            c.pinged = False
        elif not c.pinged:
            c.pinged = True
            c.ping()
        size = c.buffered()
        if size:
            self._waiting[c.id] = (size, c)
        else:
            self._waiting.pop(c.id, None)

    def _bound_total(self) -> None:
        total = self.buffered()
        if total <= self._limits.buffered_total_bytes_max:
            return
        for size, c in sorted(self._waiting.values(), key=lambda item: (-item[0], item[1].id)):
            c.cut(self._slow_code)
            del self._waiting[c.id]
            total -= size
            if total <= self._limits.buffered_total_bytes_max:
                return
